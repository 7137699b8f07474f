//! Control registers: what they refuse and what changes with them.

use x86_defs::control::{
    CR0_CD, CR0_DEFINED, CR0_EM, CR0_MP, CR0_NW, CR0_TS, CR0_WP, CR4_FSGSBASE, CR4_LA57, CR4_OSXSAVE,
    CR4_PCIDE, CR4_PGE, CR4_UMIP, CR4_VMXE, EFER_NXE,
};
use x86_defs::gpr::{RAX, RBX, RCX, RDX};
use x86_defs::segment::AR_L;
use x86_defs::segment::index::CS;

use super::*;

const GP: Option<(u64, u32)> = Some((13, 0));
const UD: Option<(u64, u32)> = Some((6, 0));

/// MOV CRn, RAX and MOV RAX, CRn.
fn to_control(number: u8) -> Vec<u8> {
    vec![0x0f, 0x22, 0xc0 | number << 3]
}
fn from_control(number: u8) -> Vec<u8> {
    vec![0x0f, 0x20, 0xc0 | number << 3]
}

#[test]
fn cr0_refuses_impossible_combinations() {
    let now = CR0_PE | CR0_PG | CR0_ET | CR0_NE;
    let table = [
        (now | CR0_WP, None),
        (now | CR0_TS | CR0_MP | CR0_EM, None),
        (now | CR0_CD | CR0_NW, None),
        (now | CR0_NW, GP),
        (now & !CR0_PE, GP),
        (now & !CR0_PG, GP), // in 64-bit mode
        (now | 1 << 32, GP),
        (now | 1 << 7, None), // a reserved bit of the lower half is ignored
        (now & !CR0_ET, None),
    ];
    for (value, fault) in table {
        let mut guest = Guest::long(0);
        guest.cpu.regs[RAX] = value;
        assert_eq!(guest.fault_of(&to_control(0)), fault, "{value:#x}");
        let expected = if fault.is_none() { (value | CR0_ET) & CR0_DEFINED } else { now };
        assert_eq!(guest.cpu.cr0, expected, "{value:#x}");
    }
    assert_eq!(Guest::long(3).fault_of(&to_control(0)), GP);
    assert_eq!(Guest::long(3).fault_of(&from_control(0)), GP);
}

#[test]
fn long_mode_is_entered_and_left_with_paging() {
    let mut guest = Guest::protected(0);
    guest.put::<u64>(PML4, PDPT | 7);
    guest.put::<u64>(PDPT, 0x87);
    guest.cpu.cr3 = PML4;
    guest.cpu.efer = EFER_LME;
    guest.cpu.regs[RAX] = guest.cpu.cr0 | CR0_PG;
    // Without PAE.
    assert_eq!(guest.fault_of(&to_control(0)), GP);
    let mut guest = Guest::protected(0);
    guest.put::<u64>(PML4, PDPT | 7);
    guest.put::<u64>(PDPT, 0x87);
    guest.cpu.cr3 = PML4;
    guest.cpu.cr4 = CR4_PAE;
    guest.cpu.efer = EFER_LME;
    guest.cpu.regs[RAX] = guest.cpu.cr0 | CR0_PG;
    guest.cpu.segs[CS].access |= AR_L;
    assert_eq!(guest.fault_of(&to_control(0)), GP, "CS.L is set");
    let mut guest = Guest::protected(0);
    guest.put::<u64>(PML4, PDPT | 7);
    guest.put::<u64>(PDPT, 0x87);
    guest.cpu.cr3 = PML4;
    guest.cpu.cr4 = CR4_PAE;
    guest.cpu.efer = EFER_LME;
    guest.cpu.regs[RAX] = guest.cpu.cr0 | CR0_PG;
    guest.execute(&to_control(0));
    assert_eq!(guest.cpu.efer, EFER_LME | EFER_LMA);
    assert_eq!(guest.cpu.mode.bits(), 32, "compatibility mode until CS is loaded");
    // PAE cannot go while it is active.
    guest.cpu.regs[RAX] = 0;
    let mut leaving = guest.cpu.cr0 & !CR0_PG;
    guest.code(&to_control(4));
    guest.step();
    assert_eq!(guest.cpu.cr4, CR4_PAE);
    let mut guest = Guest::long(0);
    leaving |= guest.cpu.cr0 & !CR0_PG;
    guest.cpu.segs[CS].access = FLAT_CODE32 | 1;
    guest.cpu.mode_changed();
    guest.cpu.regs[RAX] = leaving;
    guest.execute(&to_control(0));
    assert_eq!(guest.cpu.efer & (EFER_LME | EFER_LMA), EFER_LME);
}

