//! Conversions between floating-point lanes, integers in general-purpose, XMM and MMX registers, and lanes of the other size.

use guest_memory::GuestMemory;
use iced_x86::{Code, Instruction, OpKind};

use super::operand::{Int, addressed};
use super::sse::{Part, set_xmm, xmm};
use super::sse_float::{doubles, float_operation, from_doubles, from_singles, singles};
use super::sse_float_forms::{
    FloatOperation, aligned_operand, low, operand, operand_hit, set_low, take_exceptions,
};
use super::{Form, mmx};
use crate::Cpu;
use crate::float::{self, SseEnv};
use crate::memory::Addressing;
use crate::op::{Fault, Flow, Handler, Op, attempt, next};

/// A conversion of one value into another.
trait Convert {
    type From: Part;
    type To: Part;
    /// The result in the common case, in which nothing is raised.
    fn quick(from: Self::From, env: &SseEnv) -> Option<Self::To>;
    fn apply(from: Self::From, env: &mut SseEnv) -> Self::To;
}

macro_rules! conversions {
    ($($name:ident: $from:ty => $to:ty, |$value:ident, $env:ident| $quick:expr, $result:expr;)*) => {$(
        struct $name;
        impl Convert for $name {
            type From = $from;
            type To = $to;
            #[inline(always)]
            fn quick($value: $from, $env: &SseEnv) -> Option<$to> {
                $quick
            }
            #[inline(always)]
            fn apply($value: $from, $env: &mut SseEnv) -> $to {
                $result
            }
        }
    )*};
}

conversions! {
    SingleToDouble: u32 => u64, |a, _env| float::quick_f32_to_f64(a), float::f32_to_f64(a, _env);
    DoubleToSingle: u64 => u32, |a, env| float::quick_f64_to_f32(a, env), float::f64_to_f32(a, env);
    Int32ToSingle: u32 => u32, |a, env| float::quick_from_i32(a.cast_signed(), env), float::from_i32(a.cast_signed(), env);
    Int32ToDouble: u32 => u64, |a, env| float::quick_from_i32(a.cast_signed(), env), float::from_i32(a.cast_signed(), env);
    Int64ToSingle: u64 => u32, |a, env| float::quick_from_i64(a.cast_signed(), env), float::from_i64(a.cast_signed(), env);
    Int64ToDouble: u64 => u64, |a, env| float::quick_from_i64(a.cast_signed(), env), float::from_i64(a.cast_signed(), env);
    SingleToInt32: u32 => u32, |a, env| unsigned(float::quick_to_i32(a, env)), float::to_i32(a, env).cast_unsigned();
    SingleToInt64: u32 => u64, |a, env| unsigned_64(float::quick_to_i64(a, env)), float::to_i64(a, env).cast_unsigned();
    DoubleToInt32: u64 => u32, |a, env| unsigned(float::quick_to_i32(a, env)), float::to_i32(a, env).cast_unsigned();
    DoubleToInt64: u64 => u64, |a, env| unsigned_64(float::quick_to_i64(a, env)), float::to_i64(a, env).cast_unsigned();
    SingleToInt32Truncated: u32 => u32,
        |a, env| unsigned(float::quick_to_i32_truncated(a, env)), float::to_i32_truncated(a, env).cast_unsigned();
    SingleToInt64Truncated: u32 => u64,
        |a, env| unsigned_64(float::quick_to_i64_truncated(a, env)), float::to_i64_truncated(a, env).cast_unsigned();
    DoubleToInt32Truncated: u64 => u32,
        |a, env| unsigned(float::quick_to_i32_truncated(a, env)), float::to_i32_truncated(a, env).cast_unsigned();
    DoubleToInt64Truncated: u64 => u64,
        |a, env| unsigned_64(float::quick_to_i64_truncated(a, env)), float::to_i64_truncated(a, env).cast_unsigned();
}

#[inline(always)]
fn unsigned(value: Option<i32>) -> Option<u32> {
    value.map(i32::cast_unsigned)
}

#[inline(always)]
fn unsigned_64(value: Option<i64>) -> Option<u64> {
    value.map(i64::cast_unsigned)
}

fn convert_careful<C: Convert>(cpu: &mut Cpu, from: C::From) -> Result<C::To, Fault> {
    let mut env = SseEnv::new(cpu.mxcsr);
    let result = C::apply(from, &mut env);
    take_exceptions(cpu, &env)?;
    Ok(result)
}

