//! FXSAVE and the XSAVE family.

use x86_defs::control::{CR0_EM, CR0_TS, CR4_OSXSAVE};
use x86_defs::gpr::{RAX, RBX, RDX};

use super::*;

const GP: Option<(u64, u32)> = Some((13, 0));
const NM: Option<(u64, u32)> = Some((7, 0));
const UD: Option<(u64, u32)> = Some((6, 0));

/// With RBX the area; the instructions are `[RBX]` forms.
const FXSAVE: &[u8] = &[0x0f, 0xae, 0x03];
const FXRSTOR: &[u8] = &[0x0f, 0xae, 0x0b];
const XSAVE: &[u8] = &[0x0f, 0xae, 0x23];
const XRSTOR: &[u8] = &[0x0f, 0xae, 0x2b];
const XSAVEOPT: &[u8] = &[0x0f, 0xae, 0x33];
const XSAVEC: &[u8] = &[0x0f, 0xc7, 0x23];
const XSAVES: &[u8] = &[0x0f, 0xc7, 0x2b];
const XRSTORS: &[u8] = &[0x0f, 0xc7, 0x1b];

fn guest(cpl: u8) -> Guest {
    let mut guest = Guest::long(cpl);
    guest.cpu.cr4 |= CR4_OSXSAVE;
    guest.cpu.xcr0 = 3;
    guest.cpu.regs[RBX] = DATA;
    guest.cpu.regs[RAX] = u64::MAX;
    guest.cpu.regs[RDX] = u64::MAX;
    guest.cpu.x87.init_component();
    for at in (0..0x400).step_by(8) {
        guest.put::<u64>(DATA + at, 0x5555_5555_5555_5555);
    }
    guest
}

fn fill(guest: &mut Guest) {
    for (index, xmm) in guest.cpu.xmm.iter_mut().enumerate() {
        *xmm = 0x0101_0101_0101_0101_0101_0101_0101_0101 * (index as u128 + 1);
    }
    guest.cpu.mxcsr = 0x7f80;
    guest.cpu.x87.set_control(0x0b7f);
}

#[test]
fn fxsave_and_fxrstor_are_inverse() {
    let mut guest = guest(3);
    fill(&mut guest);
    guest.execute(FXSAVE);
    assert_eq!(guest.get::<u16>(DATA), 0x0b7f);
    assert_eq!(guest.get::<u64>(DATA + 24), 0xffff_0000_7f80);
    assert_eq!(guest.get::<u128>(DATA + 160 + 15 * 16), guest.cpu.xmm[15]);
    assert_eq!(guest.get::<u64>(DATA + 416), 0x5555_5555_5555_5555, "reserved bytes stay");
    let (xmm, x87) = (guest.cpu.xmm, guest.cpu.x87.clone());
    guest.cpu.xmm = [0; 16];
    guest.cpu.mxcsr = 0x1f80;
    guest.cpu.x87.init();
    guest.execute(FXRSTOR);
    assert_eq!((guest.cpu.xmm, guest.cpu.mxcsr), (xmm, 0x7f80));
    assert_eq!(guest.cpu.x87, x87);
}

#[test]
fn outside_64_bit_mode_eight_xmm_registers_are_saved() {
    let mut guest = Guest::protected(0);
    guest.cpu.cr4 |= CR4_OSFXSR;
    fill(&mut guest);
    guest.cpu.regs[RBX] = DATA;
    guest.execute(FXSAVE);
    assert_eq!(guest.get::<u128>(DATA + 160 + 7 * 16), guest.cpu.xmm[7]);
    assert_eq!(guest.get::<u128>(DATA + 160 + 8 * 16), 0);
}

#[test]
fn what_keeps_the_area_from_being_used() {
    // (instruction, offset of the area, CR0 bits, CR4.OSXSAVE, level, fault)
    let table: &[(&[u8], u64, u64, bool, u8, Option<(u64, u32)>)] = &[
        (FXSAVE, 8, 0, true, 3, GP),
        (FXSAVE, 16, 0, true, 3, None),
        (FXSAVE, 0, CR0_TS, true, 3, NM),
        (FXSAVE, 0, CR0_EM, true, 3, NM),
        (FXRSTOR, 0, CR0_TS, true, 3, NM),
        (XSAVE, 32, 0, true, 3, GP),
        (XSAVE, 0, CR0_TS, true, 3, NM),
        (XSAVE, 0, 0, false, 3, UD),
        (XSAVE, 0, CR0_EM, true, 3, None),
        (XRSTOR, 32, 0, true, 3, GP),
        (XRSTOR, 0, 0, false, 3, UD),
        (XSAVES, 0, 0, true, 3, GP),
        (XRSTORS, 0, 0, true, 3, GP),
        (XSAVES, 0, 0, true, 0, None),
        (XSAVEC, 64, 0, true, 3, None),
        (XSAVEC, 0x1_0000_0000, 0, true, 3, Some((14, 6))),
    ];
    for &(bytes, offset, cr0, osxsave, cpl, fault) in table {
        let mut guest = guest(cpl);
        guest.cpu.regs[RBX] += offset;
        guest.cpu.cr0 |= cr0;
        if !osxsave {
            guest.cpu.cr4 &= !CR4_OSXSAVE;
        }
        guest.cpu.mode_changed();
        assert_eq!(guest.fault_of(bytes), fault, "{bytes:02x?} {offset:#x} {cr0:#x} {osxsave} {cpl}");
    }
    // Nothing is written when the end of the area cannot be.
    let mut guest = guest(3);
    guest.cpu.regs[RBX] = 0x4000_0000 - 512;
    assert_eq!(guest.fault_of(XSAVE), Some((14, 6)));
}

