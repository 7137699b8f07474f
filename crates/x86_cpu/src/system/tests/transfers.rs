//! Far JMP, CALL, RET, call gates and IRET.

use x86_defs::gpr::{RAX, RSP};
use x86_defs::rflags::{CF, IF, IOPL, NT, RF, TF, VM, ZF};
use x86_defs::segment::index::{CS, DS, ES, SS};

use super::*;

const GP: u64 = 13;
const NP: u64 = 11;

/// JMP ptr16:32.
fn jmp(selector: u16, offset: u32) -> Vec<u8> {
    direct(0xea, selector, offset)
}

/// CALL ptr16:32.
fn call(selector: u16, offset: u32) -> Vec<u8> {
    direct(0x9a, selector, offset)
}

fn direct(opcode: u8, selector: u16, offset: u32) -> Vec<u8> {
    let mut bytes = vec![opcode];
    bytes.extend(offset.to_le_bytes());
    bytes.extend(selector.to_le_bytes());
    bytes
}

#[test]
fn a_far_jump_checks_its_target() {
    let table: &[(u8, u16, Option<(u64, u16)>)] = &[
        (0, CODE0, None),
        (0, CODE0 | 3, Some((GP, CODE0))),
        (3, CODE3, None),
        (3, CODE0, Some((GP, CODE0))),
        (0, CODE3, Some((GP, CODE3 & !3))),
        (3, CONFORMING0, None),
        (0, DATA0, Some((GP, DATA0))),
        (0, ABSENT_CODE, Some((NP, ABSENT_CODE))),
        (0, LDT_SELECTOR, Some((GP, LDT_SELECTOR))),
        (0, BEYOND, Some((GP, BEYOND))),
        (0, 0, Some((GP, 0))),
        (0, 3, Some((GP, 0))),
    ];
    for &(cpl, selector, fault) in table {
        let mut guest = Guest::protected(cpl);
        let expected = fault.map(|(vector, code)| (vector, u32::from(code)));
        assert_eq!(guest.fault_of(&jmp(selector, 0x2_1000)), expected, "to {selector:#x} from {cpl}");
        if fault.is_none() {
            assert_eq!(guest.cpu.rip, 0x2_1000);
            assert_eq!(guest.cpu.segs[CS].selector, (selector & !3) | u16::from(cpl));
            assert_eq!(guest.cpu.cpl, cpl);
        }
    }
    // Beyond the limit of the target.
    assert_eq!(Guest::protected(0).fault_of(&jmp(CODE16, 0x1_0000)), Some((GP, 0)));
}

#[test]
fn a_far_call_and_return_within_a_level() {
    let mut guest = Guest::protected(0);
    guest.execute(&call(CODE0, 0x2_1000));
    assert_eq!(guest.cpu.regs[RSP], STACK - 8);
    assert_eq!((guest.stacked::<u32>(0), guest.stacked::<u32>(1)), (CODE as u32 + 7, CODE0.into()));
    guest.execute(&[0xca, 8, 0]); // RETF 8
    assert_eq!(guest.cpu.rip, CODE + 7);
    assert_eq!(guest.cpu.regs[RSP], STACK + 8);
    let mut guest = Guest::real();
    guest.execute(&[0x9a, 0x34, 0x12, 0x00, 0x25]); // CALL 2500:1234
    assert_eq!((guest.cpu.rip, guest.cpu.segs[CS].base), (0x1234, 0x2_5000));
    guest.execute(&[0xcb]);
    assert_eq!((guest.cpu.rip, guest.cpu.segs[CS].selector), (5, 0x2000));
    assert_eq!(guest.cpu.regs[RSP], 0x8000);
}

