//! The handlers of SSE floating-point operations: scalar, packed and comparing, with a register or memory as second operand.
//!
//! Each handler does its common case - nothing is raised, and memory is a hit in the TLB - without a call that returns, so that it
//! needs no stack frame. Everything else it leaves, as its last call, to a cold copy of itself.

use guest_memory::GuestMemory;
use iced_x86::{Instruction, OpKind};
use x86_defs::Vector;
use x86_defs::control::CR4_OSXMMEXCPT;

use super::Form;
use super::operand::addressed;
use super::sse::{Part, aligned, set_xmm, xmm};
use crate::Cpu;
use crate::float::{self, Lane, Relation, SseEnv};
use crate::memory::Addressing;
use crate::op::{Fault, Flow, Handler, Op, attempt, next};

/// A lane as it lies in a register and in memory.
pub(super) trait LanePart: Lane + Part {}
impl LanePart for u32 {}
impl LanePart for u64 {}

/// What an instruction computes of one lane of each operand.
pub(super) trait LaneOperation {
    /// The lane of the result in the common case, in which nothing is raised; `None` if this is not it.
    #[inline(always)]
    fn quick<L: Lane>(_a: L, _b: L, _imm: u8, _env: &SseEnv) -> Option<L> {
        None
    }
    /// The lane of the result.
    fn apply<L: Lane>(a: L, b: L, imm: u8, env: &mut SseEnv) -> L;
}

/// What an instruction computes of whole registers.
pub(super) trait FloatOperation {
    /// The new value of the first operand in the common case, in which nothing is raised.
    #[inline(always)]
    fn quick(_a: u128, _b: u128, _imm: u8, _env: &SseEnv) -> Option<u128> {
        None
    }
    /// The new value of the first operand.
    fn apply(a: u128, b: u128, imm: u8, env: &mut SseEnv) -> u128;
}

/// COMISS and UCOMISS: which NaNs are invalid.
pub(super) trait Comparison {
    /// How two lanes compare.
    fn relation<L: Lane>(a: L, b: L, env: &mut SseEnv) -> Relation;
}

/// Takes over what an operation did to MXCSR.
#[inline(always)]
pub(super) fn take_exceptions(cpu: &mut Cpu, env: &SseEnv) -> Result<(), Fault> {
    if env.raised() == 0 && env.mxcsr() == cpu.mxcsr { Ok(()) } else { take_raised(cpu, env) }
}

#[cold]
#[inline(never)]
fn take_raised(cpu: &mut Cpu, env: &SseEnv) -> Result<(), Fault> {
    cpu.mxcsr = env.mxcsr();
    if !env.unmasked() {
        Ok(())
    } else if cpu.cr4 & CR4_OSXMMEXCPT != 0 {
        Err(cpu.raise_code(Vector::XM, 0))
    } else {
        Err(cpu.ud())
    }
}

/// The lowest lane of an XMM register.
#[inline(always)]
pub(super) fn low<L: Part>(cpu: &Cpu, register: u8) -> L {
    L::low(xmm(cpu, register))
}

/// Writes the lowest lane; the others stay.
#[inline(always)]
pub(super) fn set_low<L: Part>(cpu: &mut Cpu, register: u8, value: L) {
    let bits = 8 * L::SIZE;
    let full = &mut cpu.xmm[(register & 15) as usize];
    *full = *full >> bits << bits | value.to_xmm();
}

/// A memory operand of any alignment, if it is a hit.
#[inline(always)]
pub(super) fn operand_hit<T: Part, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, op: &Op) -> Option<T> {
    // What faults here faults again in the cold copy.
    let linear = M::linear(cpu, op, T::SIZE, false).ok()?;
    cpu.read_hit(mem, linear)
}

/// A memory operand of any alignment.
#[inline(always)]
pub(super) fn operand<T: Part, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, op: &Op) -> Result<T, Fault> {
    let linear = M::linear(cpu, op, T::SIZE, false)?;
    cpu.read(mem, linear, op.seg)
}

/// A memory operand of 16 bytes that has to be aligned.
#[inline(always)]
pub(super) fn aligned_operand<M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    op: &Op,
) -> Result<u128, Fault> {
    let linear = aligned::<M>(cpu, op, false)?;
    cpu.read(mem, linear, op.seg)
}

// One lane

