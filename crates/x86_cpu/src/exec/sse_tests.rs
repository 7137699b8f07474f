//! What surrounds the computations of SSE, MMX and BMI instructions: who may execute them, alignment, the x87 state, stores
//! under a mask. That they compute the right thing is tested in `simd` and against the host's processor.

use guest_memory::{GuestMemory, Slot};
use x86_defs::Vector;
use x86_defs::control::CR0_PE;
use x86_defs::gpr::{RAX, RCX, RDI};

use crate::Cpu;
use crate::cpu::CodeMode;
use crate::decode::decode_block;
use crate::event::Pending;
use crate::float::F80;
use crate::op::Flow;

const CODE: u64 = 0x1000;
pub(super) const DATA: u64 = 0x2000;
/// The end of RAM.
const END: u64 = 0x3000;
/// 64-bit mode with everything enabled.
pub(super) const ENABLED: u8 = 2 | CodeMode::OSFXSR;

pub(super) struct Machine {
    pub(super) cpu: Cpu,
    pub(super) mem: GuestMemory,
}

impl Machine {
    /// A processor without paging, RAX pointing to the data.
    pub(super) fn new() -> Self {
        let mut cpu = Cpu::new(0, 1);
        cpu.cr0 |= CR0_PE;
        cpu.regs[RAX] = DATA;
        Self { cpu, mem: GuestMemory::new(&[Slot { base: 0, len: END }]).expect("a small slot") }
    }

    /// Runs the one instruction of `bytes` in `mode`; the vector of the exception it raised, if any.
    pub(super) fn run(&mut self, mode: u8, bytes: &[u8]) -> Option<Vector> {
        self.mem.write_bytes(CODE, bytes).expect("RAM");
        let mode = CodeMode(mode | CodeMode::STEP);
        self.cpu.mode = mode;
        self.cpu.pending = Pending::None;
        self.cpu.stop_block = false;
        let block = decode_block(&mut self.cpu, &self.mem, CODE, CODE, mode).expect("nothing faults");
        match ((block.ops[0].run)(&mut self.cpu, &self.mem, &block.ops), self.cpu.pending) {
            (Flow::Abort, Pending::Exception(exception)) => Some(exception.vector),
            (Flow::End | Flow::Stop, Pending::None) => None,
            (flow, pending) => panic!("{flow:?} {pending:?}"),
        }
    }

    fn xmm(&self, register: usize) -> u128 {
        self.cpu.xmm[register]
    }
}

const PADDB_XMM: &[u8] = &[0x66, 0x0f, 0xfc, 0xc1];
const PADDB_MM: &[u8] = &[0x0f, 0xfc, 0xc1];
const PAVGB_MM: &[u8] = &[0x0f, 0xe0, 0xc1];
const LDMXCSR: &[u8] = &[0x0f, 0xae, 0x10];
const MOVQ2DQ: &[u8] = &[0xf3, 0x0f, 0xd6, 0xc1];
const MOVNTI: &[u8] = &[0x0f, 0xc3, 0x08];
const CRC32: &[u8] = &[0xf2, 0x0f, 0x38, 0xf1, 0xc8];
const POPCNT: &[u8] = &[0xf3, 0x0f, 0xb8, 0xc8];
const ANDN: &[u8] = &[0xc4, 0xe2, 0x70, 0xf2, 0xc8];
const EMMS: &[u8] = &[0x0f, 0x77];

/// SDM 3A tables 2-3, 12-1 and 13-1.
#[test]
fn control_bits_decide_who_may_execute_what() {
    const UD: Option<Vector> = Some(Vector::UD);
    const NM: Option<Vector> = Some(Vector::NM);
    let everything = ENABLED | CodeMode::EM | CodeMode::TS;
    // Without OSFXSR; with EM; with TS; with both.
    type Case = (&'static str, &'static [u8], [Option<Vector>; 4]);
    let cases: [Case; 10] = [
        ("PADDB xmm", PADDB_XMM, [UD, UD, NM, UD]),
        ("LDMXCSR", LDMXCSR, [UD, UD, NM, UD]),
        ("MOVQ2DQ", MOVQ2DQ, [UD, UD, NM, UD]),
        ("PADDB mm", PADDB_MM, [None, UD, NM, UD]),
        ("PAVGB mm", PAVGB_MM, [None, UD, NM, UD]),
        ("EMMS", EMMS, [None, UD, NM, UD]),
        ("MOVNTI", MOVNTI, [None; 4]),
        ("CRC32", CRC32, [None; 4]),
        ("POPCNT", POPCNT, [None; 4]),
        ("ANDN", ANDN, [None; 4]),
    ];
    for (name, bytes, expected) in cases {
        let run = |mode| Machine::new().run(mode, bytes);
        assert_eq!(run(ENABLED), None, "{name}");
        let modes = [2, ENABLED | CodeMode::EM, ENABLED | CodeMode::TS, everything];
        assert_eq!(modes.map(run), expected, "{name}");
    }
}

