//! Single steps, breakpoints, shadows.

use x86_defs::control::{CR4_DE, DR6_BD, DR6_BS, DR6_FIXED_1, DR7_GD};
use x86_defs::gpr::{RAX, RSP};
use x86_defs::rflags::{IF, RF, TF};

use super::*;
use crate::event::InterruptShadow;

const NOP: &[u8] = &[0x90];

/// Runs until the handler of #DB, at most `most` steps; the pushed instruction pointer.
fn run_to_debug(guest: &mut Guest, most: u64) -> Option<u64> {
    for _ in 0..most {
        assert_eq!(guest.step(), Exit::Budget);
        if guest.vector() == Some(1) {
            return Some(if guest.cpu.mode.is_64() {
                guest.stacked(0)
            } else {
                guest.stacked::<u32>(0).into()
            });
        }
    }
    None
}

#[test]
fn a_single_step_traps_behind_each_instruction() {
    let mut guest = Guest::long(3);
    guest.code(&[0x90, 0x90, 0x90]);
    guest.cpu.load_rflags(TF);
    assert_eq!(run_to_debug(&mut guest, 2), Some(CODE + 1));
    assert_eq!(guest.cpu.dr6, DR6_FIXED_1 | DR6_BS);
    assert_eq!(guest.stacked::<u64>(2), TF | 2, "a trap pushes RF clear");
    assert_eq!(guest.cpu.rflags() & TF, 0);
}

#[test]
fn setting_tf_traps_behind_the_next_instruction_and_clearing_it_once_more() {
    let mut guest = Guest::protected(0);
    guest.put::<u32>(STACK, TF as u32);
    guest.code(&[0x9d, 0x90, 0x90]); // POPFD
    assert_eq!(run_to_debug(&mut guest, 3), Some(CODE + 2));
    let mut guest = Guest::protected(0);
    guest.cpu.load_rflags(TF);
    guest.put::<u32>(STACK, 0);
    guest.code(&[0x9d, 0x90]);
    assert_eq!(run_to_debug(&mut guest, 2), Some(CODE + 1));
}

#[test]
fn int_n_clears_tf_and_does_not_trap() {
    let mut guest = Guest::protected(0);
    guest.cpu.load_rflags(TF);
    guest.execute(&[0xcd, 0x80]);
    assert_eq!(guest.vector(), Some(0x80));
    assert_eq!(guest.cpu.debug_pending, 0);
    assert_eq!(guest.stacked::<u32>(2), (TF | 2) as u32);
}

#[test]
fn a_load_of_ss_holds_the_trap_back_for_one_instruction() {
    let mut guest = Guest::protected(0);
    guest.cpu.load_rflags(TF);
    guest.cpu.regs[RAX] = DATA0.into();
    guest.code(&[0x8e, 0xd0, 0x90, 0x90]); // MOV SS, AX
    assert_eq!(run_to_debug(&mut guest, 3), Some(CODE + 3));
}

#[test]
fn an_instruction_breakpoint_faults_once() {
    let mut guest = Guest::protected(0);
    guest.cpu.dr[2] = CODE;
    guest.cpu.dr7 |= 1 << 4;
    guest.cpu.mode_changed();
    guest.code(&[0x90, 0x90]);
    assert_eq!(run_to_debug(&mut guest, 1), Some(CODE));
    assert_eq!(guest.cpu.dr6, DR6_FIXED_1 | 4);
    assert_eq!(guest.stacked::<u32>(2), 2, "RF as it was");
    // The handler returns with RF set: the instruction runs, and RF is gone.
    let flags = guest.cpu.regs[RSP] + 8;
    guest.put::<u32>(flags, RF as u32);
    guest.execute(&[0xcf]);
    assert_eq!((guest.cpu.rip, guest.cpu.rflags() & RF), (CODE, RF));
    guest.step();
    assert_eq!((guest.cpu.rip, guest.cpu.rflags() & RF), (CODE + 1, 0));
}

#[test]
fn a_data_breakpoint_traps_behind_the_access() {
    for (kind, bytes, traps) in [
        (1_u64, &[0xa3, 4, 0, 3, 0][..], true), // MOV [DATA + 4], EAX, break on writes
        (1, &[0xa1, 4, 0, 3, 0][..], false),
        (3, &[0xa1, 4, 0, 3, 0][..], true),
        (3, &[0xa1, 8, 0, 3, 0][..], false),
    ] {
        let mut guest = Guest::protected(0);
        guest.cpu.dr[0] = DATA + 4;
        guest.cpu.dr7 |= 1 | kind << 16 | 3 << 18;
        guest.cpu.mode_changed();
        guest.code(bytes);
        let expected = traps.then_some(CODE + 5);
        assert_eq!(run_to_debug(&mut guest, 2), expected, "kind {kind}, {bytes:02x?}");
        if traps {
            assert_eq!(guest.cpu.dr6, DR6_FIXED_1 | 1);
        }
    }
}

