//! Accesses on a processor with real page tables: faults, crossings, devices, what is cached, and that caching never shows.

mod breakpoints;
mod caching;
mod devices;
mod segments;

use guest_memory::{GuestMemory, Slot};
use x86_defs::control::{
    CR0_AM, CR0_PE, CR0_PG, CR0_WP, CR4_PAE, CR4_PGE, CR4_SMAP, CR4_SMEP, EFER_LMA, EFER_LME, EFER_NXE,
};
use x86_defs::exception::{PF_FETCH, PF_PRESENT, PF_USER, PF_WRITE};
use x86_defs::paging::{ACCESSED, DIRTY, NO_EXECUTE, PRESENT, USER, WRITABLE};
use x86_defs::rflags::AC;
use x86_defs::segment::index::{CS, DS, SS};
use x86_defs::segment::{AR_DB, AR_L, Segment};
use x86_defs::{Exception, Vector};

use super::*;
use crate::event::Pending;

/// RAM below 1 MiB; the rest of the address space is devices and holes.
const RAM: u64 = 0x10_0000;
/// Top-level table; the tables below it follow.
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const DIRECTORY: u64 = 0x3000;
const TABLE: u64 = 0x4000;
/// Linear addresses below 2 MiB are mapped through [`TABLE`].
const P: u64 = PRESENT;
const RW: u64 = WRITABLE;
const U: u64 = USER;

const SEG_DS: u8 = DS as u8;
const SEG_SS: u8 = SS as u8;

fn ram() -> GuestMemory {
    GuestMemory::new(&[Slot { base: 0, len: RAM }]).expect("a small slot")
}

/// Maps the page of `linear` (below 2 MiB) to `frame` with `flags`.
fn map(mem: &GuestMemory, linear: u64, frame: u64, flags: u64) {
    mem.write::<u64>(pte(linear), frame | flags).expect("in RAM");
}

fn pte(linear: u64) -> u64 {
    TABLE + (linear >> 12 & 0x1ff) * 8
}

fn entry(mem: &GuestMemory, linear: u64) -> u64 {
    mem.read(pte(linear)).expect("in RAM")
}

/// A processor in 64-bit mode at `cpl` with empty tables for the first 2 MiB.
fn long_mode(mem: &GuestMemory, cpl: u8) -> Cpu {
    mem.write::<u64>(PML4, PDPT | P | RW | U).expect("in RAM");
    mem.write::<u64>(PDPT, DIRECTORY | P | RW | U).expect("in RAM");
    mem.write::<u64>(DIRECTORY, TABLE | P | RW | U).expect("in RAM");
    let mut cpu = Cpu::new(0, 1);
    cpu.cr0 = CR0_PE | CR0_PG | CR0_WP;
    cpu.cr3 = PML4;
    cpu.cr4 = CR4_PAE | CR4_PGE;
    cpu.efer = EFER_LME | EFER_LMA | EFER_NXE;
    cpu.segs[CS] = Segment::flat(8, 0x809b | AR_L);
    cpu.cpl = cpl;
    cpu.mode_changed();
    cpu
}

/// A processor in 32-bit protected mode without paging, with flat segments.
fn protected_mode() -> Cpu {
    let mut cpu = Cpu::new(0, 1);
    cpu.cr0 = CR0_PE;
    cpu.segs[CS] = Segment::flat(8, 0x809b | AR_DB);
    for seg in [SS, DS] {
        cpu.segs[seg] = Segment::flat(16, 0x8093 | AR_DB);
    }
    cpu.mode_changed();
    cpu
}

/// What the refused access left.
fn exception(cpu: &mut Cpu) -> Exception {
    match std::mem::take(&mut cpu.pending) {
        Pending::Exception(exception) => exception,
        other => panic!("no exception but {other:?}"),
    }
}

fn page_fault(error_code: u32, linear: u64) -> Exception {
    Exception { vector: Vector::PF, error_code, payload: linear }
}