#[test]
fn reserved_bits_of_mxcsr_and_of_the_header_are_refused() {
    let standard: [(u64, u64); 5] = [(24, 1 << 16), (512, 4), (520, 1), (528, 1), (512, 1 << 63)];
    for (offset, value) in standard {
        let mut guest = guest(3);
        guest.execute(XSAVE);
        guest.put::<u64>(DATA + 520, 0);
        guest.put::<u64>(DATA + 528, 0);
        guest.put(DATA + offset, value);
        assert_eq!(guest.fault_of(XRSTOR), GP, "{value:#x} at {offset}");
    }
    for (offset, value) in [(520, 7 | 1 << 63), (512, 2_u64), (528, 1), (568, 1)] {
        let mut guest = guest(3);
        fill(&mut guest);
        guest.execute(XSAVEC);
        for at in (528..576).step_by(8) {
            guest.put::<u64>(DATA + at, 0);
        }
        if offset == 512 {
            // A component that the compaction mask lacks.
            guest.put::<u64>(DATA + 520, 1 | 1 << 63);
        }
        guest.put(DATA + offset, value);
        assert_eq!(guest.fault_of(XRSTOR), GP, "{value:#x} at {offset}");
    }
    let mut guest = guest(3);
    guest.execute(FXSAVE);
    guest.put::<u32>(DATA + 24, 1 << 16);
    assert_eq!(guest.fault_of(FXRSTOR), GP);
}

#[test]
fn xsave_keeps_the_header_bits_it_was_not_asked_for() {
    let mut guest = guest(3);
    fill(&mut guest);
    guest.put::<u64>(DATA + 512, 0xf0);
    guest.cpu.regs[RAX] = 2;
    guest.cpu.regs[RDX] = 0;
    guest.execute(XSAVE);
    assert_eq!(guest.get::<u64>(DATA + 512), 0xf2);
    assert_eq!(guest.get::<u64>(DATA), 0x5555_5555_5555_5555, "x87 was not asked for");
    assert_eq!(guest.get::<u32>(DATA + 24), 0x7f80);
    assert_eq!(guest.get::<u64>(DATA + 520), 0x5555_5555_5555_5555);
}

#[test]
fn components_in_their_initial_configuration_are_marked_and_left_out() {
    // (instruction, XMM0, MXCSR, XSTATE_BV, XMM written, MXCSR written)
    let table: &[(&[u8], u128, u32, u64, bool, bool)] = &[
        (XSAVE, 0, 0x1f80, 0, true, true),
        (XSAVEOPT, 0, 0x1f80, 0, false, true),
        (XSAVEOPT, 1, 0x1f80, 2, true, true),
        (XSAVEC, 0, 0x1f80, 0, false, false),
        (XSAVEC, 0, 0x1fa0, 2, true, true),
        (XSAVEC, 1, 0x1f80, 2, true, true),
    ];
    for &(bytes, xmm, mxcsr, state_bv, xmm_written, mxcsr_written) in table {
        let mut guest = guest(3);
        guest.put::<u64>(DATA + 512, 0);
        guest.cpu.xmm[0] = xmm;
        guest.cpu.mxcsr = mxcsr;
        guest.execute(bytes);
        let case = format!("{bytes:02x?} {xmm} {mxcsr:#x}");
        assert_eq!(guest.get::<u64>(DATA + 512), state_bv, "{case}");
        assert_eq!(guest.get::<u64>(DATA + 168) != 0x5555_5555_5555_5555, xmm_written, "{case}");
        assert_eq!(guest.get::<u32>(DATA + 24) != 0x5555_5555, mxcsr_written, "{case}");
        if bytes == XSAVEC {
            assert_eq!(guest.get::<u64>(DATA + 520), 3 | 1 << 63, "{case}");
        }
    }
}

#[test]
fn xrstor_restores_or_initialises() {
    for save in [XSAVE, XSAVEC] {
        let mut guest = guest(0);
        fill(&mut guest);
        for at in (512..576).step_by(8) {
            guest.put::<u64>(DATA + at, 0);
        }
        guest.execute(save);
        let (xmm, x87) = (guest.cpu.xmm, guest.cpu.x87.clone());
        guest.cpu.xmm = [7; 16];
        guest.cpu.x87.set_control(0x37f);
        guest.cpu.mxcsr = 0x1f80;
        guest.execute(XRSTOR);
        assert_eq!((guest.cpu.xmm, guest.cpu.mxcsr), (xmm, 0x7f80), "{save:02x?}");
        assert_eq!(guest.cpu.x87, x87, "{save:02x?}");
        // A component that XSTATE_BV lacks is initialised; MXCSR with it only in the compacted format.
        guest.put::<u64>(DATA + 512, 1);
        guest.execute(XRSTOR);
        assert_eq!(guest.cpu.xmm, [0; 16]);
        assert_eq!(guest.cpu.mxcsr, if save == XSAVE { 0x7f80 } else { 0x1f80 }, "{save:02x?}");
        // XRSTORS takes the compacted format alone.
        assert_eq!(guest.fault_of(XRSTORS), if save == XSAVE { GP } else { None }, "{save:02x?}");
    }
}

#[test]
fn xgetbv_tells_what_is_in_use() {
    let mut guest = guest(3);
    guest.cpu.regs[x86_defs::gpr::RCX] = 1;
    guest.execute(&[0x0f, 0x01, 0xd0]);
    assert_eq!(guest.cpu.regs[RAX], 0);
    guest.cpu.xmm[15] = 1;
    guest.execute(&[0x0f, 0x01, 0xd0]);
    assert_eq!(guest.cpu.regs[RAX], 2);
    guest.cpu.regs[x86_defs::gpr::RCX] = 2;
    assert_eq!(guest.fault_of(&[0x0f, 0x01, 0xd0]), GP);
}
