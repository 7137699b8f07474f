//! What surrounds the computations of x87 and SSE floating point: who may execute them, when exceptions are reported, what a
//! fault leaves alone, the images in memory. That they compute the right thing is tested in `float` and against the host's
//! processor.

use x86_defs::Vector;
use x86_defs::control::{CR0_MP, CR0_PE, CR0_TS, CR4_OSXMMEXCPT};
use x86_defs::gpr::RAX;

use super::sse_tests::{DATA, ENABLED, Machine};
use crate::cpu::CodeMode;
use crate::float::F80;

const ONE: u128 = 0x3ff0_0000_0000_0000;
const UPPER: u128 = 0x1234 << 64;
const ADDSD: &[u8] = &[0xf2, 0x0f, 0x58, 0xc1];
const ADDPD_MEMORY: &[u8] = &[0x66, 0x0f, 0x58, 0x00];
const DIVSD: &[u8] = &[0xf2, 0x0f, 0x5e, 0xc1];
const COMISD: &[u8] = &[0x66, 0x0f, 0x2f, 0xc1];
const CVTSD2SI: &[u8] = &[0xf2, 0x0f, 0x2d, 0xc1];
const CVTPS2PI: &[u8] = &[0x0f, 0x2d, 0xc1];
const CVTPI2PD_MEMORY: &[u8] = &[0x66, 0x0f, 0x2a, 0x00];
const CVTPI2PS_MEMORY: &[u8] = &[0x0f, 0x2a, 0x00];
const FLD1: &[u8] = &[0xd9, 0xe8];
const FLDZ: &[u8] = &[0xd9, 0xee];
const FDIVP: &[u8] = &[0xde, 0xf9];
const FNSTSW_AX: &[u8] = &[0xdf, 0xe0];
const FNINIT: &[u8] = &[0xdb, 0xe3];
const FNCLEX: &[u8] = &[0xdb, 0xe2];
const WAIT: &[u8] = &[0x9b];
const FSTP_M80: &[u8] = &[0xdb, 0x38];
const FLD_M80: &[u8] = &[0xdb, 0x28];
const FNSTENV: &[u8] = &[0xd9, 0x30];
const FNSAVE: &[u8] = &[0xdd, 0x30];
const FRSTOR: &[u8] = &[0xdd, 0x20];
const FIST_M16: &[u8] = &[0xdf, 0x10];

/// Protected mode with 32-bit code.
const IN_32_BITS: u8 = 1 | CodeMode::OSFXSR;

fn with_x87() -> Machine {
    let mut machine = Machine::new();
    machine.cpu.x87.init();
    machine
}

/// SDM 3A tables 2-2 and 13-1.
#[test]
fn control_bits_decide_who_may_execute_what() {
    const UD: Option<Vector> = Some(Vector::UD);
    const NM: Option<Vector> = Some(Vector::NM);
    // Without OSFXSR; with EM; with TS.
    for (bytes, expected) in [
        (ADDSD, [UD, UD, NM]),
        (CVTPS2PI, [UD, UD, NM]),
        (FLD1, [None, NM, NM]),
        (FNINIT, [None, NM, NM]),
        (FNSTSW_AX, [None, NM, NM]),
        (WAIT, [None, None, None]),
    ] {
        let run = |mode| Machine::new().run(mode, bytes);
        assert_eq!([2, ENABLED | CodeMode::EM, ENABLED | CodeMode::TS].map(run), expected, "{bytes:x?}");
    }
    // WAIT looks at MP, not at EM.
    for (bits, expected) in [(CR0_TS, None), (CR0_MP, None), (CR0_MP | CR0_TS, NM)] {
        let mut machine = Machine::new();
        machine.cpu.cr0 |= bits;
        assert_eq!(machine.run(ENABLED, WAIT), expected);
    }
}

#[test]
fn scalar_operations_keep_the_upper_lanes() {
    let mut machine = Machine::new();
    (machine.cpu.xmm[0], machine.cpu.xmm[1]) = (UPPER | ONE, ONE);
    assert_eq!(machine.run(ENABLED, ADDSD), None);
    assert_eq!(machine.cpu.xmm[0], UPPER | 0x4000_0000_0000_0000);
    assert_eq!(machine.cpu.mxcsr, 0x1f80);
}

#[test]
fn unmasked_exceptions_leave_the_destination() {
    for (cr4, vector) in [(0, Vector::UD), (CR4_OSXMMEXCPT, Vector::XM)] {
        for bytes in [DIVSD, COMISD] {
            let mut machine = Machine::new();
            machine.cpu.cr4 |= cr4;
            // One divided by zero, and a comparison with a NaN.
            machine.cpu.xmm[0] = ONE;
            machine.cpu.xmm[1] = if bytes == DIVSD { 0 } else { 0x7ff8 << 48 };
            machine.cpu.mxcsr = 0;
            let flags = machine.cpu.flags.bits();
            assert_eq!(machine.run(ENABLED, bytes), Some(vector));
            assert_eq!(machine.cpu.mxcsr, if bytes == DIVSD { 4 } else { 1 });
            assert_eq!(machine.cpu.xmm[0], ONE);
            assert_eq!(machine.cpu.flags.bits(), flags);
        }
    }
}

#[test]
fn packed_operands_have_to_be_aligned() {
    let mut machine = Machine::new();
    assert_eq!(machine.run(ENABLED, ADDPD_MEMORY), None);
    machine.cpu.regs[RAX] = DATA + 8;
    assert_eq!(machine.run(ENABLED, ADDPD_MEMORY), Some(Vector::GP));
    assert_eq!(machine.run(ENABLED, CVTPI2PD_MEMORY), None);
}