fn xmm_to_xmm<C: Convert>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let from = low::<C::From>(cpu, ops[0].src);
    match C::quick(from, &SseEnv::new(cpu.mxcsr)) {
        Some(result) => {
            set_low(cpu, ops[0].dst, result);
            next!(cpu, mem, ops)
        }
        None => careful_to_xmm::<C>(cpu, mem, ops, from),
    }
}

/// Handlers end here where the common case is not met; the rest of them calls no function.
#[cold]
#[inline(never)]
fn careful_to_xmm<C: Convert>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op], from: C::From) -> Flow {
    let result = attempt!(cpu, ops, convert_careful::<C>(cpu, from));
    set_low(cpu, ops[0].dst, result);
    next!(cpu, mem, ops)
}

#[cold]
#[inline(never)]
fn careful_to_general<C: Convert<To: Int>>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
    from: C::From,
) -> Flow {
    let result = attempt!(cpu, ops, convert_careful::<C>(cpu, from));
    C::To::set(cpu, ops[0].dst, result);
    next!(cpu, mem, ops)
}

fn memory_to_xmm<C: Convert, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    if let Some(from) = operand_hit::<C::From, M>(cpu, mem, &ops[0])
        && let Some(result) = C::quick(from, &SseEnv::new(cpu.mxcsr))
    {
        set_low(cpu, ops[0].dst, result);
        next!(cpu, mem, ops)
    } else {
        memory_to_xmm_careful::<C, M>(cpu, mem, ops)
    }
}

#[cold]
#[inline(never)]
fn memory_to_xmm_careful<C: Convert, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let from = attempt!(cpu, ops, operand::<C::From, M>(cpu, mem, &ops[0]));
    careful_to_xmm::<C>(cpu, mem, ops, from)
}

fn general_to_xmm<C: Convert<From: Int>>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let from = C::From::get(cpu, ops[0].src);
    match C::quick(from, &SseEnv::new(cpu.mxcsr)) {
        Some(result) => {
            set_low(cpu, ops[0].dst, result);
            next!(cpu, mem, ops)
        }
        None => careful_to_xmm::<C>(cpu, mem, ops, from),
    }
}

fn xmm_to_general<C: Convert<To: Int>>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let from = low::<C::From>(cpu, ops[0].src);
    match C::quick(from, &SseEnv::new(cpu.mxcsr)) {
        Some(result) => {
            C::To::set(cpu, ops[0].dst, result);
            next!(cpu, mem, ops)
        }
        None => careful_to_general::<C>(cpu, mem, ops, from),
    }
}

fn memory_to_general<C: Convert<To: Int>, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    if let Some(from) = operand_hit::<C::From, M>(cpu, mem, &ops[0])
        && let Some(result) = C::quick(from, &SseEnv::new(cpu.mxcsr))
    {
        C::To::set(cpu, ops[0].dst, result);
        next!(cpu, mem, ops)
    } else {
        memory_to_general_careful::<C, M>(cpu, mem, ops)
    }
}

#[cold]
#[inline(never)]
fn memory_to_general_careful<C: Convert<To: Int>, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let from = attempt!(cpu, ops, operand::<C::From, M>(cpu, mem, &ops[0]));
    careful_to_general::<C>(cpu, mem, ops, from)
}

fn between_lanes<C: Convert>(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op1_kind() == OpKind::Register {
        xmm_to_xmm::<C>
    } else {
        addressed!(form, memory_to_xmm, C)
    }
}

fn from_general<C: Convert<From: Int>>(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op1_kind() == OpKind::Register {
        general_to_xmm::<C>
    } else {
        addressed!(form, memory_to_xmm, C)
    }
}

fn to_general<C: Convert<To: Int>>(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op1_kind() == OpKind::Register {
        xmm_to_general::<C>
    } else {
        addressed!(form, memory_to_general, C)
    }
}

fn scalar_forms(i: &Instruction, form: Form) -> Option<Handler> {
    Some(match i.code() {
        Code::Cvtss2sd_xmm_xmmm32 => between_lanes::<SingleToDouble>(i, form),
        Code::Cvtsd2ss_xmm_xmmm64 => between_lanes::<DoubleToSingle>(i, form),
        Code::Cvtsi2ss_xmm_rm32 => from_general::<Int32ToSingle>(i, form),
        Code::Cvtsi2ss_xmm_rm64 => from_general::<Int64ToSingle>(i, form),
        Code::Cvtsi2sd_xmm_rm32 => from_general::<Int32ToDouble>(i, form),
        Code::Cvtsi2sd_xmm_rm64 => from_general::<Int64ToDouble>(i, form),
        Code::Cvtss2si_r32_xmmm32 => to_general::<SingleToInt32>(i, form),
        Code::Cvtss2si_r64_xmmm32 => to_general::<SingleToInt64>(i, form),
        Code::Cvtsd2si_r32_xmmm64 => to_general::<DoubleToInt32>(i, form),
        Code::Cvtsd2si_r64_xmmm64 => to_general::<DoubleToInt64>(i, form),
        Code::Cvttss2si_r32_xmmm32 => to_general::<SingleToInt32Truncated>(i, form),
        Code::Cvttss2si_r64_xmmm32 => to_general::<SingleToInt64Truncated>(i, form),
        Code::Cvttsd2si_r32_xmmm64 => to_general::<DoubleToInt32Truncated>(i, form),
        Code::Cvttsd2si_r64_xmmm64 => to_general::<DoubleToInt64Truncated>(i, form),
        _ => return None,
    })
}

