//! Register contents before an instruction.

use iced_x86::{Code, MemorySize};

use crate::case::{ENTRY, FpuState, Mode, State};
use crate::random::Random;
use crate::values::{self, Lanes, Pool};

use super::place;

/// RFLAGS bits a case may start with: CF, PF, AF, ZF, SF, OF; DF; ID. Bits 1 and 9 are always set in user mode.
pub(super) const STATUS: u64 = 0x8d5;
const DIRECTION: u64 = 0x400;
const ALIGNMENT_CHECK: u64 = 1 << 18;
const IDENTIFICATION: u64 = 1 << 21;

/// The kind of vector lanes this instruction works on, as far as its memory operand tells.
pub(super) fn lanes(code: Code) -> Option<Lanes> {
    let size = code.op_code().memory_size();
    match size.element_type() {
        MemorySize::Float32 => Some(Lanes::Single),
        MemorySize::Float64 => Some(Lanes::Double),
        MemorySize::UInt8 | MemorySize::Int8 => Some(Lanes::Integer(1)),
        MemorySize::UInt16 | MemorySize::Int16 => Some(Lanes::Integer(2)),
        MemorySize::UInt32 | MemorySize::Int32 => Some(Lanes::Integer(4)),
        MemorySize::UInt64 | MemorySize::Int64 => Some(Lanes::Integer(8)),
        _ => None,
    }
}

/// Registers for an instruction on lanes of this kind; also the pool its memory operand may be drawn from.
pub(super) fn random_state(random: &mut Random, mode: Mode, lanes: Option<Lanes>) -> (State, Pool) {
    let any = [Lanes::Single, Lanes::Double, Lanes::Integer(1), Lanes::Integer(4), Lanes::Bits];
    let kind = match lanes {
        Some(kind) if random.percent(85) => kind,
        _ => random.pick(&any),
    };
    let pool = Pool::new(random, kind);
    let mut gpr = std::array::from_fn(|_| values::integer(random));
    if random.percent(30) {
        // Equal registers, and sums that are zero.
        let (from, to) = (random.index(16), random.index(16));
        gpr[to] = if random.percent(50) { gpr[from] } else { gpr[from].wrapping_neg() };
    }
    gpr[4] = place::stack_address(random);
    let mut rflags = 0x202 | random.bits() & (STATUS | IDENTIFICATION);
    if random.percent(20) {
        rflags |= DIRECTION;
    }
    if random.percent(3) {
        rflags |= ALIGNMENT_CHECK;
    }
    let xmm = std::array::from_fn(|_| pool.vector(random));
    let mut fpu = FpuState { fcw: 0x37f, fsw: 0, ftw: 0, mxcsr: mxcsr(random), st: [0; 8], xmm };
    x87(random, &mut fpu, &pool);
    (State { gpr, rip: ENTRY, rflags, selectors: mode.selectors(), fs_base: 0, gs_base: 0, fpu }, pool)
}

/// A valid MXCSR.
pub(super) fn mxcsr(random: &mut Random) -> u32 {
    let mut value = 0x1f80;
    if random.percent(50) {
        value |= (random.below(4) as u32) << 13; // rounding control
    }
    if random.percent(20) {
        value |= 1 << 15; // flush to zero
    }
    if random.percent(20) {
        value |= 1 << 6; // denormals are zero
    }
    if random.percent(25) {
        value &= !((random.below(64) as u32) << 7); // unmask
    }
    if random.percent(25) {
        value |= random.below(64) as u32; // flags
    }
    value
}

/// An x87 control word.
pub(super) fn control_word(random: &mut Random) -> u16 {
    let mut value = 0x37f;
    if random.percent(50) {
        value = value & !0xc00 | (random.below(4) as u16) << 10; // rounding control
    }
    if random.percent(35) {
        value = value & !0x300 | random.pick(&[0x000, 0x200]); // precision control
    }
    if random.percent(20) {
        value &= !(random.below(64) as u16); // unmask
    }
    value
}

fn x87(random: &mut Random, fpu: &mut FpuState, pool: &Pool) {
    fpu.fcw = control_word(random);
    let mut status = (random.below(8) as u16) << 11;
    status |= random.bits() as u16 & 0x4700; // condition codes
    if random.percent(25) {
        let mut exceptions = random.below(64) as u16;
        if random.percent(70) {
            exceptions &= fpu.fcw; // nothing pending
        }
        status |= exceptions;
        if exceptions & 1 != 0 && random.percent(50) {
            status |= 0x40; // stack fault
        }
    }
    fpu.fsw = with_summary(status, fpu.fcw);
    fpu.ftw = match random.below(10) {
        0 => random.bits() as u8,
        1 => 0,
        // One of the registers the instruction looks at is empty, or one it pushes to is not.
        2 => !(1 << ((fpu.top() + random.below(2) as u32) & 7)),
        3..=6 => {
            let pushed = fpu.top().wrapping_sub(1) & 7;
            !(1 << pushed)
        }
        _ => 0xff,
    };
    for st in &mut fpu.st {
        *st = if random.percent(6) {
            // What an MMX instruction leaves behind.
            0xffff << 64 | pool.vector(random) & u128::from(u64::MAX)
        } else {
            values::extended(random)
        };
    }
    if random.percent(20) {
        let (from, to) = (random.index(8), random.index(8));
        fpu.st[to] = fpu.st[from] ^ (u128::from(random.below(2)) << 79);
    }
    if random.percent(10) {
        // Numbers close to each other: cancellation.
        let (from, to) = (random.index(8), random.index(8));
        let significand = (fpu.st[from] as u64).wrapping_add(random.below(8)) | 1 << 63;
        fpu.st[to] = fpu.st[from] & !u128::from(u64::MAX) | u128::from(significand);
    }
}

/// Sets ES and B as the unmasked exceptions have them (SDM 1 8.1.3.3).
pub(super) fn with_summary(status: u16, control: u16) -> u16 {
    if status & !control & 0x3f != 0 { status | 0x8080 } else { status & !0x8080 }
}