#[test]
fn conversions_to_general_registers_clear_the_upper_half() {
    let mut machine = Machine::new();
    machine.cpu.regs[RAX] = u64::MAX;
    machine.cpu.xmm[1] = 0xc008 << 48;
    assert_eq!(machine.run(ENABLED, CVTSD2SI), None);
    assert_eq!(machine.cpu.regs[RAX], u64::from(-3_i32 as u32));
}

/// SDM 2 CVTPS2PI, CVTPI2PS, CVTPI2PD.
#[test]
fn conversions_with_mmx_registers_are_mmx_instructions() {
    for (bytes, takes_over) in [(CVTPS2PI, true), (CVTPI2PS_MEMORY, true), (CVTPI2PD_MEMORY, false)] {
        let mut machine = with_x87();
        machine.cpu.x87.rotate(-1);
        machine.cpu.x87.set_control(0x37e);
        machine.cpu.x87.set_status(machine.cpu.x87.status() | 1);
        let waits = if takes_over { Some(Vector::MF) } else { None };
        assert_eq!(machine.run(ENABLED, bytes), waits);
        machine.cpu.x87.clear_exceptions();
        assert_eq!(machine.run(ENABLED, bytes), None);
        assert_eq!(machine.cpu.x87.tags(), if takes_over { 0xff } else { 0 }, "{bytes:x?}");
    }
}

/// SDM 1 8.7: the instruction that raises an exception completes, and the next that waits reports it.
#[test]
fn x87_exceptions_are_reported_by_the_next_waiting_instruction() {
    let mut machine = with_x87();
    for bytes in [FLD1, FLDZ] {
        assert_eq!(machine.run(ENABLED, bytes), None);
    }
    machine.cpu.x87.set_control(0x37b);
    assert_eq!(machine.run(ENABLED, FDIVP), None);
    assert_eq!(machine.cpu.x87.top(), 6);
    for (bytes, expected) in [
        (FLD1, Some(Vector::MF)),
        (WAIT, Some(Vector::MF)),
        (FSTP_M80, Some(Vector::MF)),
        (FRSTOR, Some(Vector::MF)),
        (FNSTSW_AX, None),
    ] {
        assert_eq!(machine.run(ENABLED, bytes), expected, "{bytes:x?}");
    }
    assert_eq!(machine.cpu.regs[RAX], DATA & !0xffff | 0xb084);
    assert_eq!(machine.run(ENABLED, FNCLEX), None);
    assert_eq!(machine.run(ENABLED, WAIT), None);
}

#[test]
fn a_store_that_faults_pops_nothing() {
    let mut machine = with_x87();
    assert_eq!(machine.run(ENABLED, FLD1), None);
    let before = machine.cpu.x87.clone();
    // The last byte is beyond the segment's limit of 64 KiB.
    for (bytes, size) in [(FSTP_M80, 10), (FNSAVE, 108), (FIST_M16, 2)] {
        machine.cpu.regs[RAX] = 0x1_0001 - size;
        assert_eq!(machine.run(IN_32_BITS, bytes), Some(Vector::GP), "{bytes:x?}");
        assert_eq!(machine.cpu.x87, before);
    }
    machine.cpu.regs[RAX] = DATA;
    assert_eq!(machine.run(ENABLED, FSTP_M80), None);
    assert_eq!(machine.mem.read::<u128>(DATA), Ok(0x3fff_8000_0000_0000_0000));
    assert_eq!(machine.cpu.x87.tags(), 0);
    assert_eq!(machine.run(ENABLED, FLD_M80), None);
    assert_eq!(machine.cpu.x87.st(0), F80::ONE);
}

#[test]
fn images_of_the_state() {
    let mut machine = with_x87();
    assert_eq!(machine.run(ENABLED, FLD1), None);
    machine.cpu.x87.set_control(0x340);
    let before = machine.cpu.x87.clone();
    assert_eq!(machine.run(ENABLED, FNSTENV), None);
    assert_eq!(machine.cpu.x87.control(), 0x37f);
    assert_eq!(machine.mem.read::<u16>(DATA), Ok(0x340));
    assert_eq!(machine.mem.read::<u16>(DATA + 8), Ok(0x3fff));
    assert_eq!(machine.cpu.x87.last, before.last);

    machine.cpu.x87 = before.clone();
    assert_eq!(machine.run(ENABLED, FNSAVE), None);
    assert_eq!((machine.cpu.x87.control(), machine.cpu.x87.tags()), (0x37f, 0));
    assert_eq!(machine.mem.read::<u64>(DATA + 28), Ok(1 << 63));
    assert_eq!(machine.run(ENABLED, FRSTOR), None);
    assert_eq!(machine.cpu.x87, before);
}

/// SDM 1 figures 8-11 and 8-12: real-address mode stores linear addresses, and a 16-bit operand size halves the image.
#[test]
fn images_of_real_address_mode() {
    let mut machine = with_x87();
    machine.cpu.cr0 &= !CR0_PE;
    assert_eq!(machine.run(0, FLD1), None);
    let cs = u64::from(machine.cpu.segs[x86_defs::segment::index::CS].selector);
    machine.cpu.regs[x86_defs::gpr::RBX] = DATA;
    machine.cpu.regs[x86_defs::gpr::RSI] = 0;
    // fnstenv [bx+si]
    assert_eq!(machine.run(0, FNSTENV), None);
    assert_eq!(machine.mem.read::<u16>(DATA + 4), Ok(0x3fff));
    let ip = machine.cpu.x87.last.ip + (cs << 4);
    assert_eq!(machine.mem.read::<u16>(DATA + 6), Ok(ip as u16));
    assert_eq!(machine.mem.read::<u16>(DATA + 8), Ok((ip >> 4) as u16 & 0xf000));
}