/// SDM 1 9.5.2: MMX instructions report an x87 exception that waits, SSE instructions do not.
#[test]
fn mmx_reports_a_waiting_x87_exception() {
    for (bytes, expected) in [
        (PADDB_MM, Some(Vector::MF)),
        (MOVQ2DQ, Some(Vector::MF)),
        (EMMS, Some(Vector::MF)),
        (PADDB_XMM, None),
        (ANDN, None),
    ] {
        let mut machine = Machine::new();
        machine.cpu.x87.set_control(0x37e);
        machine.cpu.x87.set_status(1);
        assert_eq!(machine.run(ENABLED, bytes), expected, "{bytes:x?}");
    }
}

/// SDM 1 9.5.1.
#[test]
fn mmx_instructions_take_over_the_x87_registers() {
    let mut machine = Machine::new();
    machine.cpu.x87.init();
    machine.cpu.x87.push(F80 { mantissa: 1 << 63, sign_exp: 0x3fff });
    assert_eq!((machine.cpu.x87.top(), machine.cpu.x87.tags()), (7, 0x80));

    // movq mm3, [rax]: one that faults changes nothing.
    machine.cpu.x87.set_control(0x37e);
    machine.cpu.x87.set_status(machine.cpu.x87.status() | 1);
    assert_eq!(machine.run(ENABLED, &[0x0f, 0x6f, 0x18]), Some(Vector::MF));
    assert_eq!((machine.cpu.x87.top(), machine.cpu.x87.tags()), (7, 0x80));

    machine.cpu.x87.clear_exceptions();
    machine.mem.write(DATA, 0x1122_3344_5566_7788_u64).expect("RAM");
    assert_eq!(machine.run(ENABLED, &[0x0f, 0x6f, 0x18]), None);
    assert_eq!((machine.cpu.x87.top(), machine.cpu.x87.tags()), (0, 0xff));
    let register = machine.cpu.x87.register(3);
    assert_eq!((register.mantissa, register.sign_exp), (0x1122_3344_5566_7788, 0xffff));

    assert_eq!(machine.run(ENABLED, EMMS), None);
    assert_eq!(machine.cpu.x87.tags(), 0);
}

/// SDM 1 11.3: 16-byte operands have to be aligned, unless the instruction is made for others.
#[test]
fn sixteen_byte_operands_have_to_be_aligned() {
    const GP: Option<Vector> = Some(Vector::GP);
    let cases: [(&str, &[u8], Option<Vector>); 18] = [
        ("MOVAPS load", &[0x0f, 0x28, 0x00], GP),
        ("MOVAPS store", &[0x0f, 0x29, 0x00], GP),
        ("MOVDQA load", &[0x66, 0x0f, 0x6f, 0x00], GP),
        ("MOVNTDQ", &[0x66, 0x0f, 0xe7, 0x00], GP),
        ("MOVNTDQA", &[0x66, 0x0f, 0x38, 0x2a, 0x00], GP),
        ("PADDB", &[0x66, 0x0f, 0xfc, 0x00], GP),
        ("PSLLW", &[0x66, 0x0f, 0xf1, 0x00], GP),
        ("PTEST", &[0x66, 0x0f, 0x38, 0x17, 0x00], GP),
        ("AESENC", &[0x66, 0x0f, 0x38, 0xdc, 0x00], GP),
        ("MOVUPS load", &[0x0f, 0x10, 0x00], None),
        ("MOVUPS store", &[0x0f, 0x11, 0x00], None),
        ("MOVDQU load", &[0xf3, 0x0f, 0x6f, 0x00], None),
        ("LDDQU", &[0xf2, 0x0f, 0xf0, 0x00], None),
        ("PCMPISTRI", &[0x66, 0x0f, 0x3a, 0x63, 0x00, 0x00], None),
        ("PCMPESTRM", &[0x66, 0x0f, 0x3a, 0x60, 0x00, 0x00], None),
        ("MOVQ", &[0xf3, 0x0f, 0x7e, 0x00], None),
        ("PMOVSXBW", &[0x66, 0x0f, 0x38, 0x20, 0x00], None),
        ("INSERTPS", &[0x66, 0x0f, 0x3a, 0x21, 0x00, 0x00], None),
    ];
    for (name, bytes, expected) in cases {
        let mut machine = Machine::new();
        assert_eq!(machine.run(ENABLED, bytes), None, "{name}, aligned");
        machine.cpu.regs[RAX] = DATA + 1;
        assert_eq!(machine.run(ENABLED, bytes), expected, "{name}");
    }
}