fn finish_scalar<O: LaneOperation, L: LanePart>(cpu: &mut Cpu, op: &Op, b: L) -> Result<(), Fault> {
    let mut env = SseEnv::new(cpu.mxcsr);
    let result = O::apply(low::<L>(cpu, op.dst), b, op.imm as u8, &mut env);
    take_exceptions(cpu, &env)?;
    set_low(cpu, op.dst, result);
    Ok(())
}

#[inline(always)]
fn quick_scalar<O: LaneOperation, L: LanePart>(cpu: &Cpu, op: &Op, b: L) -> Option<L> {
    O::quick(low::<L>(cpu, op.dst), b, op.imm as u8, &SseEnv::new(cpu.mxcsr))
}

fn scalar_register<O: LaneOperation, L: LanePart>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    if let Some(result) = quick_scalar::<O, L>(cpu, op, low(cpu, op.src)) {
        set_low(cpu, op.dst, result);
        next!(cpu, mem, ops)
    } else {
        scalar_register_careful::<O, L>(cpu, mem, ops)
    }
}

#[cold]
#[inline(never)]
fn scalar_register_careful<O: LaneOperation, L: LanePart>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let b = low::<L>(cpu, ops[0].src);
    attempt!(cpu, ops, finish_scalar::<O, L>(cpu, &ops[0], b));
    next!(cpu, mem, ops)
}

fn scalar_memory<O: LaneOperation, L: LanePart, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let op = &ops[0];
    if let Some(b) = operand_hit::<L, M>(cpu, mem, op)
        && let Some(result) = quick_scalar::<O, L>(cpu, op, b)
    {
        set_low(cpu, op.dst, result);
        next!(cpu, mem, ops)
    } else {
        scalar_memory_careful::<O, L, M>(cpu, mem, ops)
    }
}

#[cold]
#[inline(never)]
fn scalar_memory_careful<O: LaneOperation, L: LanePart, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let b = attempt!(cpu, ops, operand::<L, M>(cpu, mem, &ops[0]));
    attempt!(cpu, ops, finish_scalar::<O, L>(cpu, &ops[0], b));
    next!(cpu, mem, ops)
}

/// The handler of an operation on the lowest lane.
pub(super) fn scalar<O: LaneOperation, L: LanePart>(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op1_kind() == OpKind::Register {
        scalar_register::<O, L>
    } else {
        addressed!(form, scalar_memory, O, L)
    }
}

// Whole registers

/// [`LaneOperation`] `O` on all lanes.
pub(super) struct Packed<O, L>(std::marker::PhantomData<(O, L)>);

impl<O: LaneOperation, L: LanePart> FloatOperation for Packed<O, L> {
    #[inline(always)]
    fn quick(a: u128, b: u128, imm: u8, env: &SseEnv) -> Option<u128> {
        let bits = 8 * L::SIZE as u32;
        let mut result = 0;
        for lane in 0..128 / bits {
            let at = bits * lane;
            result |= O::quick(L::low(a >> at), L::low(b >> at), imm, env)?.to_xmm() << at;
        }
        Some(result)
    }
    #[inline(always)]
    fn apply(a: u128, b: u128, imm: u8, env: &mut SseEnv) -> u128 {
        let bits = 8 * L::SIZE as u32;
        (0..128 / bits).fold(0, |result, lane| {
            let at = bits * lane;
            result | O::apply(L::low(a >> at), L::low(b >> at), imm, env).to_xmm() << at
        })
    }
}

fn finish_full<O: FloatOperation>(cpu: &mut Cpu, op: &Op, b: u128) -> Result<(), Fault> {
    let mut env = SseEnv::new(cpu.mxcsr);
    let result = O::apply(xmm(cpu, op.dst), b, op.imm as u8, &mut env);
    take_exceptions(cpu, &env)?;
    set_xmm(cpu, op.dst, result);
    Ok(())
}

#[inline(always)]
fn quick_full<O: FloatOperation>(cpu: &Cpu, op: &Op, b: u128) -> Option<u128> {
    O::quick(xmm(cpu, op.dst), b, op.imm as u8, &SseEnv::new(cpu.mxcsr))
}

fn full_register<O: FloatOperation>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    if let Some(result) = quick_full::<O>(cpu, op, xmm(cpu, op.src)) {
        set_xmm(cpu, op.dst, result);
        next!(cpu, mem, ops)
    } else {
        full_register_careful::<O>(cpu, mem, ops)
    }
}

#[cold]
#[inline(never)]
fn full_register_careful<O: FloatOperation>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let b = xmm(cpu, ops[0].src);
    attempt!(cpu, ops, finish_full::<O>(cpu, &ops[0], b));
    next!(cpu, mem, ops)
}

