//! Software and external interrupts, NMI, virtual-8086 extensions.

use x86_defs::control::{CR4_PVI, CR4_VME};
use x86_defs::gpr::RSP;
use x86_defs::rflags::{CF, IF, IOPL, OF, RF, TF, VIF, VIP, VM};
use x86_defs::segment::index::CS;

use super::*;

#[test]
fn int_n_needs_a_gate_whose_dpl_allows_it() {
    let idt = (0x80 << 3) | 2;
    // (gate rights, level, what is entered and the error code)
    let table = [(0x8e, 0, (0x80, 0)), (0x8e, 3, (13, idt)), (0xee, 3, (0x80, 0)), (0x6e, 3, (11, idt))];
    for (access, cpl, expected) in table {
        let mut guest = Guest::protected(cpl);
        guest.put(IDT + 8 * 0x80, gate(CODE0, (HANDLERS + 16 * 0x80) as u32, access));
        assert_eq!(guest.fault_of(&[0xcd, 0x80]), Some(expected), "{access:#x} from level {cpl}");
        let slot = u64::from(expected.0 != 0x80);
        let at = CODE as u32 + if expected.0 == 0x80 { 2 } else { 0 };
        assert_eq!(guest.stacked::<u32>(slot), at);
        assert_eq!(guest.stacked::<u32>(slot + 2) & RF as u32 != 0, expected.0 != 0x80);
    }
}

#[test]
fn int3_into_and_int1_are_traps() {
    let mut guest = Guest::protected(3);
    guest.put(IDT + 8 * 3, gate(CODE0, (HANDLERS + 16 * 3) as u32, 0xee));
    assert_eq!(guest.fault_of(&[0xcc]), Some((3, 0)));
    assert_eq!(guest.stacked::<u32>(0), CODE as u32 + 1);
    let mut guest = Guest::protected(0);
    guest.execute(&[0xce]);
    assert_eq!(guest.cpu.rip, CODE + 1);
    guest.cpu.load_rflags(OF);
    assert_eq!(guest.fault_of(&[0xce]), Some((4, 0)));
    assert_eq!(guest.stacked::<u32>(0), CODE as u32 + 2);
    // INT1 asks no gate for its DPL.
    let mut guest = Guest::protected(3);
    assert_eq!(guest.fault_of(&[0xf1]), Some((1, 0)));
    assert_eq!(guest.stacked::<u32>(0), CODE as u32 + 1);
    assert_eq!(guest.cpu.dr6, x86_defs::control::DR6_FIXED_1);
}

#[test]
fn real_mode_int_n() {
    let mut guest = Guest::real();
    guest.cpu.load_rflags(IF | CF);
    guest.execute(&[0xcd, 0x10]);
    assert_eq!(guest.vector(), Some(0x10));
    let frame: Vec<u16> = (0..3).map(|slot| guest.stacked(slot)).collect();
    assert_eq!(frame, [2, (CODE >> 4) as u16, (IF | CF | 2) as u16]);
    assert_eq!(guest.cpu.rflags(), CF | 2);
    // IRET goes back.
    guest.execute(&[0xcf]);
    assert_eq!((guest.cpu.rip, guest.cpu.segs[CS].base), (2, CODE));
    assert_eq!(guest.cpu.rflags(), IF | CF | 2);
}

#[test]
fn an_interrupt_counts_as_one_instruction_and_has_no_rf() {
    let mut guest = Guest::long(3);
    guest.cpu.load_rflags(IF);
    guest.cpu.interrupt(&guest.mem, 0x55).expect("delivered");
    assert_eq!((guest.vector(), guest.cpu.retired()), (Some(0x55), 1));
    assert_eq!(guest.stacked::<u64>(2), IF | 2);
    assert_eq!(guest.cpu.rflags(), 2);
}

#[test]
fn an_interrupt_with_a_bad_gate_is_a_general_protection_fault_with_ext() {
    let mut guest = Guest::protected(0);
    guest.put(IDT + 8 * 0x55, 0_u64);
    guest.cpu.interrupt(&guest.mem, 0x55).expect("delivered");
    assert_eq!((guest.vector(), guest.stacked::<u32>(0)), (Some(13), (0x55 << 3) | 3));
}

