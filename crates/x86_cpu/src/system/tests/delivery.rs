//! Exceptions: frames, error codes, double and triple faults.

use x86_defs::gpr::{RAX, RSP};
use x86_defs::rflags::{AC, CF, IF, NT, RF, TF};
use x86_defs::segment::index::{CS, SS};
use x86_defs::{Exception, Vector};

use super::*;

/// UD2.
const UD2: &[u8] = &[0x0f, 0x0b];

#[test]
fn a_fault_at_the_same_level_pushes_flags_cs_and_eip() {
    let mut guest = Guest::protected(0);
    guest.cpu.load_rflags(IF | TF | NT | CF);
    let before = guest.cpu.rflags();
    assert_eq!(guest.fault_of(UD2), Some((6, 0)));
    assert_eq!(guest.cpu.regs[RSP], STACK - 12);
    let frame: Vec<u32> = (0..3).map(|slot| guest.stacked(slot)).collect();
    assert_eq!(frame, [CODE as u32, CODE0.into(), (before | RF) as u32]);
    assert_eq!(guest.cpu.rflags(), CF | 2);
    assert_eq!(guest.cpu.retired(), 1);
}

#[test]
fn a_trap_gate_leaves_interrupts_on() {
    let mut guest = Guest::protected(0);
    guest.put(IDT + 8 * 6, gate(CODE0, (HANDLERS + 16 * 6) as u32, 0x8f));
    guest.cpu.load_rflags(IF);
    assert_eq!(guest.fault_of(UD2), Some((6, 0)));
    assert_eq!(guest.cpu.rflags(), IF | 2);
}

#[test]
fn a_fault_of_level_3_switches_to_the_stack_of_the_tss() {
    let mut guest = Guest::protected(3);
    assert_eq!(guest.fault_of(UD2), Some((6, 0)));
    assert_eq!((guest.cpu.cpl, guest.cpu.regs[RSP]), (0, STACK0 - 20));
    assert_eq!(guest.cpu.segs[SS].selector, DATA0);
    let frame: Vec<u32> = (0..5).map(|slot| guest.stacked(slot)).collect();
    assert_eq!(frame, [CODE as u32, CODE3.into(), RF as u32 | 2, STACK as u32, DATA3.into()]);
}

#[test]
fn sixteen_bit_gates_push_sixteen_bits() {
    let mut guest = Guest::protected(0);
    guest.put(IDT + 8 * 13, gate(CODE0, (HANDLERS + 16 * 13) as u32 & 0xffff, 0x86));
    guest.put::<u8>((HANDLERS + 16 * 13) & 0xffff, 0xf4);
    guest.cpu.regs[RAX] = BEYOND.into();
    guest.execute(&[0x8e, 0xd8]);
    assert_eq!(guest.cpu.regs[RSP], STACK - 8);
    let frame: Vec<u16> = (0..3).map(|slot| guest.stacked(slot)).collect();
    assert_eq!(frame, [BEYOND, CODE as u16, CODE0]);
}

#[test]
fn long_mode_pushes_ss_rsp_always_and_aligns() {
    let mut guest = Guest::long(0);
    guest.cpu.regs[RSP] = STACK - 3;
    assert_eq!(guest.fault_of(UD2), Some((6, 0)));
    assert_eq!(guest.cpu.regs[RSP], STACK - 16 - 40);
    let frame: Vec<u64> = (0..5).map(|slot| guest.stacked(slot)).collect();
    assert_eq!(frame, [CODE, LONG0.into(), RF | 2, STACK - 3, DATA0.into()]);
    assert_eq!(guest.cpu.segs[SS].selector, DATA0, "SS stays at the same level");

    let mut guest = Guest::long(3);
    assert_eq!(guest.fault_of(UD2), Some((6, 0)));
    assert_eq!((guest.cpu.cpl, guest.cpu.regs[RSP]), (0, STACK0 - 40));
    assert!(guest.cpu.segs[SS].unusable());
    assert_eq!(guest.cpu.segs[SS].dpl(), 0);
}