#[test]
fn faults_name_the_address_and_the_reason() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 3);
    map(&mem, 0x5000, 0x8000, P | RW);
    map(&mem, 0x6000, 0x8000, P | U | NO_EXECUTE);
    assert_eq!(cpu.read::<u32>(&mem, 0x7123, SEG_DS), Err(Fault));
    assert_eq!(exception(&mut cpu), page_fault(PF_USER, 0x7123));
    assert_eq!(cpu.read::<u32>(&mem, 0x5123, SEG_DS), Err(Fault));
    assert_eq!(exception(&mut cpu), page_fault(PF_USER | PF_PRESENT, 0x5123));
    assert_eq!(cpu.write::<u8>(&mem, 0x6fff, 1, SEG_SS), Err(Fault));
    assert_eq!(exception(&mut cpu), page_fault(PF_USER | PF_PRESENT | PF_WRITE, 0x6fff));
    assert_eq!(
        cpu.modify::<u16>(&mem, 0x6000, SEG_DS, |_, _| unreachable!("checked as a write")),
        Err(Fault)
    );
    assert_eq!(exception(&mut cpu), page_fault(PF_USER | PF_PRESENT | PF_WRITE, 0x6000));
    assert_eq!(cpu.translate_fetch(&mem, 0x6000), Err(Fault));
    assert_eq!(exception(&mut cpu), page_fault(PF_USER | PF_PRESENT | PF_FETCH, 0x6000));
    assert_eq!(cpu.read::<u32>(&mem, 0x6123, SEG_DS), Ok(0));
}

#[test]
fn hits_read_and_write_what_misses_found() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 0);
    map(&mem, 0x5000, 0x8000, P | RW);
    for round in 0..3_u64 {
        cpu.write::<u64>(&mem, 0x5ff8, round, SEG_DS).expect("mapped");
        cpu.modify::<u64>(&mem, 0x5ff8, SEG_DS, |_, old| old + 10).expect("mapped");
        assert_eq!(cpu.read::<u64>(&mem, 0x5ff8, SEG_DS), Ok(round + 10));
        assert_eq!(mem.read::<u64>(0x8ff8), Ok(round + 10));
    }
    assert_eq!(entry(&mem, 0x5000) & (ACCESSED | DIRTY), ACCESSED | DIRTY);
}

#[test]
fn accesses_across_pages_are_exact_and_all_or_nothing() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 0);
    map(&mem, 0x5000, 0x9000, P | RW);
    map(&mem, 0x6000, 0x8000, P | RW);
    let pattern = 0x1122_3344_5566_7788_99aa_bbcc_ddee_ff00_u128;
    for split in 1..16 {
        let linear = 0x6000 - split;
        cpu.write(&mem, linear, pattern, SEG_DS).expect("mapped");
        assert_eq!(cpu.read::<u128>(&mem, linear, SEG_DS), Ok(pattern), "{split}");
        for byte in 0..16 {
            let at = linear + byte;
            let physical = if at < 0x6000 { at + 0x4000 } else { at + 0x2000 };
            assert_eq!(mem.read::<u8>(physical), Ok((pattern >> (8 * byte)) as u8), "{split} {byte}");
        }
    }
    // The second page refuses: its address is told, and nothing was written to the first.
    for flags in [0, P] {
        map(&mem, 0x6000, 0x8000, flags);
        cpu.tlb.flush_all();
        let before = mem.read::<u32>(0x9ffc);
        assert_eq!(cpu.write(&mem, 0x5ffe, 0xffff_ffff_u32, SEG_DS), Err(Fault));
        let present = if flags == 0 { 0 } else { PF_PRESENT };
        assert_eq!(exception(&mut cpu), page_fault(PF_WRITE | present, 0x6000));
        assert_eq!(mem.read::<u32>(0x9ffc), before);
    }
    // The first page refuses: its address is told, as far as the access reaches into it.
    map(&mem, 0x5000, 0, 0);
    cpu.tlb.flush_all();
    assert_eq!(cpu.read::<u64>(&mem, 0x5ffd, SEG_DS), Err(Fault));
    assert_eq!(exception(&mut cpu), page_fault(0, 0x5ffd));
}

