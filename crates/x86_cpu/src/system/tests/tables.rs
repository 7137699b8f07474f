//! Descriptor tables, the task register, and questions about selectors.

use x86_defs::control::CR4_UMIP;
use x86_defs::gpr::{RAX, RBX};
use x86_defs::rflags::ZF;
use x86_defs::segment::TableRegister;

use super::*;

const GP: Option<(u64, u32)> = Some((13, 0));
const UD: Option<(u64, u32)> = Some((6, 0));

#[test]
fn lgdt_and_lidt_take_the_width_of_the_mode() {
    let mut guest = Guest::protected(0);
    guest.put::<u16>(DATA, 0x1234);
    guest.put::<u64>(DATA + 2, 0xffff_8000_dead_beef);
    guest.execute(&[0x0f, 0x01, 0x15, 0, 0, 3, 0]); // LGDT [DATA]
    assert_eq!(guest.cpu.gdtr, TableRegister { base: 0xdead_beef, limit: 0x1234 });
    guest.execute(&[0x66, 0x0f, 0x01, 0x15, 0, 0, 3, 0]);
    assert_eq!(guest.cpu.gdtr, TableRegister { base: 0xad_beef, limit: 0x1234 });
    let mut guest = Guest::long(0);
    guest.put::<u16>(DATA, 0x1234);
    guest.put::<u64>(DATA + 2, 0xffff_8000_dead_beef);
    guest.execute(&[0x0f, 0x01, 0x1c, 0x25, 0, 0, 3, 0]); // LIDT [DATA]
    assert_eq!(guest.cpu.idtr, TableRegister { base: 0xffff_8000_dead_beef, limit: 0x1234 });
    guest.cpu.idtr = TableRegister { base: IDT, limit: 0xfff };
    guest.put::<u64>(DATA + 2, 0x8000_0000_0000);
    assert_eq!(guest.fault_of(&[0x0f, 0x01, 0x1c, 0x25, 0, 0, 3, 0]), GP);
}

#[test]
fn sgdt_and_sidt_store_and_umip_hides_them() {
    let mut guest = Guest::long(3);
    guest.execute(&[0x0f, 0x01, 0x04, 0x25, 0, 0, 3, 0]); // SGDT [DATA]
    assert_eq!((guest.get::<u16>(DATA), guest.get::<u64>(DATA + 2)), (BEYOND - 1, GDT));
    guest.cpu.cr4 |= CR4_UMIP;
    for bytes in [
        &[0x0f, 0x01, 0x04, 0x25, 0, 0, 3, 0][..],
        &[0x0f, 0x01, 0x0c, 0x25, 0, 0, 3, 0],
        &[0x0f, 0x00, 0xc0],
        &[0x0f, 0x00, 0xc8],
    ] {
        let mut guest = Guest::long(3);
        guest.cpu.cr4 |= CR4_UMIP;
        assert_eq!(guest.fault_of(bytes), GP, "{bytes:02x?}");
    }
    let mut guest = Guest::protected(0);
    guest.put::<u64>(DATA, u64::MAX);
    guest.execute(&[0x0f, 0x01, 0x0d, 0, 0, 3, 0]); // SIDT [DATA]
    assert_eq!(guest.get::<u64>(DATA), 0xffff_0000_0000_0000 | IDT << 16 | 0x7ff);
}

#[test]
fn ltr_marks_the_tss_busy_and_refuses_a_busy_one() {
    let mut guest = Guest::long(0);
    guest.cpu.regs[RAX] = TSS_SELECTOR.into();
    guest.put::<u64>(GDT + 0x40, 0xffff_8000);
    guest.execute(&[0x0f, 0x00, 0xd8]);
    assert_eq!(
        guest.cpu.tr,
        Segment { selector: TSS_SELECTOR, base: 0xffff_8000_0000_6000, limit: 0x2fff, access: 0x8b }
    );
    assert_eq!(guest.get::<u8>(GDT + 0x38 + 5), 0x8b);
    guest.cpu.tr.base = TSS;
    let busy = u32::from(TSS_SELECTOR);
    assert_eq!(guest.fault_of(&[0x0f, 0x00, 0xd8]), Some((13, busy)));
    for (selector, fault) in [(0, (13, 0)), (CODE0, (13, 8)), (0x0c, (13, 0x0c)), (BEYOND, (13, 0xb0))] {
        let mut guest = Guest::protected(0);
        guest.cpu.regs[RAX] = selector.into();
        assert_eq!(guest.fault_of(&[0x0f, 0x00, 0xd8]), Some(fault), "LTR {selector:#x}");
    }
    assert_eq!(Guest::v86(3).execute(&[0x0f, 0x00, 0xd8]).vector(), Some(6));
    let mut guest = Guest::real();
    assert_eq!(guest.execute(&[0x0f, 0x00, 0xd8]).vector(), Some(6));
}