#[test]
fn debug_registers_are_guarded_and_masked() {
    // MOV EAX, DR7 with general detect.
    let mut guest = Guest::protected(0);
    guest.cpu.dr7 |= DR7_GD;
    guest.execute(&[0x0f, 0x21, 0xf8]);
    assert_eq!((guest.vector(), guest.cpu.dr6 & DR6_BD), (Some(1), DR6_BD));
    assert_eq!(guest.cpu.dr7 & DR7_GD, 0);
    assert_eq!(guest.stacked::<u32>(0), CODE as u32);
    assert_eq!(Guest::protected(3).fault_of(&[0x0f, 0x21, 0xf8]), Some((13, 0)));
    // DR4 is DR6 unless CR4.DE is set.
    let mut guest = Guest::protected(0);
    guest.execute(&[0x0f, 0x21, 0xe0]);
    assert_eq!(guest.cpu.regs[RAX], DR6_FIXED_1);
    guest.cpu.cr4 |= CR4_DE;
    assert_eq!(guest.fault_of(&[0x0f, 0x21, 0xe0]), Some((6, 0)));
    // What is written and what reads back.
    for (number, read) in [(6, 0xffff_efff), (7, 0xffff_27ff)] {
        let mut guest = Guest::long(0);
        guest.cpu.regs[RAX] = 0xffff_ffff;
        guest.execute(&[0x0f, 0x23, 0xc0 | number << 3]);
        assert_eq!(if number == 6 { guest.cpu.dr6 } else { guest.cpu.dr7 }, read, "DR{number}");
    }
    let mut guest = Guest::long(0);
    guest.cpu.regs[RAX] = 1 << 32;
    assert_eq!(guest.fault_of(&[0x0f, 0x23, 0xf8]), Some((13, 0)));
}

#[test]
fn sti_delays_interrupts_by_one_instruction_only_if_they_were_off() {
    let mut guest = Guest::protected(0);
    guest.cpu.set_interrupt_line(true);
    guest.code(&[0xfb, 0x90, 0x90]);
    guest.step();
    assert_eq!(guest.cpu.shadow, InterruptShadow::Sti);
    assert_eq!(guest.step(), Exit::Budget);
    assert_eq!((guest.cpu.rip, guest.cpu.shadow), (CODE + 2, InterruptShadow::None));
    assert_eq!(guest.step(), Exit::InterruptWindow);
    let mut guest = Guest::protected(0);
    guest.cpu.load_rflags(IF);
    guest.execute(&[0xfb]);
    assert_eq!(guest.cpu.shadow, InterruptShadow::None);
}

#[test]
fn a_faulting_instruction_drops_its_step_and_pushes_rf() {
    let mut guest = Guest::protected(0);
    guest.cpu.load_rflags(TF);
    guest.execute(&[0x0f, 0x0b]);
    assert_eq!((guest.vector(), guest.cpu.debug_pending), (Some(6), 0));
    assert_eq!(guest.stacked::<u32>(2), (TF | RF | 2) as u32);
    guest.execute(NOP);
    assert_eq!(guest.vector(), Some(6), "still in the handler: {:#x}", guest.cpu.rip);
}

#[test]
fn an_interrupt_between_iterations_of_rep_resumes_with_rf() {
    let mut guest = Guest::long(0);
    guest.cpu.regs[x86_defs::gpr::RCX] = 0x3000;
    guest.cpu.regs[x86_defs::gpr::RDI] = 0x8_0000;
    guest.cpu.load_rflags(IF);
    guest.code(&[0xf3, 0xaa, 0x90]); // REP STOSB
    assert_eq!(guest.step(), Exit::Budget);
    assert_eq!(guest.cpu.rip, CODE);
    guest.cpu.interrupt(&guest.mem, 0x55).expect("delivered");
    assert_eq!(guest.stacked::<u64>(2), IF | RF | 2);
    guest.execute(&[0x48, 0xcf]); // IRETQ
    while guest.cpu.rip == CODE {
        guest.step();
    }
    assert_eq!((guest.cpu.rip, guest.cpu.rflags()), (CODE + 2, IF | 2));
}

#[test]
fn a_frame_pushed_onto_the_handler_is_what_runs() {
    let mut guest = Guest::long(0);
    // Decode the handler: NOPs, where the lowest value of a frame will lie.
    let handler = HANDLERS + 16 * 0x80 + 8;
    guest.put::<u64>(handler, 0x9090_9090_9090_9090);
    guest.put(IDT + 16 * 6, gate(LONG0, handler as u32, 0x8e));
    guest.cpu.rip = handler;
    guest.step();
    assert_eq!(guest.cpu.rip, handler + 1);
    // The low byte of the return address is a HLT.
    guest.cpu.rip = 0x2_10f4;
    guest.cpu.regs[RSP] = handler + 40;
    guest.code(&[0x0f, 0x0b]);
    assert_eq!(guest.cpu.run(&guest.mem, &mut guest.blocks, 2), Exit::Halt);
}

#[test]
fn an_io_breakpoint_traps_behind_the_access_with_cr4_de() {
    for (de, port, traps) in
        [(true, 0x3f8_u64, true), (true, 0x3fa, true), (true, 0x3fc, false), (false, 0x3f8, false)]
    {
        let mut guest = Guest::protected(0);
        if de {
            guest.cpu.cr4 |= CR4_DE;
        }
        guest.cpu.dr[1] = 0x3f8;
        guest.cpu.dr7 |= 1 << 2 | 0b1110 << 20; // four ports, I/O
        guest.cpu.mode_changed();
        guest.cpu.regs[x86_defs::gpr::RDX] = port;
        guest.code(&[0xee, 0x90]);
        assert!(matches!(guest.step(), Exit::IoWrite { .. }));
        let expected = traps.then_some(CODE + 1);
        assert_eq!(run_to_debug(&mut guest, 1), expected, "DE {de}, port {port:#x}");
        if traps {
            assert_eq!(guest.cpu.dr6, DR6_FIXED_1 | 2);
        }
    }
}