#[test]
fn a_call_gate_to_an_inner_level_switches_stacks_and_copies_parameters() {
    let mut guest = Guest::protected(3);
    guest.put(GDT + u64::from(GATE), gate(CODE0, 0x2_1000, 0xec) | 2 << 32);
    guest.put::<u32>(STACK, 0x1111);
    guest.put::<u32>(STACK + 4, 0x2222);
    guest.execute(&call(GATE | 3, 0));
    assert_eq!(guest.cpu.cpl, 0);
    assert_eq!(guest.cpu.rip, 0x2_1000);
    assert_eq!(guest.cpu.segs[CS].selector, CODE0);
    assert_eq!(guest.cpu.segs[SS].selector, DATA0);
    assert_eq!(guest.cpu.regs[RSP], STACK0 - 24);
    let frame: Vec<u32> = (0..6).map(|slot| guest.stacked(slot)).collect();
    assert_eq!(frame, [CODE as u32 + 7, CODE3.into(), 0x1111, 0x2222, STACK as u32, DATA3.into()]);
    // Back, releasing the parameters on both stacks; DS of level 0 would be lost.
    guest.cpu.segs[DS] = Segment::flat(DATA0, FLAT_DATA32 | 1);
    guest.execute(&[0xca, 8, 0]);
    assert_eq!((guest.cpu.cpl, guest.cpu.rip), (3, CODE + 7));
    assert_eq!(guest.cpu.regs[RSP], STACK + 8);
    assert_eq!(guest.cpu.segs[SS].selector, DATA3);
    assert!(guest.cpu.segs[DS].unusable());
    assert!(!guest.cpu.segs[ES].unusable());
}

#[test]
fn gates_are_refused_by_privilege_type_and_presence() {
    // (gate access, gate selector, level of the caller, fault)
    let table: &[(u32, u16, u8, (u64, u16))] = &[
        (0x8c, CODE0, 3, (GP, GATE)),  // DPL 0
        (0x6c, CODE0, 3, (NP, GATE)),  // not present
        (0xec, DATA0, 3, (GP, DATA0)), // not code
        (0xec, ABSENT_CODE, 3, (NP, ABSENT_CODE)),
        (0xec, CODE3, 0, (GP, CODE3 & !3)), // outwards
        (0xec, 0, 3, (GP, 0)),
        (0xec, BEYOND, 3, (GP, BEYOND)),
    ];
    for &(access, selector, cpl, (vector, code)) in table {
        let mut guest = Guest::protected(cpl);
        guest.put(GDT + u64::from(GATE), gate(selector, 0x2_1000, access));
        let fault = guest.fault_of(&call(GATE, 0));
        assert_eq!(fault, Some((vector, code.into())), "{access:#x} {selector:#x} from {cpl}");
    }
}

#[test]
fn a_new_stack_that_does_not_fit_is_an_invalid_tss_or_a_stack_fault() {
    // (SS0 in the TSS, fault)
    let table = [(0, (10, 0)), (DATA3, (10, 0x20)), (READ_ONLY, (10, 0x88)), (ABSENT_DATA, (12, 0x60))];
    for (selector, fault) in table {
        let mut guest = Guest::protected(3);
        guest.put(GDT + u64::from(GATE), gate(CODE0, 0x2_1000, 0xec));
        // Faults go to level 3, so that their delivery needs no stack of level 0.
        for vector in [10, 12, 13] {
            guest.put(IDT + 8 * vector, gate(CODE3, (HANDLERS + 16 * vector) as u32, 0x8e));
        }
        guest.put(TSS + 8, selector);
        assert_eq!(guest.fault_of(&call(GATE | 3, 0)), Some(fault), "SS0 {selector:#x}");
        assert_eq!(guest.cpu.cpl, 3);
    }
}

#[test]
fn a_task_gate_is_a_named_exit() {
    let mut guest = Guest::protected(0);
    guest.put(GDT + u64::from(GATE), gate(TSS_SELECTOR, 0, 0xe5));
    guest.code(&jmp(GATE, 0));
    assert!(matches!(guest.step(), Exit::Unsupported { .. }));
}