#[test]
fn lldt_takes_ldts_and_null() {
    let mut guest = Guest::protected(0);
    guest.cpu.regs[RAX] = 0;
    guest.execute(&[0x0f, 0x00, 0xd0]);
    assert!(guest.cpu.ldtr.unusable());
    guest.cpu.regs[RBX] = 0x0c;
    // MOV DS from an LDT that is not there.
    assert_eq!(guest.fault_of(&[0x8e, 0xdb]), Some((13, 0x0c)));
    let mut guest = Guest::protected(0);
    guest.cpu.regs[RAX] = LDT_SELECTOR.into();
    guest.execute(&[0x0f, 0x00, 0xd0]);
    assert_eq!((guest.cpu.ldtr.base, guest.cpu.ldtr.limit), (LDT, 0x1f));
    guest.execute(&[0x0f, 0x00, 0xc3]); // SLDT EBX
    assert_eq!(guest.cpu.regs[RBX], LDT_SELECTOR.into());
    guest.cpu.regs[RAX] = TSS_SELECTOR.into();
    assert_eq!(guest.fault_of(&[0x0f, 0x00, 0xd0]), Some((13, TSS_SELECTOR.into())));
}

#[test]
fn lar_and_lsl_tell_of_what_is_visible() {
    // (level, long mode, selector, LAR, LSL)
    let table: &[(u8, bool, u16, Option<u64>, Option<u64>)] = &[
        (0, false, CODE0, Some(0x00c0_9a00), Some(0xffff_ffff)),
        (3, false, CODE0, None, None),
        (3, false, CONFORMING0, Some(0x00c0_9e00), Some(0xffff_ffff)),
        (0, false, DATA0 | 3, None, None),
        (0, false, DATA16, Some(0x9200), Some(0xffff)),
        (0, false, TSS_SELECTOR, Some(0x8900), Some(0x2fff)),
        (0, false, GATE, Some(0x8c00), None),
        (0, false, 0, None, None),
        (0, false, BEYOND, None, None),
        (0, true, TSS_SELECTOR, Some(0x8900), Some(0x2fff)),
        (0, true, GATE, Some(0x8c00), None),
        (0, true, BEYOND - 8, Some(0x00c0_b200), Some(0xffff_ffff)),
    ];
    for &(cpl, long, selector, rights, limit) in table {
        for (opcode, expected) in [(2, rights), (3, limit)] {
            let mut guest = if long { Guest::long(cpl) } else { Guest::protected(cpl) };
            guest.put(GDT + u64::from(GATE), gate(CODE0, 0, 0x8c));
            guest.cpu.regs[RAX] = selector.into();
            guest.cpu.regs[RBX] = 0x5555;
            guest.execute(&[0x0f, opcode, 0xd8]); // EBX, EAX
            let case = format!("{opcode}: {selector:#x} at level {cpl}, long {long}");
            assert_eq!(guest.cpu.rflags() & ZF != 0, expected.is_some(), "{case}");
            assert_eq!(guest.cpu.regs[RBX], expected.unwrap_or(0x5555), "{case}");
        }
    }
    assert_eq!(Guest::real().execute(&[0x0f, 0x02, 0xd8]).vector(), Some(6));
}

#[test]
fn verr_verw_and_arpl() {
    let table: &[(u8, u16, bool, bool)] = &[
        (0, DATA0, true, true),
        (3, DATA0, false, false),
        (3, DATA3, true, true),
        (0, READ_ONLY, true, false),
        (0, CODE0, true, false),
        (0, EXECUTE_ONLY, false, false),
        (3, CONFORMING0, true, false),
        (0, TSS_SELECTOR, false, false),
        (0, 0, false, false),
    ];
    for &(cpl, selector, readable, writable) in table {
        for (modrm, expected) in [(0xe0, readable), (0xe8, writable)] {
            let mut guest = Guest::protected(cpl);
            guest.cpu.regs[RAX] = selector.into();
            guest.execute(&[0x0f, 0x00, modrm]);
            assert_eq!(guest.cpu.rflags() & ZF != 0, expected, "{modrm:#x} {selector:#x} at level {cpl}");
        }
    }
    for (destination, source, result, zero) in [(0x10, 3, 0x13, true), (0x13, 1, 0x13, false)] {
        let mut guest = Guest::protected(3);
        guest.cpu.regs[RBX] = 0xabcd_0000 | destination;
        guest.cpu.regs[RAX] = source;
        guest.execute(&[0x63, 0xc3]); // ARPL BX, AX
        assert_eq!(guest.cpu.regs[RBX], 0xabcd_0000 | result);
        assert_eq!(guest.cpu.rflags() & ZF != 0, zero);
        guest.put::<u16>(DATA, destination as u16);
        guest.execute(&[0x63, 0x05, 0, 0, 3, 0]); // ARPL [DATA], AX
        assert_eq!(guest.get::<u16>(DATA), result as u16);
        assert_eq!(guest.cpu.rflags() & ZF != 0, zero);
    }
    assert_eq!(Guest::real().execute(&[0x63, 0xc3]).vector(), UD.map(|(vector, _)| vector));
}
