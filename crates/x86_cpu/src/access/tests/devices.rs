//! Accesses to what is not RAM: which transfers they become, and in which order.

use super::*;
use crate::event::Answer;

/// Linear pages: RAM, device, device, RAM.
const FIRST: u64 = 0x1_0000;
const DEVICE: u64 = 0xfee0_0000;

fn cpu_with_device(mem: &GuestMemory) -> Cpu {
    let cpu = long_mode(mem, 0);
    map(mem, FIRST, 0x8000, P | RW);
    map(mem, FIRST + 0x1000, DEVICE, P | RW);
    map(mem, FIRST + 0x2000, DEVICE + 0x1000, P | RW);
    map(mem, FIRST + 0x3000, 0x9000, P | RW);
    cpu
}

/// Reads as the run loop does it: again and again, with the answers. A device answers with the low bytes of its addresses.
fn read<T: Word + std::fmt::Debug>(cpu: &mut Cpu, mem: &GuestMemory, linear: u64) -> (T, Vec<(u64, u8)>) {
    let mut asked = Vec::new();
    loop {
        cpu.replay.cursor = 0;
        if let Ok(value) = cpu.read::<T>(mem, linear, SEG_DS) {
            cpu.replay.clear();
            return (value, asked);
        }
        let Pending::Exit(exit @ Exit::MmioRead { address, size }) = std::mem::take(&mut cpu.pending) else {
            panic!("no read of a device")
        };
        asked.push((address, size));
        let bytes = (0..8).map(|byte| u64::from((address as u8).wrapping_add(byte))).rev();
        // More bytes than were asked for: the rest must not leak in.
        cpu.answer(exit, Answer::Value(bytes.fold(0, |value, byte| value << 8 | byte)));
    }
}

/// The transfers of a write, as (address, size, value).
fn written(cpu: &mut Cpu) -> Vec<(u64, u8, u64)> {
    assert!(cpu.stop_block, "the machine has to see them");
    std::mem::take(&mut cpu.posted)
        .into_iter()
        .map(|exit| match exit {
            Exit::MmioWrite { address, size, value } => (address, size, value),
            other => panic!("no write to a device but {other:?}"),
        })
        .collect()
}

#[test]
fn reads_become_transfers_of_their_size() {
    let mem = ram();
    let mut cpu = cpu_with_device(&mem);
    let page = FIRST + 0x1000;
    assert_eq!(read::<u8>(&mut cpu, &mem, page + 0x23), (0x23, vec![(DEVICE + 0x23, 1)]));
    assert_eq!(read::<u16>(&mut cpu, &mem, page + 0x20), (0x2120, vec![(DEVICE + 0x20, 2)]));
    assert_eq!(read::<u32>(&mut cpu, &mem, page + 0x21), (0x2423_2221, vec![(DEVICE + 0x21, 4)]));
    assert_eq!(read::<u64>(&mut cpu, &mem, page + 0x20), (0x2726_2524_2322_2120, vec![(DEVICE + 0x20, 8)]));
    assert_eq!(
        read::<u128>(&mut cpu, &mem, page + 0x20),
        (0x2f2e_2d2c_2b2a_2928_2726_2524_2322_2120, vec![(DEVICE + 0x20, 8), (DEVICE + 0x28, 8)])
    );
    // Across two pages of devices: aligned pieces.
    assert_eq!(
        read::<u64>(&mut cpu, &mem, page + 0xffd),
        (
            0x0403_0201_00ff_fefd,
            vec![(DEVICE + 0xffd, 1), (DEVICE + 0xffe, 2), (DEVICE + 0x1000, 4), (DEVICE + 0x1004, 1)]
        )
    );
}

#[test]
fn reads_partly_from_ram() {
    let mem = ram();
    let mut cpu = cpu_with_device(&mem);
    mem.write::<u16>(0x8ffe, 0xbbaa).expect("in RAM");
    mem.write::<u16>(0x9000, 0xddcc).expect("in RAM");
    assert_eq!(read::<u32>(&mut cpu, &mem, FIRST + 0xffe), (0x0100_bbaa, vec![(DEVICE, 2)]));
    assert_eq!(read::<u32>(&mut cpu, &mem, FIRST + 0x2ffe), (0xddcc_fffe, vec![(DEVICE + 0x1ffe, 2)]));
}

#[test]
fn writes_become_transfers_in_order() {
    let mem = ram();
    let mut cpu = cpu_with_device(&mem);
    let page = FIRST + 0x1000;
    cpu.write::<u32>(&mem, page + 0x80, 0x8765_4321, SEG_DS).expect("mapped");
    assert_eq!(written(&mut cpu), [(DEVICE + 0x80, 4, 0x8765_4321)]);
    cpu.write::<u128>(&mem, page, 0x10_0000_0000_0000_0002, SEG_DS).expect("mapped");
    assert_eq!(written(&mut cpu), [(DEVICE, 8, 2), (DEVICE + 8, 8, 0x10)]);
    cpu.write::<u64>(&mem, FIRST + 0xffd, 0x8877_6655_4433_2211, SEG_DS).expect("mapped");
    assert_eq!(mem.read::<u32>(0x8ffc), Ok(0x3322_1100));
    assert_eq!(written(&mut cpu), [(DEVICE, 4, 0x7766_5544), (DEVICE + 4, 1, 0x88)]);
    cpu.write::<u32>(&mem, FIRST + 0x2fff, 0x4433_2211, SEG_DS).expect("mapped");
    assert_eq!(mem.read::<u32>(0x9000), Ok(0x0044_3322));
    assert_eq!(written(&mut cpu), [(DEVICE + 0x1fff, 1, 0x11)]);
}

#[test]
fn a_refused_write_posts_nothing() {
    let mem = ram();
    let mut cpu = cpu_with_device(&mem);
    map(&mem, FIRST + 0x3000, 0x9000, P);
    assert_eq!(cpu.write::<u64>(&mem, FIRST + 0x2ffc, 1, SEG_DS), Err(Fault));
    assert_eq!(exception(&mut cpu), page_fault(PF_WRITE | PF_PRESENT, FIRST + 0x3000));
    assert!(cpu.posted.is_empty());
}

#[test]
fn a_modification_reads_once_and_writes_once() {
    let mem = ram();
    let mut cpu = cpu_with_device(&mem);
    let linear = FIRST + 0x1010;
    assert_eq!(cpu.modify::<u32>(&mem, linear, SEG_DS, |_, _| unreachable!("not answered")), Err(Fault));
    let Pending::Exit(exit) = std::mem::take(&mut cpu.pending) else { panic!("no exit") };
    assert_eq!(exit, Exit::MmioRead { address: DEVICE + 0x10, size: 4 });
    assert!(cpu.posted.is_empty());
    cpu.answer(exit, Answer::Value(41));
    cpu.modify::<u32>(&mem, linear, SEG_DS, |_, old| old + 1).expect("answered");
    assert_eq!(written(&mut cpu), [(DEVICE + 0x10, 4, 42)]);
}

#[test]
fn every_cut_is_complete_and_in_order() {
    for len in 1..=16 {
        for start in 0..16_u64 {
            for ram in [false, true] {
                let mut at = 0;
                for piece in pieces(start, len, ram) {
                    assert_eq!(piece.at, at, "{start} {len}");
                    assert!(matches!(piece.size, 1 | 2 | 4 | 8), "{start} {len}");
                    at += u64::from(piece.size);
                }
                assert_eq!(at, len, "{start} {len}");
            }
        }
    }
}