#[test]
fn a_64_bit_call_gate_pushes_wide_and_clears_ss() {
    let mut guest = Guest::long(3);
    guest.put(GDT + u64::from(GATE), gate(LONG0, 0x2_1000, 0xec));
    guest.put::<u64>(GDT + u64::from(GATE) + 8, 0);
    guest.put::<u32>(DATA, 0);
    guest.put::<u16>(DATA + 4, GATE | 3);
    guest.execute(&[0xff, 0x1c, 0x25, 0, 0, 3, 0]); // CALL FAR [DATA]
    assert_eq!((guest.cpu.cpl, guest.cpu.rip, guest.cpu.regs[RSP]), (0, 0x2_1000, STACK0 - 32));
    assert_eq!(guest.cpu.segs[SS].selector, 0);
    let frame: Vec<u64> = (0..4).map(|slot| guest.stacked(slot)).collect();
    assert_eq!(frame, [CODE + 7, LONG3.into(), STACK, DATA3.into()]);
    guest.execute(&[0x48, 0xcb]); // RETFQ
    assert_eq!((guest.cpu.cpl, guest.cpu.rip, guest.cpu.regs[RSP]), (3, CODE + 7, STACK));
    // An upper half with a type is no gate.
    let mut guest = Guest::long(0);
    guest.put(GDT + u64::from(GATE), gate(LONG0, 0x2_1000, 0xec));
    guest.put::<u64>(GDT + u64::from(GATE) + 8, 0x100 << 32);
    guest.put::<u16>(DATA + 4, GATE);
    assert_eq!(guest.fault_of(&[0xff, 0x1c, 0x25, 0, 0, 3, 0]), Some((GP, GATE.into())));
}

/// Puts an IRET frame of 32-bit values on the stack.
fn push_frame(guest: &mut Guest, values: &[u32]) {
    guest.cpu.regs[RSP] -= 4 * values.len() as u64;
    let at = guest.cpu.regs[RSP];
    for (slot, &value) in values.iter().enumerate() {
        guest.put(at + 4 * slot as u64, value);
    }
}

#[test]
fn iret_loads_the_flags_that_the_level_may_change() {
    let all = 0x003f_7fd5_u32 & !(VM as u32 | NT as u32);
    // (level, IOPL before, flags that must not change)
    let table =
        [(0, 0, 0), (3, 3, IOPL | rflags::VIF | rflags::VIP), (3, 0, IF | IOPL | rflags::VIF | rflags::VIP)];
    for (cpl, iopl, fixed) in table {
        let mut guest = Guest::protected(cpl);
        guest.cpu.load_rflags(iopl << rflags::IOPL_SHIFT);
        let before = guest.cpu.rflags();
        let (code, data) = (guest.cpu.segs[CS].selector, guest.cpu.segs[SS].selector);
        push_frame(&mut guest, &[0x2_1000, code.into(), all, STACK as u32, data.into()]);
        guest.execute(&[0xcf]);
        assert_eq!(guest.cpu.rip, 0x2_1000);
        let expected = (before & fixed) | (u64::from(all) & !fixed) | 2;
        assert_eq!(guest.cpu.rflags(), expected, "level {cpl}, IOPL {iopl}");
    }
}

#[test]
fn iret_to_an_outer_level_drops_inner_segments() {
    let mut guest = Guest::protected(0);
    push_frame(&mut guest, &[0x2_1000, CODE3.into(), IF as u32, 0x4_4000, DATA3.into()]);
    guest.execute(&[0xcf]);
    assert_eq!((guest.cpu.cpl, guest.cpu.rip, guest.cpu.regs[RSP]), (3, 0x2_1000, 0x4_4000));
    assert!(guest.cpu.segs[DS].unusable());
    assert_eq!(guest.cpu.rflags(), IF | 2);
}

#[test]
fn iret_refuses_what_it_must() {
    let table: &[(u8, &[u32], (u64, u32))] = &[
        (3, &[0x2_1000, CODE0 as u32, 2], (GP, CODE0 as u32)),
        (0, &[0x2_1000, 0, 2], (GP, 0)),
        (0, &[0x2_1000, DATA0 as u32, 2], (GP, DATA0 as u32)),
        (0, &[0x2_1000, ABSENT_CODE as u32, 2], (NP, ABSENT_CODE as u32)),
        (0, &[0x1_0000, CODE16 as u32, 2], (GP, 0)),
        (0, &[0x2_1000, CODE3 as u32, 2, STACK as u32, DATA0 as u32], (GP, DATA0 as u32)),
        (0, &[0x2_1000, CODE3 as u32, 2, STACK as u32, 0], (GP, 0)),
    ];
    for &(cpl, frame, fault) in table {
        let mut guest = Guest::protected(cpl);
        push_frame(&mut guest, frame);
        assert_eq!(guest.fault_of(&[0xcf]), Some(fault), "{frame:x?} at level {cpl}");
    }
    let mut guest = Guest::protected(0);
    guest.cpu.load_rflags(NT);
    guest.code(&[0xcf]);
    assert!(matches!(guest.step(), Exit::Unsupported { .. }));
    let mut guest = Guest::long(0);
    guest.cpu.load_rflags(NT);
    assert_eq!(guest.fault_of(&[0x48, 0xcf]), Some((GP, 0)));
}

