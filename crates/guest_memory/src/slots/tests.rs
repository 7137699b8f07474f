//! Slots, bounds, the dirty log and writes to code.

use super::*;

fn two_slots() -> GuestMemory {
    GuestMemory::new(&[Slot { base: 0, len: 0x4000 }, Slot { base: 0x10_0000, len: 0x2000 }])
        .expect("two small slots")
}

#[test]
fn every_write_marks_its_pages_dirty() {
    let memory = two_slots();
    let _ = memory.take_dirty_log();
    memory.write::<u64>(0x1ffc, 1).expect("in RAM");
    memory.write_at::<u8>(memory.offset_of(0x10_1000).expect("in RAM"), 1);
    assert_eq!(memory.take_dirty_log(), vec![0b10_0110]);
    assert!(memory.compare_exchange_u64(0x3000, 0, 5));
    assert_eq!(memory.take_dirty_log(), vec![0b1000]);
    assert_eq!(memory.take_dirty_log(), vec![0], "taking the log clears it");
}

#[test]
fn accesses_outside_ram_are_named_and_change_nothing() {
    let memory = two_slots();
    assert_eq!(memory.write::<u64>(0x3ffc, u64::MAX), Err(OutsideRam { address: 0x4000 }));
    assert_eq!(memory.read::<u32>(0x3ffc), Ok(0), "a refused write wrote nothing");
    assert_eq!(memory.read::<u8>(u64::MAX), Err(OutsideRam { address: u64::MAX }));
    assert!(memory.read::<u64>(u64::MAX - 3).is_err());
    assert_eq!(memory.load::<u64>(memory.len()), 0);
    memory.store::<u64>(u64::MAX, 1);
}

#[test]
fn writes_to_code_are_reported_once_and_by_chunk() {
    let memory = two_slots();
    let epoch = memory.epoch();
    memory.mark_code(0x1040, 0x20);
    assert_ne!(memory.epoch(), epoch, "admissions end when a page gets code");
    assert!(!memory.admit_writes(0x1000));
    memory.write::<u8>(0x1000, 1).expect("in RAM");
    memory.write::<u8>(0x1080, 1).expect("in RAM");
    assert!(!memory.code_written(), "other chunks of the page hold no code");
    memory.write::<u64>(0x103c, 1).expect("in RAM");
    assert!(memory.code_written());
    assert_eq!(memory.take_code_writes(), vec![1]);
    assert!(memory.admit_writes(0x1000), "the marks are gone");
}

#[test]
fn bad_slots_are_refused_by_name() {
    let error = |slots: &[Slot]| GuestMemory::new(slots).expect_err("must be refused").to_string();
    assert!(error(&[Slot { base: 0, len: 100 }]).contains("whole"));
    assert!(error(&[Slot { base: 0, len: 0x2000 }, Slot { base: 0x1000, len: 0x1000 }]).contains("overlaps"));
    assert!(error(&[Slot { base: 0, len: 1 << 50 }]).contains("--memory"));
}

#[test]
fn chunk_masks() {
    assert_eq!(chunk_mask(0, 1), 1);
    assert_eq!(chunk_mask(63, 2), 3);
    assert_eq!(chunk_mask(0, 4096), u64::MAX);
    assert_eq!(chunk_mask(4095, 1), 1 << 63);
    assert_eq!(chunk_mask(0, 0), 0);
}
