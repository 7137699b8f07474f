//! Segment loads and their faults.

use x86_defs::gpr::{RAX, RSP};
use x86_defs::segment::AR_UNUSABLE;
use x86_defs::segment::index::{DS, ES, FS, SS};

use super::*;
use crate::event::InterruptShadow;

const GP: u64 = 13;
const NP: u64 = 11;
const SF: u64 = 12;

/// MOV DS, AX and MOV SS, AX.
const MOV_DS: &[u8] = &[0x8e, 0xd8];
const MOV_SS: &[u8] = &[0x8e, 0xd0];

#[test]
fn data_segments_are_checked_as_sdm_5_5_says() {
    // (level, selector, fault)
    let table: &[(u8, u16, Option<(u64, u16)>)] = &[
        (0, DATA0, None),
        (0, DATA0 | 3, Some((GP, DATA0))),
        (0, DATA3, None),
        (3, DATA3, None),
        (3, DATA0, Some((GP, DATA0))),
        (3, DATA0 | 3, Some((GP, DATA0))),
        (0, READ_ONLY, None),
        (0, CODE0, None),
        (0, EXECUTE_ONLY, Some((GP, EXECUTE_ONLY))),
        (3, CONFORMING0 | 3, None),
        (0, ABSENT_DATA, Some((NP, ABSENT_DATA))),
        (0, TSS_SELECTOR, Some((GP, TSS_SELECTOR))),
        (0, BEYOND, Some((GP, BEYOND))),
        (0, 0x0c, None),
        (0, 0x24, Some((GP, 0x24))),
        (0, 0, None),
        (3, 3, None),
    ];
    for &(cpl, selector, fault) in table {
        let mut guest = Guest::protected(cpl);
        guest.cpu.regs[RAX] = selector.into();
        let expected = fault.map(|(vector, code)| (vector, u32::from(code)));
        assert_eq!(guest.fault_of(MOV_DS), expected, "MOV DS, {selector:#x} at level {cpl}");
        if fault.is_none() {
            assert_eq!(guest.cpu.segs[DS].selector, selector);
            assert_eq!(guest.cpu.segs[DS].unusable(), selector < 4, "{selector:#x}");
        }
    }
}

#[test]
fn stack_segments_are_checked_more_strictly() {
    let table: &[(u8, u16, Option<(u64, u16)>)] = &[
        (0, DATA0, None),
        (3, DATA3, None),
        (0, DATA3, Some((GP, DATA3 & !3))),
        (0, DATA0 | 3, Some((GP, DATA0))),
        (0, READ_ONLY, Some((GP, READ_ONLY))),
        (0, CODE0, Some((GP, CODE0))),
        (0, ABSENT_DATA, Some((SF, ABSENT_DATA))),
        (0, 0, Some((GP, 0))),
        (3, 3, Some((GP, 0))),
        (0, BEYOND, Some((GP, BEYOND))),
    ];
    for &(cpl, selector, fault) in table {
        let mut guest = Guest::protected(cpl);
        guest.cpu.regs[RAX] = selector.into();
        let expected = fault.map(|(vector, code)| (vector, u32::from(code)));
        assert_eq!(guest.fault_of(MOV_SS), expected, "MOV SS, {selector:#x} at level {cpl}");
        if fault.is_none() {
            assert_eq!(guest.cpu.shadow, InterruptShadow::MovSs);
        }
    }
}

#[test]
fn sixty_four_bit_mode_allows_a_null_stack_segment_below_level_3() {
    let mut guest = Guest::long(0);
    guest.cpu.regs[RAX] = 0;
    assert_eq!(guest.fault_of(MOV_SS), None);
    assert!(guest.cpu.segs[SS].unusable());
    let mut guest = Guest::long(3);
    guest.cpu.regs[RAX] = 3;
    assert_eq!(guest.fault_of(MOV_SS), Some((GP, 0)));
}