#[test]
fn an_nmi_blocks_the_next_until_iret() {
    let mut guest = Guest::protected(0);
    guest.code(&[0x90]);
    guest.cpu.set_nmi_pending();
    // The delivery is the one instruction of the budget.
    assert_eq!(guest.step(), Exit::Budget);
    assert_eq!(guest.vector(), Some(2));
    assert!(guest.cpu.nmi_blocked && !guest.cpu.nmi_pending);
    guest.cpu.set_nmi_pending();
    guest.execute(&[0x90]);
    assert!(guest.cpu.nmi_pending, "blocked");
    guest.execute(&[0xcf]); // IRET
    assert_eq!(guest.cpu.rip, CODE);
    guest.step();
    assert_eq!(guest.vector(), Some(2));
}

#[test]
fn virtual_8086_mode_needs_iopl_3_for_int_n_and_not_for_int3() {
    let mut guest = Guest::v86(0);
    guest.execute(&[0xcd, 0x80]);
    assert_eq!((guest.vector(), guest.stacked::<u32>(0)), (Some(13), 0));
    let mut guest = Guest::v86(3);
    guest.put(IDT + 8 * 0x80, gate(CODE0, (HANDLERS + 16 * 0x80) as u32, 0xee));
    guest.execute(&[0xcd, 0x80]);
    assert_eq!((guest.vector(), guest.cpu.cpl), (Some(0x80), 0));
    let mut guest = Guest::v86(0);
    guest.put(IDT + 8 * 3, gate(CODE0, (HANDLERS + 16 * 3) as u32, 0xee));
    guest.execute(&[0xcc]);
    assert_eq!(guest.vector(), Some(3));
    // Out of virtual-8086 mode only to level 0.
    let mut guest = Guest::v86(3);
    guest.put(IDT + 8 * 0x80, gate(CODE1, (HANDLERS + 16 * 0x80) as u32, 0xee));
    guest.execute(&[0xcd, 0x80]);
    assert_eq!((guest.vector(), guest.stacked::<u32>(0)), (Some(13), u32::from(CODE1 & !3)));
}

/// Virtual-8086 mode with VME, the redirection bitmap of vector 0x21 as given, and its handler at 3000:0040.
fn extended(iopl: u64, redirected: bool) -> Guest {
    let mut guest = Guest::v86(iopl);
    guest.cpu.cr4 |= CR4_VME;
    guest.put::<u16>(TSS + 102, 0x88);
    guest.put::<u8>(TSS + 0x68 + 0x21 / 8, if redirected { 0 } else { 1 << (0x21 % 8) });
    guest.put::<u32>(4 * 0x21, 0x3000_0040);
    guest
}

#[test]
fn vme_redirects_to_the_program_itself() {
    let mut guest = extended(3, true);
    guest.cpu.load_rflags(VM | IF | IOPL | CF | TF);
    guest.execute(&[0xcd, 0x21]);
    assert_eq!((guest.cpu.rip, guest.cpu.segs[CS].base), (0x40, 0x3_0000));
    assert!(guest.cpu.v86());
    let frame: Vec<u16> = (0..3).map(|slot| guest.get(0x4_7ffa + 2 * slot)).collect();
    assert_eq!(frame, [2, 0x2000, (IF | IOPL | CF | TF | 2) as u16]);
    assert_eq!(guest.cpu.rflags(), VM | IOPL | CF | 2);

    // With IOPL 0, VIF stands for IF.
    let mut guest = extended(0, true);
    guest.cpu.load_rflags(VM | IF | VIF);
    guest.execute(&[0xcd, 0x21]);
    assert_eq!(guest.get::<u16>(0x4_7ffe), (IF | IOPL | 2) as u16);
    assert_eq!(guest.cpu.rflags(), VM | IF | 2);
    // IRET brings VIF back.
    guest.execute(&[0xcf]);
    assert_eq!((guest.cpu.rip, guest.cpu.rflags()), (2, VM | IF | VIF | 2));

    // A set bit means the IDT, which IOPL 0 may not use.
    let mut guest = extended(0, false);
    guest.execute(&[0xcd, 0x21]);
    assert_eq!(guest.vector(), Some(13));
}

