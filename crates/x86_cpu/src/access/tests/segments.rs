//! Limits and types of segments (SDM 3A 5.3, 5.5).

use x86_defs::rflags::VM;
use x86_defs::segment::AR_UNUSABLE;

use super::*;

/// Access rights of a present DPL 0 data or code segment of a type.
const fn rights(kind: u32) -> u32 {
    0x90 | kind
}

const READ_ONLY: u32 = rights(0x1);
const DATA: u32 = rights(0x3);
const DOWN: u32 = rights(0x7);
const EXECUTE_ONLY: u32 = rights(0x9);
const CODE: u32 = rights(0xb);
const CONFORMING: u32 = rights(0xf);

#[test]
fn limits_and_types() {
    // (access rights, limit, offset, size, write, allowed)
    let cases: &[(u32, u32, u64, u64, bool, bool)] = &[
        (DATA, 0xffff, 0, 1, true, true),
        (DATA, 0xffff, 0xffff, 1, true, true),
        (DATA, 0xffff, 0xffff, 2, true, false),
        (DATA, 0xffff, 0xfffc, 4, false, true),
        (DATA, 0xffff, 0xfffd, 4, false, false),
        (DATA, 0xffff, 0x1_0000, 1, false, false),
        (DATA, 0, 0, 1, true, true),
        (DATA, 0, 0, 2, true, false),
        (DATA, 0xffff_ffff, 0xffff_ffff, 1, true, true),
        (DATA, 0xffff_ffff, 0xffff_fff0, 16, true, true),
        (DATA, 0xffff_ffff, 0xffff_fff1, 16, true, false),
        // Expand-down: above the limit, up to 64 KiB or 4 GiB.
        (DOWN, 0x0fff, 0x1000, 4, true, true),
        (DOWN, 0x0fff, 0x0fff, 4, true, false),
        (DOWN, 0x0fff, 0, 1, true, false),
        (DOWN, 0x0fff, 0xfffc, 4, true, true),
        (DOWN, 0x0fff, 0xfffd, 4, true, false),
        (DOWN | AR_DB, 0x0fff, 0xfffd, 4, true, true),
        (DOWN | AR_DB, 0x0fff, 0xffff_fffc, 4, true, true),
        (DOWN | AR_DB, 0x0fff, 0xffff_fffd, 4, true, false),
        (DOWN, 0xffff, 0xffff, 1, true, false),
        // Types.
        (READ_ONLY, 0xffff, 0, 4, false, true),
        (READ_ONLY, 0xffff, 0, 4, true, false),
        (EXECUTE_ONLY, 0xffff, 0, 4, false, false),
        (CODE, 0xffff, 0, 4, false, true),
        (CODE, 0xffff, 0, 4, true, false),
        // Bit 2 of a code segment is no direction.
        (CONFORMING, 0xffff, 0, 4, false, true),
        (DATA | AR_UNUSABLE, 0xffff_ffff, 0, 4, false, false),
        (DATA | AR_UNUSABLE, 0xffff_ffff, 0, 4, true, false),
    ];
    let mut cpu = protected_mode();
    for &(access, limit, offset, size, write, allowed) in cases {
        let case = format!("{access:#x} {limit:#x} {offset:#x} {size} {write}");
        for seg in [SEG_DS, SEG_SS] {
            cpu.segs[usize::from(seg)] = Segment { selector: 16, base: 0x1000, limit, access };
            let linear = cpu.segment_linear(seg, offset, size, write);
            if allowed {
                assert_eq!(linear, Ok((offset + 0x1000) & 0xffff_ffff), "{case}");
            } else {
                assert_eq!(linear, Err(Fault), "{case}");
                let vector = if seg == SEG_SS { Vector::SS } else { Vector::GP };
                assert_eq!(exception(&mut cpu), Exception::new(vector, 0), "{case}");
            }
        }
    }
}

#[test]
fn real_and_virtual_8086_mode_know_no_types() {
    for v86 in [false, true] {
        let mut cpu = protected_mode();
        if v86 {
            cpu.cpl = 3;
            cpu.load_rflags(VM);
        } else {
            cpu.cr0 = 0;
            cpu.mode_changed();
        }
        for access in [CODE, EXECUTE_ONLY, READ_ONLY, DATA | AR_UNUSABLE] {
            cpu.segs[DS] = Segment { selector: 0x1234, base: 0x1_2340, limit: 0xffff, access };
            for write in [false, true] {
                assert_eq!(cpu.segment_linear(SEG_DS, 0xfffc, 4, write), Ok(0x2_233c), "{access:#x}");
                assert_eq!(cpu.segment_linear(SEG_DS, 0xfffd, 4, write), Err(Fault), "{access:#x}");
                assert_eq!(exception(&mut cpu), Exception::new(Vector::GP, 0));
            }
        }
    }
}