fn full_aligned<O: FloatOperation, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    if let Ok(linear) = M::linear(cpu, op, 16, false)
        && linear & 15 == 0
        && let Some(b) = cpu.read_hit::<u128>(mem, linear)
        && let Some(result) = quick_full::<O>(cpu, op, b)
    {
        set_xmm(cpu, op.dst, result);
        next!(cpu, mem, ops)
    } else {
        full_aligned_careful::<O, M>(cpu, mem, ops)
    }
}

#[cold]
#[inline(never)]
fn full_aligned_careful<O: FloatOperation, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let b = attempt!(cpu, ops, aligned_operand::<M>(cpu, mem, &ops[0]));
    attempt!(cpu, ops, finish_full::<O>(cpu, &ops[0], b));
    next!(cpu, mem, ops)
}

fn full_half<O: FloatOperation, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    if let Some(b) = operand_hit::<u64, M>(cpu, mem, op)
        && let Some(result) = quick_full::<O>(cpu, op, u128::from(b))
    {
        set_xmm(cpu, op.dst, result);
        next!(cpu, mem, ops)
    } else {
        full_half_careful::<O, M>(cpu, mem, ops)
    }
}

#[cold]
#[inline(never)]
fn full_half_careful<O: FloatOperation, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let b = attempt!(cpu, ops, operand::<u64, M>(cpu, mem, &ops[0]));
    attempt!(cpu, ops, finish_full::<O>(cpu, &ops[0], u128::from(b)));
    next!(cpu, mem, ops)
}

/// The handler of an operation on whole registers; a memory operand of 16 bytes has to be aligned, one of 8 has not.
pub(super) fn full<O: FloatOperation>(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op1_kind() == OpKind::Register {
        full_register::<O>
    } else if instruction.memory_size().size() == 8 {
        addressed!(form, full_half, O)
    } else {
        addressed!(form, full_aligned, O)
    }
}

/// The handler of an operation on all lanes.
pub(super) fn packed<O: LaneOperation, L: LanePart>(instruction: &Instruction, form: Form) -> Handler {
    full::<Packed<O, L>>(instruction, form)
}

// Comparisons that set the status flags

fn finish_comparison<C: Comparison, L: LanePart>(cpu: &mut Cpu, op: &Op, b: L) -> Result<(), Fault> {
    let mut env = SseEnv::new(cpu.mxcsr);
    let relation = C::relation(low::<L>(cpu, op.dst), b, &mut env);
    take_exceptions(cpu, &env)?;
    set_flags(cpu, relation);
    Ok(())
}

#[inline(always)]
fn set_flags(cpu: &mut Cpu, relation: Relation) {
    cpu.flags.load(u64::from(relation.eflags()));
}

fn comparison_register<C: Comparison, L: LanePart>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    if let Some(relation) = float::quick_relation(low::<L>(cpu, op.dst), low::<L>(cpu, op.src)) {
        set_flags(cpu, relation);
        next!(cpu, mem, ops)
    } else {
        comparison_register_careful::<C, L>(cpu, mem, ops)
    }
}

#[cold]
#[inline(never)]
fn comparison_register_careful<C: Comparison, L: LanePart>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let b = low::<L>(cpu, ops[0].src);
    attempt!(cpu, ops, finish_comparison::<C, L>(cpu, &ops[0], b));
    next!(cpu, mem, ops)
}

fn comparison_memory<C: Comparison, L: LanePart, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let op = &ops[0];
    if let Some(b) = operand_hit::<L, M>(cpu, mem, op)
        && let Some(relation) = float::quick_relation(low::<L>(cpu, op.dst), b)
    {
        set_flags(cpu, relation);
        next!(cpu, mem, ops)
    } else {
        comparison_memory_careful::<C, L, M>(cpu, mem, ops)
    }
}

#[cold]
#[inline(never)]
fn comparison_memory_careful<C: Comparison, L: LanePart, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let b = attempt!(cpu, ops, operand::<L, M>(cpu, mem, &ops[0]));
    attempt!(cpu, ops, finish_comparison::<C, L>(cpu, &ops[0], b));
    next!(cpu, mem, ops)
}

/// The handler of a comparison.
pub(super) fn comparison<C: Comparison, L: LanePart>(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op1_kind() == OpKind::Register {
        comparison_register::<C, L>
    } else {
        addressed!(form, comparison_memory, C, L)
    }
}