#[test]
fn iret_enters_and_leaves_virtual_8086_mode() {
    let mut guest = Guest::protected(0);
    let flags = (VM | IF | IOPL) as u32;
    push_frame(&mut guest, &[0x10, 0x2000, flags, 0x8000, 0x4000, 1, 2, 3, 4]);
    guest.execute(&[0xcf]);
    assert!(guest.cpu.v86());
    assert_eq!((guest.cpu.cpl, guest.cpu.rip), (3, 0x10));
    assert_eq!(guest.cpu.segs[CS].base, 0x2_0000);
    assert_eq!(guest.cpu.segs[ES].base, 0x10);
    assert_eq!(guest.cpu.segs[SS].access, 0xf3);
    // An IRET inside, with IOPL 3, keeps VM and IOPL.
    guest.put::<u16>(0x4_8000, 0x20);
    guest.put::<u16>(0x4_8002, 0x2100);
    guest.put::<u16>(0x4_8004, (CF | ZF) as u16);
    guest.execute(&[0xcf]);
    assert_eq!((guest.cpu.rip, guest.cpu.segs[CS].base), (0x20, 0x2_1000));
    assert_eq!(guest.cpu.rflags(), VM | IOPL | CF | ZF | 2);
    // An interrupt leaves it.
    guest.cpu.load_rflags(VM | IF | IOPL);
    guest.cpu.interrupt(&guest.mem, 0x30).expect("delivered");
    assert_eq!(guest.vector(), Some(0x30));
    assert_eq!((guest.cpu.cpl, guest.cpu.v86()), (0, false));
    let frame: Vec<u32> = (0..9).map(|slot| guest.stacked(slot)).collect();
    assert_eq!(frame, [0x20, 0x2100, flags | 2, 0x8006, 0x4000, 1, 2, 3, 4]);
    assert!(guest.cpu.segs[ES].unusable());
}

#[test]
fn iretq_always_pops_the_stack_and_can_go_to_compatibility_mode() {
    let mut guest = Guest::long(0);
    let frame = [0x2_1000, u64::from(LONG0), TF | RF, 0x4_4008, 0];
    for (slot, value) in frame.into_iter().enumerate() {
        guest.put(STACK + 8 * slot as u64, value);
    }
    guest.cpu.nmi_blocked = true;
    guest.execute(&[0x48, 0xcf]);
    assert_eq!((guest.cpu.rip, guest.cpu.regs[RSP]), (0x2_1000, 0x4_4008));
    assert!(guest.cpu.segs[SS].unusable());
    assert!(!guest.cpu.nmi_blocked);
    assert_eq!(guest.cpu.rflags(), TF | RF | 2);

    let mut guest = Guest::long(0);
    let frame = [0xdead_0002_1000, u64::from(CODE3), IF, 0x4_4000, u64::from(DATA3)];
    for (slot, value) in frame.into_iter().enumerate() {
        guest.put(STACK + 8 * slot as u64, value);
    }
    assert_eq!(guest.fault_of(&[0x48, 0xcf]), Some((GP, 0)), "offset beyond 4 GiB");
    let mut guest = Guest::long(0);
    let frame = [0x2_1000, u64::from(CODE3), IF, 0x4_4000, u64::from(DATA3)];
    for (slot, value) in frame.into_iter().enumerate() {
        guest.put(STACK + 8 * slot as u64, value);
    }
    guest.execute(&[0x48, 0xcf]);
    assert_eq!((guest.cpu.cpl, guest.cpu.mode.bits()), (3, 32));
    guest.execute(&[0xb8, 1, 2, 3, 4]); // MOV EAX, imm32
    assert_eq!(guest.cpu.regs[RAX], 0x0403_0201);
}