#[test]
fn addresses_that_are_not_canonical() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 0);
    const LOW_END: u64 = 0x8000_0000_0000;
    for linear in [LOW_END, LOW_END - 1, 0xffff_7fff_ffff_ffff, 0x1234_5678_9abc_def0] {
        assert_eq!(cpu.read::<u16>(&mem, linear, SEG_DS), Err(Fault), "{linear:#x}");
        assert_eq!(exception(&mut cpu), Exception::new(Vector::GP, 0), "{linear:#x}");
        assert_eq!(cpu.write::<u128>(&mem, linear, 0, SEG_SS), Err(Fault), "{linear:#x}");
        assert_eq!(exception(&mut cpu), Exception::new(Vector::SS, 0), "{linear:#x}");
        assert_eq!(cpu.read_system::<u64>(&mem, linear), Err(Fault), "{linear:#x}");
        assert_eq!(exception(&mut cpu), Exception::new(Vector::GP, 0), "{linear:#x}");
    }
    assert_eq!(cpu.translate_fetch(&mem, LOW_END), Err(Fault));
    assert_eq!(exception(&mut cpu), Exception::new(Vector::GP, 0));
    assert_eq!(cpu.probe(&mem, LOW_END), None);
    assert_eq!(cpu.read::<u8>(&mem, LOW_END - 1, SEG_DS), Err(Fault));
    assert_eq!(exception(&mut cpu).vector, Vector::PF, "the last canonical byte");
}

#[test]
fn legacy_addresses_wrap_at_four_gigabytes() {
    let mem = ram();
    let mut cpu = protected_mode();
    mem.write::<u16>(0, 0x2211).expect("in RAM");
    cpu.segs[DS].base = 0xffff_0000;
    let linear = cpu.segment_linear(SEG_DS, 0xfffe, 4, false).expect("inside the limit");
    assert_eq!(linear, 0xffff_fffe);
    // The first half is not in RAM and is asked for; the second wraps to address 0.
    assert_eq!(cpu.read::<u32>(&mem, linear, SEG_DS), Err(Fault));
    let Pending::Exit(exit) = cpu.pending else { panic!("no exit but {:?}", cpu.pending) };
    assert_eq!(exit, Exit::MmioRead { address: 0xffff_fffe, size: 2 });
    cpu.answer(exit, crate::event::Answer::Value(0x6655));
    assert_eq!(cpu.read::<u32>(&mem, linear, SEG_DS), Ok(0x2211_6655));
}

#[test]
fn without_paging_linear_is_physical() {
    let mem = ram();
    let mut cpu = protected_mode();
    for _ in 0..2 {
        cpu.write::<u32>(&mem, 0xabcd, 0x0102_0304, SEG_DS).expect("RAM");
        assert_eq!(cpu.read::<u32>(&mem, 0xabcd, SEG_DS), Ok(0x0102_0304));
        assert_eq!(mem.read::<u32>(0xabcd), Ok(0x0102_0304));
        assert_eq!(cpu.translate_fetch(&mem, 0xabcd), Ok(0xabcd));
        assert_eq!(cpu.probe(&mem, 0xabcd), Some(0xabcd));
    }
    use saved_state::Save;
    assert!(cpu.tlb.save().entries.is_empty(), "nothing is cached that a guest could notice");
}