#[test]
fn the_interrupt_stack_table_serves_any_level() {
    for cpl in [0, 3] {
        let mut guest = Guest::long(cpl);
        let handler = gate(LONG0, (HANDLERS + 16 * 6) as u32, 0x8e) | 1 << 32;
        guest.put(IDT + 16 * 6, handler);
        assert_eq!(guest.fault_of(UD2), Some((6, 0)), "level {cpl}");
        assert_eq!(guest.cpu.regs[RSP], IST1 - 40);
    }
}

#[test]
fn what_is_wrong_with_a_gate_decides_the_second_exception() {
    // (what stands in gate 6, the exception in its place and its error code)
    let idt = (6 << 3) | 2 | 1;
    let table: &[(u64, (u64, u32))] = &[
        (gate(CODE0, 0, 0x0e), (11, idt)),
        (gate(CODE0, 0, 0x82), (13, idt)),
        (gate(CODE0, 0, 0x9e), (13, idt)),
        (gate(0, 0, 0x8e), (13, 1)),
        (gate(BEYOND, 0, 0x8e), (13, u32::from(BEYOND) | 1)),
        (gate(DATA0, 0, 0x8e), (13, u32::from(DATA0) | 1)),
        (gate(CODE3, 0, 0x8e), (13, u32::from(CODE3 & !3) | 1)),
        (gate(ABSENT_CODE, 0, 0x8e), (11, u32::from(ABSENT_CODE) | 1)),
        (gate(CODE16, 0x1_0000, 0x8e), (13, 1)),
    ];
    for &(raw, expected) in table {
        let mut guest = Guest::protected(0);
        guest.put(IDT + 8 * 6, raw);
        assert_eq!(guest.fault_of(UD2), Some(expected), "gate {raw:#018x}");
    }
    // In IA-32e mode the handler has to be 64-bit code, and there are no 16-bit gates.
    for (raw, expected) in [
        (gate(CODE0, 0, 0x8e), (13, u32::from(CODE0) | 1)),
        (gate(LONG0, 0, 0x86), (13, idt)),
        (gate(LONG0, 0, 0x85), (13, idt)),
    ] {
        let mut guest = Guest::long(0);
        guest.put(IDT + 16 * 6, raw);
        assert_eq!(guest.fault_of(UD2), Some(expected), "gate {raw:#018x}");
    }
    // A gate beyond the limit.
    let mut guest = Guest::protected(0);
    guest.put(IDT + 8 * 13, gate(CODE0, (HANDLERS + 16 * 13) as u32, 0x8e));
    guest.cpu.idtr.limit = 13 * 8 + 7;
    guest.code(&[0xcd, 0x20]);
    assert_eq!(guest.step(), Exit::Budget);
    assert_eq!((guest.vector(), guest.stacked::<u32>(0)), (Some(13), (0x20 << 3) | 2));
}

#[test]
fn exceptions_combine_as_table_6_5_says() {
    // (first, gates that are not present, what is delivered in the end or none for shutdown)
    let table: &[(Vector, &[u64], Option<u64>)] = &[
        (Vector::UD, &[6], Some(11)), // benign, then contributory
        (Vector::GP, &[13], Some(8)), // contributory twice
        (Vector::DE, &[0], Some(8)),
        (Vector::PF, &[14], Some(8)), // page fault, then contributory
        (Vector::DF, &[8], None),     // in the double fault
        (Vector::GP, &[13, 8], None),
        (Vector::UD, &[6, 11], Some(8)),
        (Vector::UD, &[6, 11, 8], None),
        (Vector::DB, &[1], Some(11)),
        (Vector::AC, &[17], Some(11)),
    ];
    for &(first, absent, expected) in table {
        let mut guest = Guest::protected(0);
        for &vector in absent {
            guest.put(IDT + 8 * vector, gate(CODE0, 0, 0x0e));
        }
        let exception = Exception::new(first, 0);
        let result = guest.cpu.deliver_exception(&guest.mem, exception);
        match expected {
            Some(vector) => {
                assert_eq!(result, Ok(()), "{first:?} with {absent:?}");
                assert_eq!(guest.vector(), Some(vector), "{first:?} with {absent:?}");
            }
            None => assert_eq!(result, Err(Exit::Shutdown), "{first:?} with {absent:?}"),
        }
    }
}