#[test]
fn pae_paging_loads_its_pointers_and_checks_them() {
    for (entry, fault) in [(0x4001_u64, None), (0, None), (0x4003, GP), (0x4001 | 1 << 46, GP)] {
        let mut guest = Guest::protected(0);
        guest.cpu.cr4 = CR4_PAE;
        guest.cpu.cr3 = 0x1000;
        // The first entry maps the low gigabyte: 2 MiB pages in 0x4000.
        guest.put::<u64>(0x1000, 0x4001);
        guest.put::<u64>(0x1008, entry);
        guest.put::<u64>(0x4000, 0x83);
        guest.cpu.regs[RAX] = guest.cpu.cr0 | CR0_PG;
        assert_eq!(guest.fault_of(&to_control(0)), fault, "PDPTE {entry:#x}");
        if fault.is_none() {
            assert_eq!(guest.cpu.pdptes[..2], [0x4001, entry]);
            // A change in memory shows with the next MOV to CR3.
            guest.put::<u64>(0x1010, 0x4001);
            assert_eq!(guest.cpu.pdptes[2], 0);
            guest.cpu.regs[RAX] = 0x1000;
            guest.execute(&to_control(3));
            assert_eq!(guest.cpu.pdptes[2], 0x4001);
        }
    }
}

#[test]
fn cr3_and_cr4_refuse_what_does_not_exist() {
    let table = [
        (3, PML4, None),
        (3, PML4 | 0x18, None),
        (3, PML4 | 1 << 46, GP),
        (3, PML4 | 1 << 63, GP),
        (4, CR4_PAE | CR4_PGE | CR4_FSGSBASE, None),
        (4, CR4_PAE | CR4_PCIDE, None),
        (4, CR4_PAE | CR4_VMXE, GP),
        (4, CR4_PAE | CR4_LA57, GP),
        (4, CR4_PAE | 1 << 32, GP),
        (4, 0, GP),
        (8, 16, GP),
    ];
    for (number, value, fault) in table {
        let mut guest = Guest::long(0);
        guest.cpu.regs[RAX] = value;
        let bytes = if number == 8 { vec![0x44, 0x0f, 0x22, 0xc0] } else { to_control(number) };
        assert_eq!(guest.fault_of(&bytes), fault, "CR{number} = {value:#x}");
    }
    // PCIDE needs a PCID of 0, and with it bit 63 of CR3 is a command.
    let mut guest = Guest::long(0);
    guest.cpu.cr3 |= 0x18;
    guest.cpu.regs[RAX] = CR4_PAE | CR4_PCIDE;
    assert_eq!(guest.fault_of(&to_control(4)), GP);
    let mut guest = Guest::long(0);
    guest.cpu.cr4 |= CR4_PCIDE;
    guest.cpu.mode_changed();
    guest.cpu.regs[RAX] = PML4 | 5 | 1 << 63;
    guest.execute(&to_control(3));
    assert_eq!(guest.cpu.cr3, PML4 | 5);
    // It cannot be set outside IA-32e mode.
    let mut guest = Guest::protected(0);
    guest.cpu.regs[RAX] = CR4_PCIDE;
    assert_eq!(guest.fault_of(&to_control(4)), GP);
}

