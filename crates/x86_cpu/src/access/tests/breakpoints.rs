//! Data and instruction breakpoints (SDM 3B 18.2.4, 18.2.5).

use super::*;
use crate::event::Attention;

/// DR7 with breakpoint 1 locally enabled, R/W and LEN as given.
const fn armed(condition: u64, len: u64) -> u64 {
    0x400 | 1 << 2 | condition << 20 | len << 22
}

#[test]
fn accesses_that_touch_a_breakpoint_are_noted() {
    const READ: bool = false;
    const WRITE: bool = true;
    // (R/W, LEN, DR1, linear, size, write, hit)
    let cases: &[(u64, u64, u64, u64, u64, bool, bool)] = &[
        (1, 0, 0x5010, 0x5010, 1, WRITE, true),
        (1, 0, 0x5010, 0x5010, 1, READ, false),
        (3, 0, 0x5010, 0x5010, 1, READ, true),
        (3, 0, 0x5010, 0x5011, 1, READ, false),
        (3, 0, 0x5010, 0x500f, 1, READ, false),
        (3, 0, 0x5010, 0x500c, 8, READ, true),
        (3, 0, 0x5010, 0x5008, 8, READ, false),
        (3, 1, 0x5010, 0x5011, 1, READ, true),
        (3, 3, 0x5010, 0x5013, 2, READ, true),
        (3, 3, 0x5010, 0x5014, 2, READ, false),
        // The low bits of the address are ignored.
        (3, 3, 0x5013, 0x5010, 1, READ, true),
        (1, 2, 0x5010, 0x5017, 1, WRITE, true),
        (1, 2, 0x5010, 0x5018, 1, WRITE, false),
        // Across pages.
        (1, 0, 0x6000, 0x5ffe, 4, WRITE, true),
        // Instruction and I/O breakpoints are no concern of data.
        (0, 0, 0x5010, 0x5010, 1, WRITE, false),
        (2, 0, 0x5010, 0x5010, 1, WRITE, false),
    ];
    let mem = ram();
    for &(condition, len, address, linear, size, write, hit) in cases {
        let mut cpu = long_mode(&mem, 0);
        map(&mem, 0x5000, 0x8000, P | RW);
        map(&mem, 0x6000, 0x9000, P | RW);
        // Fast before it is armed.
        cpu.write::<u8>(&mem, linear, 0, SEG_DS).expect("mapped");
        cpu.dr[1] = address;
        cpu.dr7 = armed(condition, len);
        cpu.mode_changed();
        let case = format!("R/W {condition} LEN {len} at {address:#x}: {size} at {linear:#x}, {write}");
        let done = match (size, write) {
            (1, READ) => cpu.read::<u8>(&mem, linear, SEG_DS).map(|_| ()),
            (2, READ) => cpu.read::<u16>(&mem, linear, SEG_DS).map(|_| ()),
            (_, READ) => cpu.read::<u64>(&mem, linear, SEG_DS).map(|_| ()),
            (1, WRITE) => cpu.write::<u8>(&mem, linear, 0, SEG_DS),
            (_, WRITE) => cpu.write::<u32>(&mem, linear, 0, SEG_DS),
        };
        assert_eq!(done, Ok(()), "{case}");
        assert_eq!(cpu.debug_pending, if hit { 1 << 1 } else { 0 }, "{case}");
        assert_eq!(cpu.attention.0 & Attention::DEBUG != 0, hit, "{case}");
    }
}

#[test]
fn a_fault_comes_instead_of_the_trap() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 0);
    cpu.dr[1] = 0x5010;
    cpu.dr7 = armed(3, 0);
    cpu.mode_changed();
    assert_eq!(cpu.read::<u8>(&mem, 0x5010, SEG_DS), Err(Fault));
    assert_eq!(cpu.debug_pending, 0);
}

#[test]
fn what_is_armed() {
    let mut cpu = protected_mode();
    // (DR7, instruction, data)
    for (dr7, instruction, data) in [
        (0x400, false, false),
        (armed(0, 0), true, false),
        (armed(1, 0), false, true),
        (armed(2, 0), false, false),
        (armed(3, 3), false, true),
        // Enabled globally; conditions of breakpoints that are off do not count.
        (1 << 7 | 3 << 28, false, true),
        (1 << 7 | 1 << 20, true, false),
        (1 << 8 | 1 << 9 | 3 << 28, false, false),
    ] {
        cpu.dr7 = dr7;
        assert_eq!(cpu.instruction_breakpoints_armed(), instruction, "{dr7:#x}");
        assert_eq!(cpu.data_breakpoints_armed(), data, "{dr7:#x}");
    }
    cpu.dr = [0x100, 0x200, 0x100, 0x100];
    cpu.dr7 = 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 28;
    assert_eq!(cpu.instruction_breakpoints_at(0x100), 0b101, "3 is for data");
    assert_eq!(cpu.instruction_breakpoints_at(0x200), 0b10);
    assert_eq!(cpu.instruction_breakpoints_at(0x101), 0);
}