#[test]
fn the_processors_own_accesses_are_supervisor_accesses() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 3);
    map(&mem, 0x5000, 0x8000, P | RW);
    map(&mem, 0x6000, 0x9000, P | RW | U);
    cpu.write_system::<u32>(&mem, 0x5004, 7).expect("a supervisor page");
    assert_eq!(cpu.read_system::<u32>(&mem, 0x5004), Ok(7));
    assert_eq!(cpu.read::<u32>(&mem, 0x5004, SEG_DS), Err(Fault), "and still no user page");
    exception(&mut cpu);
    cpu.write_as::<u32>(&mem, 0x5008, 8, 0).expect("the inner stack");
    assert_eq!(cpu.write_as::<u32>(&mem, 0x5008, 8, 3), Err(Fault));
    assert_eq!(exception(&mut cpu), page_fault(PF_USER | PF_WRITE | PF_PRESENT, 0x5008));
    // With SMAP a table in a user page faults, whatever EFLAGS.AC says.
    cpu.cr4 |= CR4_SMAP;
    for cpl in [0, 3] {
        cpu.cpl = cpl;
        cpu.load_rflags(AC);
        assert_eq!(cpu.read_system::<u32>(&mem, 0x6000), Err(Fault), "CPL {cpl}");
        assert_eq!(exception(&mut cpu), page_fault(PF_PRESENT, 0x6000), "CPL {cpl}");
    }
}

#[test]
fn smap_and_smep_follow_the_flags_at_once() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 0);
    map(&mem, 0x6000, 0x9000, P | RW | U);
    assert_eq!(cpu.read::<u32>(&mem, 0x6000, SEG_DS), Ok(0));
    assert_eq!(cpu.translate_fetch(&mem, 0x6000), Ok(0x9000));
    let old = cpu.cr4;
    cpu.cr4 |= CR4_SMAP | CR4_SMEP;
    cpu.tlb.cr4_changed(old, cpu.cr4, cpu.cr3);
    cpu.mode_changed();
    for _ in 0..2 {
        assert_eq!(cpu.read::<u32>(&mem, 0x6000, SEG_DS), Err(Fault));
        assert_eq!(exception(&mut cpu), page_fault(PF_PRESENT, 0x6000));
        assert!(!cpu.tlb.fetch.valid);
        assert_eq!(cpu.translate_fetch(&mem, 0x6000), Err(Fault));
        assert_eq!(exception(&mut cpu), page_fault(PF_PRESENT | PF_FETCH, 0x6000));
        cpu.load_rflags(AC);
        cpu.write::<u32>(&mem, 0x6000, 1, SEG_DS).expect("AC overrides SMAP");
        cpu.write::<u32>(&mem, 0x6000, 1, SEG_DS).expect("AC overrides SMAP, and is fast now");
        cpu.load_rflags(0);
    }
    cpu.cpl = 3;
    cpu.mode_changed();
    assert_eq!(cpu.read::<u32>(&mem, 0x6000, SEG_DS), Ok(1), "users are not concerned");
    assert_eq!(cpu.translate_fetch(&mem, 0x6000), Ok(0x9000));
}

#[test]
fn write_protect_follows_the_flag_at_once() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 0);
    map(&mem, 0x5000, 0x8000, P);
    for _ in 0..2 {
        let old = cpu.cr0;
        cpu.cr0 &= !CR0_WP;
        cpu.tlb.cr0_changed(old, cpu.cr0);
        cpu.mode_changed();
        cpu.write::<u8>(&mem, 0x5000, 1, SEG_DS).expect("WP is clear");
        cpu.write::<u8>(&mem, 0x5000, 1, SEG_DS).expect("WP is clear, and this hits");
        let old = cpu.cr0;
        cpu.cr0 |= CR0_WP;
        cpu.tlb.cr0_changed(old, cpu.cr0);
        cpu.mode_changed();
        assert_eq!(cpu.write::<u8>(&mem, 0x5000, 1, SEG_DS), Err(Fault));
        assert_eq!(exception(&mut cpu), page_fault(PF_PRESENT | PF_WRITE, 0x5000));
    }
}