#[test]
fn control_registers_that_do_not_exist_are_undefined() {
    for number in [1, 5, 6, 7] {
        assert_eq!(Guest::long(0).fault_of(&to_control(number)), UD, "CR{number}");
        assert_eq!(Guest::long(0).fault_of(&from_control(number)), UD, "CR{number}");
    }
}

#[test]
fn cr8_is_l0s() {
    let mut guest = Guest::long(0);
    guest.cpu.regs[RAX] = 9;
    guest.code(&[0x44, 0x0f, 0x22, 0xc0]); // MOV CR8, RAX
    assert_eq!(guest.step(), Exit::Cr8Write { value: 9 });
    assert_eq!(guest.cpu.rip, CODE + 4);
    guest.code(&[0x44, 0x0f, 0x20, 0xc3]); // MOV RBX, CR8
    assert_eq!(guest.step(), Exit::Cr8Read);
    guest.cpu.answer(Exit::Cr8Read, crate::event::Answer::Value(9));
    assert_eq!(guest.step(), Exit::Budget);
    assert_eq!((guest.cpu.regs[RBX], guest.cpu.rip), (9, CODE + 8));
}

#[test]
fn lmsw_smsw_and_clts() {
    let mut guest = Guest::protected(0);
    guest.cpu.regs[RAX] = 0xffff & !1;
    guest.execute(&[0x0f, 0x01, 0xf0]); // LMSW AX
    assert_eq!(guest.cpu.cr0, CR0_PE | CR0_ET | CR0_NE | CR0_MP | CR0_EM | CR0_TS);
    guest.execute(&[0x0f, 0x01, 0xe0]); // SMSW EAX
    assert_eq!(guest.cpu.regs[RAX], guest.cpu.cr0);
    guest.execute(&[0x0f, 0x06]); // CLTS
    assert_eq!(guest.cpu.cr0 & CR0_TS, 0);
    for bytes in [&[0x0f, 0x01, 0xf0][..], &[0x0f, 0x06]] {
        assert_eq!(Guest::protected(3).fault_of(bytes), GP, "{bytes:02x?}");
    }
    // LMSW in real mode enters protected mode.
    let mut guest = Guest::real();
    guest.cpu.regs[RAX] = 1;
    guest.execute(&[0x0f, 0x01, 0xf0]);
    assert!(guest.cpu.protected());
    let mut guest = Guest::protected(3);
    guest.cpu.cr4 |= CR4_UMIP;
    assert_eq!(guest.fault_of(&[0x0f, 0x01, 0xe0]), GP);
}

#[test]
fn xcr0_needs_x87_and_knows_sse() {
    let table =
        [(0, 0, 3, None), (0, 0, 1, None), (0, 0, 2, GP), (0, 0, 7, GP), (1, 0, 1, GP), (0, 1, 1, GP)];
    for (ecx, edx, eax, fault) in table {
        let mut guest = Guest::long(0);
        guest.cpu.cr4 |= CR4_OSXSAVE;
        (guest.cpu.regs[RCX], guest.cpu.regs[RDX], guest.cpu.regs[RAX]) = (ecx, edx, eax);
        assert_eq!(guest.fault_of(&[0x0f, 0x01, 0xd1]), fault, "XSETBV {ecx} {edx}:{eax}");
        if fault.is_none() {
            assert_eq!(guest.cpu.xcr0, eax);
            guest.execute(&[0x0f, 0x01, 0xd0]); // XGETBV
            assert_eq!(guest.cpu.regs[RAX], eax);
        }
    }
    assert_eq!(Guest::long(0).fault_of(&[0x0f, 0x01, 0xd1]), UD, "without CR4.OSXSAVE");
    let mut guest = Guest::long(3);
    guest.cpu.cr4 |= CR4_OSXSAVE;
    (guest.cpu.regs[RCX], guest.cpu.regs[RAX]) = (0, 1);
    assert_eq!(guest.fault_of(&[0x0f, 0x01, 0xd1]), GP);
}