/// Two lanes of f64 or integers that become two of half the size, in the lower half.
fn narrow<C: Convert<From = u64, To = u32>>(value: u128, env: &mut SseEnv) -> u128 {
    let [low, high] = doubles(value).map(|lane| C::apply(lane, env));
    u128::from(high) << 32 | u128::from(low)
}

/// The two lower lanes of f32 or integers, which become two of twice the size.
fn widen<C: Convert<From = u32, To = u64>>(value: u128, env: &mut SseEnv) -> u128 {
    let [low, high, _, _] = singles(value);
    from_doubles([C::apply(low, env), C::apply(high, env)])
}

/// Four lanes.
fn same<C: Convert<From = u32, To = u32>>(value: u128, env: &mut SseEnv) -> u128 {
    from_singles(singles(value).map(|lane| C::apply(lane, env)))
}

/// Two lanes of f32 from the two lower lanes; the upper half is not looked at.
fn same_half<C: Convert<From = u32, To = u32>>(value: u128, env: &mut SseEnv) -> u128 {
    let [low, high, _, _] = singles(value);
    let (low, high) = (C::apply(low, env), C::apply(high, env));
    u128::from(high) << 32 | u128::from(low)
}

fn packed_forms(i: &Instruction, form: Form) -> Option<Handler> {
    Some(match i.code() {
        Code::Cvtps2pd_xmm_xmmm64 => {
            float_operation!((i, form), |_, b, _, env| widen::<SingleToDouble>(b, env))
        }
        Code::Cvtdq2pd_xmm_xmmm64 => {
            float_operation!((i, form), |_, b, _, env| widen::<Int32ToDouble>(b, env))
        }
        Code::Cvtpd2ps_xmm_xmmm128 => {
            float_operation!((i, form), |_, b, _, env| narrow::<DoubleToSingle>(b, env))
        }
        Code::Cvtpd2dq_xmm_xmmm128 => {
            float_operation!((i, form), |_, b, _, env| narrow::<DoubleToInt32>(b, env))
        }
        Code::Cvttpd2dq_xmm_xmmm128 => {
            float_operation!((i, form), |_, b, _, env| narrow::<DoubleToInt32Truncated>(b, env))
        }
        Code::Cvtdq2ps_xmm_xmmm128 => {
            float_operation!((i, form), |_, b, _, env| same::<Int32ToSingle>(b, env))
        }
        Code::Cvtps2dq_xmm_xmmm128 => {
            float_operation!((i, form), |_, b, _, env| same::<SingleToInt32>(b, env))
        }
        Code::Cvttps2dq_xmm_xmmm128 => {
            float_operation!((i, form), |_, b, _, env| same::<SingleToInt32Truncated>(b, env))
        }
        _ => return None,
    })
}

/// An operation on whole registers that has an MMX register on one side.
fn apply<O: FloatOperation>(cpu: &mut Cpu, a: u128, b: u128) -> Result<u128, Fault> {
    let mut env = SseEnv::new(cpu.mxcsr);
    let result = O::apply(a, b, 0, &mut env);
    take_exceptions(cpu, &env)?;
    Ok(result)
}

/// CVTPI2PS and CVTPI2PD from an MMX register.
fn mmx_to_xmm<O: FloatOperation>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, mmx::check_pending(cpu));
    let (a, b) = (xmm(cpu, op.dst), u128::from(cpu.x87.mmx(op.src)));
    let result = attempt!(cpu, ops, apply::<O>(cpu, a, b));
    cpu.x87.enter_mmx();
    set_xmm(cpu, op.dst, result);
    next!(cpu, mem, ops)
}