#[test]
fn alignment_is_checked_for_users_who_ask() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 3);
    map(&mem, 0x5000, 0x8000, P | RW | U);
    assert_eq!(cpu.read::<u32>(&mem, 0x5001, SEG_DS), Ok(0));
    for (cr0, flags, cpl, checked) in
        [(CR0_AM, AC, 3, true), (0, AC, 3, false), (CR0_AM, 0, 3, false), (CR0_AM, AC, 0, false)]
    {
        cpu.cr0 = (cpu.cr0 & !CR0_AM) | cr0;
        cpu.cpl = cpl;
        cpu.load_rflags(flags);
        for _ in 0..2 {
            let result = cpu.read::<u32>(&mem, 0x5002, SEG_DS);
            assert_eq!(result, if checked { Err(Fault) } else { Ok(0) }, "{cr0:#x} {flags:#x} CPL {cpl}");
            if checked {
                assert_eq!(exception(&mut cpu), Exception::new(Vector::AC, 0));
            }
            assert_eq!(cpu.write::<u64>(&mem, 0x5008, 0, SEG_DS), Ok(()), "aligned");
            assert_eq!(cpu.read::<u8>(&mem, 0x5003, SEG_DS), Ok(0), "bytes are");
        }
    }
    cpu.cr0 |= CR0_AM;
    cpu.cpl = 3;
    cpu.load_rflags(AC);
    assert_eq!(cpu.read::<u32>(&mem, 0x7001, SEG_DS), Err(Fault));
    assert_eq!(exception(&mut cpu).vector, Vector::PF, "a page fault comes first");
}

#[test]
fn stores_into_code_end_the_block() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 0);
    map(&mem, 0x5000, 0x8000, P | RW);
    cpu.write::<u32>(&mem, 0x5100, 1, SEG_DS).expect("mapped");
    assert!(!cpu.stop_block);
    mem.mark_code(0x8100, 16);
    cpu.tlb.sync_epoch(&mem);
    cpu.write::<u32>(&mem, 0x5200, 1, SEG_DS).expect("mapped");
    assert!(!cpu.stop_block, "beside the code");
    cpu.write::<u32>(&mem, 0x5100, 1, SEG_DS).expect("mapped");
    assert!(cpu.stop_block && mem.code_written());
}

#[test]
fn probing_changes_nothing() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 3);
    cpu.cr4 |= CR4_SMAP | CR4_SMEP;
    map(&mem, 0x5000, 0x8000, P | U | NO_EXECUTE);
    map(&mem, 0x6000, 0xfee0_0000, P);
    let _ = mem.take_dirty_log();
    assert_eq!(cpu.probe(&mem, 0x5123), Some(0x8123));
    assert_eq!(cpu.probe(&mem, 0x6123), Some(0xfee0_0123), "whatever is there");
    assert_eq!(cpu.probe(&mem, 0x7000), None);
    assert_eq!(entry(&mem, 0x5000) & ACCESSED, 0);
    assert!(mem.take_dirty_log().iter().all(|&pages| pages == 0));
    assert_eq!(cpu.pending, Pending::None);
}

#[test]
fn checks_without_access() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 3);
    map(&mem, 0x5000, 0xfee0_0000, P | U);
    map(&mem, 0x6000, 0x8000, P | U | RW);
    assert_eq!(cpu.probe_write(&mem, 0x5ffc, 4, SEG_DS), Err(Fault));
    assert_eq!(exception(&mut cpu), page_fault(PF_USER | PF_WRITE | PF_PRESENT, 0x5ffc));
    mem.write::<u32>(0x8000, 5).expect("in RAM");
    assert_eq!(cpu.probe_write(&mem, 0x6000, 4, SEG_DS), Ok(()));
    assert_eq!(mem.read::<u32>(0x8000), Ok(5), "nothing is written");
    assert_eq!(entry(&mem, 0x6000) & DIRTY, DIRTY, "but it counts as a write");
    assert!(cpu.posted.is_empty());
}

#[test]
fn pdptes_with_reserved_bits_are_a_protection_fault() {
    let mem = ram();
    let mut cpu = protected_mode();
    mem.write::<u64>(0x7000, 0x8000 | P).expect("in RAM");
    assert_eq!(cpu.load_pdptes(&mem, 0x7000), Ok([0x8001, 0, 0, 0]));
    mem.write::<u64>(0x7018, P | RW).expect("in RAM");
    assert_eq!(cpu.load_pdptes(&mem, 0x7000), Err(Fault));
    assert_eq!(exception(&mut cpu), Exception::new(Vector::GP, 0));
}