#[test]
fn invpcid_checks_its_descriptor() {
    // (type, PCID and reserved bits, linear address, CR4.PCIDE, fault)
    let table = [
        (0, 5, 0x1000, true, None),
        (0, 5, 0x1000, false, GP),
        (0, 0, 0x1000, false, None),
        (0, 5, 0x8000_0000_0000, true, GP),
        (1, 5, 0x8000_0000_0000, true, None),
        (1, 1 << 12, 0, true, GP),
        (2, 0, 0, true, None),
        (2, 1 << 12, 0, true, GP),
        (3, 7, 0, false, None),
        (4, 0, 0, true, GP),
    ];
    for (kind, low, linear, pcide, fault) in table {
        let mut guest = Guest::long(0);
        if pcide {
            guest.cpu.cr4 |= CR4_PCIDE;
            guest.cpu.mode_changed();
        }
        guest.cpu.regs[RBX] = DATA;
        guest.cpu.regs[RAX] = kind;
        guest.put::<u64>(DATA, low);
        guest.put::<u64>(DATA + 8, linear);
        // INVPCID RAX, [RBX]
        assert_eq!(
            guest.fault_of(&[0x66, 0x0f, 0x38, 0x82, 0x03]),
            fault,
            "type {kind} {low:#x} {linear:#x}"
        );
    }
}

#[test]
fn invlpg_shows_a_changed_mapping() {
    let mut guest = Guest::long(0);
    guest.put::<u64>(PDPT + 8, 0x87); // 1 GiB at 0x4000_0000, the same frames
    guest.cpu.regs[RBX] = 0x4000_0000 + DATA;
    guest.put::<u64>(DATA, 0x1111);
    guest.execute(&[0x48, 0x8b, 0x03]); // MOV RAX, [RBX]
    assert_eq!(guest.cpu.regs[RAX], 0x1111);
    guest.put::<u64>(PDPT + 8, 0);
    guest.execute(&[0x48, 0x8b, 0x03]);
    assert_eq!(guest.vector(), None, "still cached");
    guest.execute(&[0x0f, 0x01, 0x3b]); // INVLPG [RBX]
    assert_eq!(guest.fault_of(&[0x48, 0x8b, 0x03]), Some((14, 0)));
    assert_eq!(Guest::long(3).fault_of(&[0x0f, 0x01, 0x3b]), GP);
}

#[test]
fn efer_and_star_are_written_by_wrmsr_and_unknown_registers_fault() {
    let mut guest = Guest::long(0);
    guest.cpu.regs[RCX] = x86_defs::msr::EFER.into();
    guest.cpu.regs[RAX] = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    guest.execute(&[0x0f, 0x30]);
    assert_eq!(guest.cpu.efer & EFER_NXE, EFER_NXE);
    guest.cpu.regs[RCX] = 0x4000_0000;
    assert_eq!(guest.fault_of(&[0x0f, 0x32]), GP);
    assert_eq!(Guest::long(3).fault_of(&[0x0f, 0x32]), GP);
    assert_eq!(Guest::long(3).fault_of(&[0x0f, 0x30]), GP);
    // A register of L0's.
    let mut guest = Guest::long(0);
    guest.cpu.regs[RCX] = 0x1b;
    guest.code(&[0x0f, 0x32]);
    assert_eq!(guest.step(), Exit::MsrRead { index: 0x1b });
    guest.cpu.answer(Exit::MsrRead { index: 0x1b }, crate::event::Answer::Value(0x1_fee0_0900));
    assert_eq!(guest.step(), Exit::Budget);
    assert_eq!((guest.cpu.regs[RAX], guest.cpu.regs[RDX]), (0xfee0_0900, 1));
    guest.code(&[0x0f, 0x30]);
    let exit = Exit::MsrWrite { index: 0x1b, value: 0x1_fee0_0900 };
    assert_eq!(guest.step(), exit);
    guest.cpu.answer(exit, crate::event::Answer::GeneralProtection);
    assert_eq!(guest.step(), Exit::Budget);
    assert_eq!(guest.vector(), Some(13));
}