#[test]
fn a_load_sets_the_accessed_bit_once() {
    let mut guest = Guest::protected(0);
    guest.cpu.regs[RAX] = DATA3.into();
    let at = GDT + u64::from(DATA3 & !7) + 5;
    assert_eq!(guest.get::<u8>(at) & 1, 0);
    guest.execute(MOV_DS);
    assert_eq!(guest.get::<u8>(at), 0xf3);
    assert_eq!(guest.cpu.segs[DS].access, FLAT_DATA32 | 0x61);
}

#[test]
fn real_mode_loads_change_the_base_and_keep_the_limit() {
    let mut guest = Guest::real();
    guest.cpu.segs[DS].limit = 0xffff_ffff;
    guest.cpu.regs[RAX] = 0x1234;
    guest.execute(MOV_DS);
    assert_eq!(guest.cpu.segs[DS].base, 0x12340);
    assert_eq!(guest.cpu.segs[DS].limit, 0xffff_ffff);
    let mut guest = Guest::v86(3);
    guest.cpu.segs[DS].limit = 0xffff_ffff;
    guest.cpu.regs[RAX] = 0x1234;
    guest.execute(MOV_DS);
    assert_eq!((guest.cpu.segs[DS].base, guest.cpu.segs[DS].limit), (0x12340, 0xffff));
}

#[test]
fn moving_to_cs_is_undefined() {
    assert_eq!(Guest::protected(0).fault_of(&[0x8e, 0xc8]), Some((6, 0)));
}

#[test]
fn pop_and_push_of_segments_move_the_stack_by_the_operand_size() {
    let mut guest = Guest::protected(0);
    guest.put::<u32>(STACK, 0xdead_0000 | u32::from(DATA3));
    guest.execute(&[0x07]); // POP ES
    assert_eq!(guest.cpu.segs[ES].selector, DATA3);
    assert_eq!(guest.cpu.regs[RSP], STACK + 4);
    guest.execute(&[0x66, 0x06]); // PUSH ES, 16 bits
    assert_eq!(guest.cpu.regs[RSP], STACK + 2);
    assert_eq!(guest.get::<u16>(STACK + 2), DATA3);
    // A refused POP leaves everything.
    guest.put::<u32>(STACK + 2, TSS_SELECTOR.into());
    let before = guest.cpu.regs[RSP];
    assert_eq!(guest.fault_of(&[0x07]), Some((GP, TSS_SELECTOR.into())));
    assert_eq!(guest.cpu.regs[RSP], before - 16);
    assert_eq!(guest.cpu.segs[ES].selector, DATA3);
    let mut guest = Guest::long(0);
    guest.put::<u64>(STACK, u64::from(DATA3));
    guest.execute(&[0x0f, 0xa1]); // POP FS
    assert_eq!(guest.cpu.segs[FS].selector, DATA3);
    assert_eq!(guest.cpu.regs[RSP], STACK + 8);
}

#[test]
fn far_pointers_load_register_and_segment_or_neither() {
    let mut guest = Guest::protected(0);
    guest.put::<u32>(DATA, 0x1234_5678);
    guest.put::<u16>(DATA + 4, DATA3);
    guest.execute(&[0xc4, 0x05, 0, 0, 3, 0]); // LES EAX, [DATA]
    assert_eq!(guest.cpu.regs[RAX], 0x1234_5678);
    assert_eq!(guest.cpu.segs[ES].selector, DATA3);
    guest.put::<u16>(DATA + 4, TSS_SELECTOR);
    guest.cpu.regs[RAX] = 7;
    assert_eq!(guest.fault_of(&[0xc5, 0x05, 0, 0, 3, 0]), Some((GP, TSS_SELECTOR.into())));
    assert_eq!(guest.cpu.regs[RAX], 7);
}

#[test]
fn null_segments_read_as_their_selector_and_are_unusable() {
    let mut guest = Guest::protected(3);
    guest.cpu.regs[RAX] = 2;
    guest.execute(MOV_DS);
    assert_eq!(guest.cpu.segs[DS].access, AR_UNUSABLE);
    guest.execute(&[0x8c, 0xd8]); // MOV EAX, DS
    assert_eq!(guest.cpu.regs[RAX], 2);
    // MOV EAX, [0] through the null DS.
    assert_eq!(guest.fault_of(&[0xa1, 0, 0, 0, 0]), Some((GP, 0)));
}