/// CVTPI2PS from memory: an MMX instruction all the same (SDM 2 CVTPI2PS).
fn memory_to_xmm_as_mmx<O: FloatOperation, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, mmx::check_pending(cpu));
    let b = attempt!(cpu, ops, operand::<u64, M>(cpu, mem, op));
    let result = attempt!(cpu, ops, apply::<O>(cpu, xmm(cpu, op.dst), u128::from(b)));
    cpu.x87.enter_mmx();
    set_xmm(cpu, op.dst, result);
    next!(cpu, mem, ops)
}

/// Stores the result of a conversion to an MMX register.
fn finish_mmx<O: FloatOperation>(cpu: &mut Cpu, op: &Op, b: u128) -> Result<(), Fault> {
    let result = apply::<O>(cpu, 0, b)?;
    cpu.x87.enter_mmx();
    cpu.x87.set_mmx(op.dst, result as u64);
    Ok(())
}

fn xmm_to_mmx<O: FloatOperation>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    attempt!(cpu, ops, mmx::check_pending(cpu));
    let b = xmm(cpu, ops[0].src);
    attempt!(cpu, ops, finish_mmx::<O>(cpu, &ops[0], b));
    next!(cpu, mem, ops)
}

fn half_to_mmx<O: FloatOperation, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    attempt!(cpu, ops, mmx::check_pending(cpu));
    let b = attempt!(cpu, ops, operand::<u64, M>(cpu, mem, &ops[0]));
    attempt!(cpu, ops, finish_mmx::<O>(cpu, &ops[0], u128::from(b)));
    next!(cpu, mem, ops)
}

fn aligned_to_mmx<O: FloatOperation, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    attempt!(cpu, ops, mmx::check_pending(cpu));
    let b = attempt!(cpu, ops, aligned_operand::<M>(cpu, mem, &ops[0]));
    attempt!(cpu, ops, finish_mmx::<O>(cpu, &ops[0], b));
    next!(cpu, mem, ops)
}

macro_rules! mmx_conversions {
    ($($name:ident: |$a:ident, $b:ident, $env:ident| $result:expr;)*) => {$(
        struct $name;
        impl FloatOperation for $name {
            #[inline(always)]
            fn apply($a: u128, $b: u128, _imm: u8, $env: &mut SseEnv) -> u128 {
                $result
            }
        }
    )*};
}

mmx_conversions! {
    IntsToSingles: |a, b, env| a >> 64 << 64 | same_half::<Int32ToSingle>(b, env);
    IntsToDoubles: |_a, b, env| widen::<Int32ToDouble>(b, env);
    SinglesToInts: |_a, b, env| same_half::<SingleToInt32>(b, env);
    SinglesToIntsTruncated: |_a, b, env| same_half::<SingleToInt32Truncated>(b, env);
    DoublesToInts: |_a, b, env| narrow::<DoubleToInt32>(b, env);
    DoublesToIntsTruncated: |_a, b, env| narrow::<DoubleToInt32Truncated>(b, env);
}

fn to_mmx<O: FloatOperation>(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op1_kind() == OpKind::Register {
        xmm_to_mmx::<O>
    } else if instruction.memory_size().size() == 8 {
        addressed!(form, half_to_mmx, O)
    } else {
        addressed!(form, aligned_to_mmx, O)
    }
}

fn mmx_forms(i: &Instruction, form: Form) -> Option<Handler> {
    let register = i.op1_kind() == OpKind::Register;
    Some(match i.code() {
        Code::Cvtpi2ps_xmm_mmm64 if register => mmx_to_xmm::<IntsToSingles>,
        Code::Cvtpi2ps_xmm_mmm64 => addressed!(form, memory_to_xmm_as_mmx, IntsToSingles),
        Code::Cvtpi2pd_xmm_mmm64 if register => mmx_to_xmm::<IntsToDoubles>,
        // From memory it leaves the x87 state alone (SDM 2 CVTPI2PD).
        Code::Cvtpi2pd_xmm_mmm64 => {
            float_operation!((i, form), |_, b, _, env| widen::<Int32ToDouble>(b, env))
        }
        Code::Cvtps2pi_mm_xmmm64 => to_mmx::<SinglesToInts>(i, form),
        Code::Cvttps2pi_mm_xmmm64 => to_mmx::<SinglesToIntsTruncated>(i, form),
        Code::Cvtpd2pi_mm_xmmm128 => to_mmx::<DoublesToInts>(i, form),
        Code::Cvttpd2pi_mm_xmmm128 => to_mmx::<DoublesToIntsTruncated>(i, form),
        _ => return None,
    })
}

/// The handlers of conversions.
pub(super) fn lower(instruction: &Instruction, form: Form) -> Option<Handler> {
    scalar_forms(instruction, form)
        .or_else(|| packed_forms(instruction, form))
        .or_else(|| mmx_forms(instruction, form))
}