#[test]
fn cli_and_sti_follow_iopl_and_the_virtual_flag() {
    // (v86, IOPL, CR4, instruction, flags before, flags after or none for #GP)
    let table: &[(bool, u64, u64, u8, u64, Option<u64>)] = &[
        (false, 3, 0, 0xfa, IF, Some(0)),
        (false, 0, 0, 0xfa, IF, None),
        (false, 0, CR4_PVI, 0xfa, IF | VIF, Some(IF)),
        (false, 0, CR4_PVI, 0xfb, IF, Some(IF | VIF)),
        (false, 0, CR4_PVI, 0xfb, IF | VIP, None),
        (true, 3, 0, 0xfa, IF, Some(0)),
        (true, 0, 0, 0xfa, IF, None),
        (true, 0, CR4_VME, 0xfa, IF | VIF, Some(IF)),
        (true, 0, CR4_VME, 0xfb, IF, Some(IF | VIF)),
        (true, 0, CR4_VME, 0xfb, IF | VIP, None),
    ];
    for &(v86, iopl, cr4, opcode, before, after) in table {
        let mut guest = if v86 { Guest::v86(iopl) } else { Guest::protected(3) };
        let fixed = iopl << rflags::IOPL_SHIFT | if v86 { VM } else { 0 };
        guest.cpu.cr4 |= cr4;
        guest.cpu.load_rflags(before | fixed);
        guest.execute(&[opcode]);
        let case = format!("v86 {v86}, IOPL {iopl}, CR4 {cr4:#x}, {opcode:#x} with {before:#x}");
        match after {
            Some(after) => assert_eq!(guest.cpu.rflags(), after | fixed | 2, "{case}"),
            None => assert_eq!(guest.vector(), Some(13), "{case}"),
        }
    }
}

#[test]
fn pushf_and_popf_in_each_mode() {
    // PUSHFD hides VM and RF; at level 0 POPFD changes everything but VM, VIF, VIP, RF.
    let mut guest = Guest::protected(0);
    guest.cpu.load_rflags(RF | IF | CF);
    guest.execute(&[0x9c]);
    assert_eq!(guest.stacked::<u32>(0), (IF | CF | 2) as u32);
    guest.put::<u32>(guest.cpu.regs[RSP], 0xffff_ffff);
    guest.execute(&[0x9d]);
    let changed = rflags::DEFINED & !(VM | RF | VIF | VIP);
    assert_eq!(guest.cpu.rflags(), changed | 2);
    // At level 3 with IOPL 0 neither IF nor IOPL moves.
    let mut guest = Guest::protected(3);
    guest.put::<u32>(STACK, 0xffff_ffff);
    guest.execute(&[0x9d]);
    assert_eq!(guest.cpu.rflags(), (changed & !(IF | IOPL)) | 2);
    // With VME, 16-bit POPF moves VIF; TF or a pending virtual interrupt fault.
    for (popped, flags, expected) in [(IF, 0, Some(VIF)), (CF, VIF, Some(CF)), (TF, 0, None), (IF, VIP, None)]
    {
        let mut guest = Guest::v86(0);
        guest.cpu.cr4 |= CR4_VME;
        guest.cpu.load_rflags(VM | IF | flags);
        guest.put::<u16>(0x4_8000, popped as u16);
        guest.execute(&[0x9d]);
        match expected {
            Some(expected) => assert_eq!(guest.cpu.rflags(), VM | IF | expected | 2, "{popped:#x}"),
            None => assert_eq!(guest.vector(), Some(13), "{popped:#x}"),
        }
    }
    // Without VME, and with 32 bits in any case, IOPL 0 faults.
    for bytes in [&[0x9c][..], &[0x9d], &[0x66, 0x9c]] {
        let mut guest = Guest::v86(0);
        guest.cpu.cr4 |= if bytes.len() == 2 { CR4_VME } else { 0 };
        guest.execute(bytes);
        assert_eq!(guest.vector(), Some(13), "{bytes:02x?}");
    }
}