#[test]
fn loads_of_parts_keep_or_clear_the_rest() {
    const OLD: u128 = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;
    const MEMORY: u128 = 0xfffe_fdfc_fbfa_f9f8_f7f6_f5f4_f3f2_f1f0;
    let cases: [(&str, &[u8], u128); 10] = [
        ("MOVSS xmm, m32", &[0xf3, 0x0f, 0x10, 0x00], 0xf3f2_f1f0),
        ("MOVSD xmm, m64", &[0xf2, 0x0f, 0x10, 0x00], 0xf7f6_f5f4_f3f2_f1f0),
        ("MOVSS xmm, xmm", &[0xf3, 0x0f, 0x10, 0xc1], 0x0f0e_0d0c_0b0a_0908_0706_0504_f3f2_f1f0),
        ("MOVSD xmm, xmm", &[0xf2, 0x0f, 0x10, 0xc1], 0x0f0e_0d0c_0b0a_0908_f7f6_f5f4_f3f2_f1f0),
        ("MOVQ xmm, xmm", &[0xf3, 0x0f, 0x7e, 0xc1], 0xf7f6_f5f4_f3f2_f1f0),
        ("MOVLPS", &[0x0f, 0x12, 0x00], 0x0f0e_0d0c_0b0a_0908_f7f6_f5f4_f3f2_f1f0),
        ("MOVHPS", &[0x0f, 0x16, 0x00], 0xf7f6_f5f4_f3f2_f1f0_0706_0504_0302_0100),
        ("MOVLHPS", &[0x0f, 0x16, 0xc1], 0xf7f6_f5f4_f3f2_f1f0_0706_0504_0302_0100),
        ("MOVHLPS", &[0x0f, 0x12, 0xc1], 0x0f0e_0d0c_0b0a_0908_fffe_fdfc_fbfa_f9f8),
        ("MOVD xmm, eax", &[0x66, 0x0f, 0x6e, 0xc0], DATA as u128),
    ];
    for (name, bytes, expected) in cases {
        let mut machine = Machine::new();
        machine.mem.write(DATA, MEMORY).expect("RAM");
        (machine.cpu.xmm[0], machine.cpu.xmm[1]) = (OLD, MEMORY);
        assert_eq!(machine.run(ENABLED, bytes), None, "{name}");
        assert_eq!(machine.xmm(0), expected, "{name}: {:#034x}", machine.xmm(0));
    }
}

#[test]
fn mxcsr_refuses_reserved_bits() {
    let mut machine = Machine::new();
    machine.mem.write(DATA, 0xffff_u32).expect("RAM");
    assert_eq!(machine.run(ENABLED, LDMXCSR), None);
    assert_eq!(machine.cpu.mxcsr, 0xffff);
    machine.mem.write(DATA, 0x1_0000_u32).expect("RAM");
    assert_eq!(machine.run(ENABLED, LDMXCSR), Some(Vector::GP));
    assert_eq!(machine.cpu.mxcsr, 0xffff);
    assert_eq!(machine.run(ENABLED, &[0x0f, 0xae, 0x18]), None);
    assert_eq!(machine.mem.read::<u32>(DATA), Ok(0xffff));
}

#[test]
fn masked_stores_touch_the_chosen_bytes_alone() {
    let mut machine = Machine::new();
    machine.cpu.xmm[0] = u128::MAX;
    // Bit 7 alone decides.
    machine.cpu.xmm[1] = 0x7f7f_7f7f_7f7f_7f7f_7f7f_7f7f_7f80_7fff;
    machine.cpu.regs[RDI] = DATA;
    let maskmovdqu = [0x66, 0x0f, 0xf7, 0xc1];
    assert_eq!(machine.run(ENABLED, &maskmovdqu), None);
    assert_eq!(machine.mem.read::<u128>(DATA), Ok(0x00ff_00ff));
}

/// SDM 2A 2.8, type 13.
#[test]
fn vex_instructions_need_protected_mode() {
    let mut machine = Machine::new();
    machine.cpu.regs[RCX] = 0xff;
    assert_eq!(machine.run(1, ANDN), None);
    assert_eq!(machine.cpu.regs[RCX], DATA & !0xff);
    machine.cpu.cr0 &= !CR0_PE;
    assert_eq!(machine.run(1, ANDN), Some(Vector::UD));
}