#[test]
fn a_page_fault_in_the_delivery_of_a_page_fault_is_a_double_fault() {
    let mut guest = Guest::long(3);
    // The stack of level 0 is not mapped.
    guest.put(TSS + 4, 0x7fff_f000_0000_u64);
    guest.put(IDT + 16 * 8, gate(LONG0, (HANDLERS + 16 * 8) as u32, 0x8e) | 1 << 32);
    guest.code(&[0x48, 0xa1, 0, 0, 0, 0, 1, 0, 0, 0]); // MOV RAX, [0x1_0000_0000]
    assert_eq!(guest.step(), Exit::Budget);
    assert_eq!(guest.vector(), Some(8));
    assert_eq!(guest.stacked::<u64>(0), 0);
    assert_eq!(guest.cpu.cr2, 0x7fff_efff_fff8, "CR2 is of the second fault");
    // The same without the IST entry ends the processor.
    let mut guest = Guest::long(3);
    guest.put(TSS + 4, 0x7fff_f000_0000_u64);
    guest.code(&[0x48, 0xa1, 0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(guest.step(), Exit::Shutdown);
}

#[test]
fn page_faults_bring_cr2_and_their_error_code() {
    let mut guest = Guest::long(3);
    assert_eq!(guest.fault_of(&[0x48, 0xa3, 0xf8, 0, 0, 0, 1, 0, 0, 0]), Some((14, 6)));
    assert_eq!(guest.cpu.cr2, 0x1_0000_00f8);
    assert_eq!(guest.stacked::<u64>(1), CODE);
}

#[test]
fn a_stack_pointer_that_is_not_canonical_is_a_stack_fault() {
    let mut guest = Guest::long(0);
    guest.cpu.regs[RSP] = 0x8000_0000_1000;
    guest.put(IDT + 16 * 12, gate(LONG0, (HANDLERS + 16 * 12) as u32, 0x8e) | 1 << 32);
    assert_eq!(guest.fault_of(&[0x50]), Some((12, 0))); // PUSH RAX
    assert_eq!(guest.cpu.regs[RSP], IST1 - 48);
    assert_eq!(guest.stacked::<u64>(4), 0x8000_0000_1000);
}

#[test]
fn real_mode_delivers_through_the_vector_table() {
    let mut guest = Guest::real();
    guest.cpu.load_rflags(IF | TF | AC | CF);
    guest.cpu.deliver_exception(&guest.mem, Exception::new(Vector::GP, 0x1234)).expect("delivered");
    assert_eq!(guest.vector(), Some(13));
    assert_eq!(guest.cpu.regs[RSP], 0x8000 - 6);
    let frame: Vec<u16> = (0..3).map(|slot| guest.stacked(slot)).collect();
    assert_eq!(frame, [0, (CODE >> 4) as u16, (IF | TF | CF | 2) as u16]);
    assert_eq!(guest.cpu.rflags(), CF | 2);
    assert_eq!(guest.cpu.segs[CS].selector, (HANDLERS >> 4) as u16 + 13);
    // A table that is too short: double fault, then shutdown.
    let mut guest = Guest::real();
    guest.cpu.idtr.limit = 0;
    assert_eq!(guest.cpu.deliver_exception(&guest.mem, Exception::new(Vector::GP, 0)), Err(Exit::Shutdown));
}

#[test]
fn tables_outside_memory_end_in_an_exit_and_no_panic() {
    for base in [0xfee0_0000_u64, 0xffff_ffff_ffff_fff8, 0x10_0000] {
        let mut guest = Guest::long(0);
        guest.put::<u64>(PDPT + 8 * 3, 0xc000_0083);
        guest.cpu.idtr.base = base;
        guest.code(UD2);
        assert!(
            matches!(guest.step(), Exit::Shutdown | Exit::Unsupported { .. }),
            "interrupt table at {base:#x}"
        );
    }
}
