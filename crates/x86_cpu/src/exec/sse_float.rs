//! SSE floating-point arithmetic and comparisons, scalar and packed (SDM 1 10 to 12).
//!
//! What an instruction computes of one lane, a [`LaneOperation`], makes its four forms: of f32 or f64, scalar or packed. All
//! lanes of a packed form share one [`SseEnv`]. MXCSR is written, and #XM raised, before the destination is.

use guest_memory::GuestMemory;
use iced_x86::{Code, Instruction, OpKind};
use x86_defs::Vector;
use x86_defs::control::CR4_OSXMMEXCPT;

use super::operand::addressed;
use super::sse::{Part, aligned, set_xmm, sse_fault, xmm};
use super::{Form, sse_float_convert};
use crate::Cpu;
use crate::float::{self, Lane, Operation, Relation, SseEnv};
use crate::memory::Addressing;
use crate::op::{Fault, Flow, Handler, Op, attempt, next};

/// A lane as it lies in a register and in memory.
pub(super) trait LanePart: Lane + Part {}
impl LanePart for u32 {}
impl LanePart for u64 {}

/// What an instruction computes of one lane of each operand.
trait LaneOperation {
    /// The lane of the result in the common case, in which nothing is raised; `None` if this is not it. Handlers whose common
    /// case calls no function save no registers.
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

/// `Name: quick |a, b, imm, env| ..., |a, b, imm, env| ...;`, the first part only where there is a common case.
macro_rules! lane_operations {
    ($($name:ident:
        $(quick |$qa:pat_param, $qb:pat_param, $qi:pat_param, $qe:pat_param| $quick:expr,)?
        |$a:pat_param, $b:pat_param, $imm:pat_param, $env:pat_param| $value:expr;)*) => {$(
        struct $name;
        impl LaneOperation for $name {
            $(
                #[inline(always)]
                fn quick<L: Lane>($qa: L, $qb: L, $qi: u8, $qe: &SseEnv) -> Option<L> {
                    $quick
                }
            )?
            #[inline(always)]
            fn apply<L: Lane>($a: L, $b: L, $imm: u8, $env: &mut SseEnv) -> L {
                $value
            }
        }
    )*};
}

lane_operations! {
    Add: quick |a, b, _, env| float::quick(Operation::Add, a, b, env), |a, b, _, env| float::add(a, b, env);
    Sub: quick |a, b, _, env| float::quick(Operation::Sub, a, b, env), |a, b, _, env| float::sub(a, b, env);
    Mul: quick |a, b, _, env| float::quick(Operation::Mul, a, b, env), |a, b, _, env| float::mul(a, b, env);
    Div: quick |a, b, _, env| float::quick(Operation::Div, a, b, env), |a, b, _, env| float::div(a, b, env);
    Min: quick |a, b, _, _| quick_choice(a, b, Relation::Less), |a, b, _, env| float::min(a, b, env);
    Max: quick |a, b, _, _| quick_choice(a, b, Relation::Greater), |a, b, _, env| float::max(a, b, env);
    Sqrt: quick |_, b, _, env| float::quick_sqrt(b, env), |_, b, _, env| float::sqrt(b, env);
    Compare: quick |a, b, imm, _| quick_predicate(a, b, imm),
        |a, b, imm, env| float::compare_predicate(a, b, imm, env);
    Round: |_, b, imm, env| float::round_to_integer(b, imm, env);
    Reciprocal: |_, b, _, _| L::from_wide(float::reciprocal(b.to_wide() as u32).into());
    ReciprocalRoot: |_, b, _, _| L::from_wide(float::reciprocal_square_root(b.to_wide() as u32).into());
}

/// MIN and MAX: the first operand if it has this relation to the second.
#[inline(always)]
fn quick_choice<L: Lane>(a: L, b: L, first: Relation) -> Option<L> {
    let relation = float::quick_relation(a, b)?;
    Some(if relation == first { a } else { b })
}

#[inline(always)]
fn quick_predicate<L: Lane>(a: L, b: L, predicate: u8) -> Option<L> {
    Some(float::predicate_mask(float::quick_relation(a, b)?, predicate))
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

/// The whole of a scalar operation where the common case is not met.
#[cold]
#[inline(never)]
fn finish_scalar<O: LaneOperation, L: LanePart>(cpu: &mut Cpu, op: &Op, b: L) -> Result<(), Fault> {
    let mut env = SseEnv::new(cpu.mxcsr);
    let result = O::apply(low::<L>(cpu, op.dst), b, op.imm as u8, &mut env);
    take_exceptions(cpu, &env)?;
    set_low(cpu, op.dst, result);
    Ok(())
}

fn scalar_register<O: LaneOperation, L: LanePart>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let (a, b) = (low::<L>(cpu, op.dst), low::<L>(cpu, op.src));
    match O::quick(a, b, op.imm as u8, &SseEnv::new(cpu.mxcsr)) {
        Some(result) => {
            set_low(cpu, op.dst, result);
            next!(cpu, mem, ops)
        }
        None => scalar_register_careful::<O, L>(cpu, mem, ops),
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
    let linear = attempt!(cpu, ops, M::linear(cpu, op, L::SIZE, false));
    let b = attempt!(cpu, ops, cpu.read::<L>(mem, linear, op.seg));
    match O::quick(low::<L>(cpu, op.dst), b, op.imm as u8, &SseEnv::new(cpu.mxcsr)) {
        Some(result) => set_low(cpu, op.dst, result),
        None => attempt!(cpu, ops, finish_scalar::<O, L>(cpu, op, b)),
    }
    next!(cpu, mem, ops)
}

fn scalar<O: LaneOperation, L: LanePart>(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op1_kind() == OpKind::Register {
        scalar_register::<O, L>
    } else {
        addressed!(form, scalar_memory, O, L)
    }
}

/// [`LaneOperation`] `O` on all lanes.
struct Packed<O, L>(std::marker::PhantomData<(O, L)>);

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

/// The whole of an operation where the common case is not met.
#[cold]
#[inline(never)]
fn finish_full<O: FloatOperation>(cpu: &mut Cpu, op: &Op, b: u128) -> Result<(), Fault> {
    let mut env = SseEnv::new(cpu.mxcsr);
    let result = O::apply(xmm(cpu, op.dst), b, op.imm as u8, &mut env);
    take_exceptions(cpu, &env)?;
    set_xmm(cpu, op.dst, result);
    Ok(())
}

fn full_register<O: FloatOperation>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    match O::quick(xmm(cpu, op.dst), xmm(cpu, op.src), op.imm as u8, &SseEnv::new(cpu.mxcsr)) {
        Some(result) => {
            set_xmm(cpu, op.dst, result);
            next!(cpu, mem, ops)
        }
        None => full_register_careful::<O>(cpu, mem, ops),
    }
}

#[cold]
#[inline(never)]
fn full_register_careful<O: FloatOperation>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let b = xmm(cpu, ops[0].src);
    attempt!(cpu, ops, finish_full::<O>(cpu, &ops[0], b));
    next!(cpu, mem, ops)
}

#[inline(always)]
fn full_with<O: FloatOperation>(cpu: &mut Cpu, op: &Op, b: u128) -> Result<(), Fault> {
    match O::quick(xmm(cpu, op.dst), b, op.imm as u8, &SseEnv::new(cpu.mxcsr)) {
        Some(result) => {
            set_xmm(cpu, op.dst, result);
            Ok(())
        }
        None => finish_full::<O>(cpu, op, b),
    }
}

fn full_aligned<O: FloatOperation, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, aligned::<M>(cpu, op, false));
    let b = attempt!(cpu, ops, cpu.read::<u128>(mem, linear, op.seg));
    attempt!(cpu, ops, full_with::<O>(cpu, op, b));
    next!(cpu, mem, ops)
}

fn full_half<O: FloatOperation, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, 8, false));
    let b = attempt!(cpu, ops, cpu.read::<u64>(mem, linear, op.seg));
    attempt!(cpu, ops, full_with::<O>(cpu, op, u128::from(b)));
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

fn packed<O: LaneOperation, L: LanePart>(instruction: &Instruction, form: Form) -> Handler {
    full::<Packed<O, L>>(instruction, form)
}

/// Makes an operation of `|a, b, imm, env| ...` on whole registers and gives its handler.
macro_rules! float_operation {
    (($instruction:ident, $form:ident), $function:expr) => {{
        struct Operation;
        impl $crate::exec::sse_float::FloatOperation for Operation {
            #[inline(always)]
            fn apply(a: u128, b: u128, imm: u8, env: &mut $crate::float::SseEnv) -> u128 {
                let function: fn(u128, u128, u8, &mut $crate::float::SseEnv) -> u128 = $function;
                function(a, b, imm, env)
            }
        }
        $crate::exec::sse_float::full::<Operation>($instruction, $form)
    }};
}
pub(super) use float_operation;

/// The four lanes of f32.
pub(super) fn singles(value: u128) -> [u32; 4] {
    [0, 32, 64, 96].map(|at| (value >> at) as u32)
}

/// The two lanes of f64.
pub(super) fn doubles(value: u128) -> [u64; 2] {
    [value as u64, (value >> 64) as u64]
}

/// From lanes of f32.
pub(super) fn from_singles(lanes: [u32; 4]) -> u128 {
    lanes.into_iter().rev().fold(0, |value, lane| value << 32 | u128::from(lane))
}

/// From lanes of f64.
pub(super) fn from_doubles([low, high]: [u64; 2]) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

/// COMISS and UCOMISS: which NaNs are invalid.
trait Comparison {
    fn relation<L: Lane>(a: L, b: L, env: &mut SseEnv) -> Relation;
}
struct Ordered;
impl Comparison for Ordered {
    #[inline(always)]
    fn relation<L: Lane>(a: L, b: L, env: &mut SseEnv) -> Relation {
        float::compare_ordered(a, b, env)
    }
}
struct Unordered;
impl Comparison for Unordered {
    #[inline(always)]
    fn relation<L: Lane>(a: L, b: L, env: &mut SseEnv) -> Relation {
        float::compare_unordered(a, b, env)
    }
}

#[cold]
#[inline(never)]
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
    match float::quick_relation(low::<L>(cpu, op.dst), low::<L>(cpu, op.src)) {
        Some(relation) => {
            set_flags(cpu, relation);
            next!(cpu, mem, ops)
        }
        None => comparison_register_careful::<C, L>(cpu, mem, ops),
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
    let linear = attempt!(cpu, ops, M::linear(cpu, op, L::SIZE, false));
    let b = attempt!(cpu, ops, cpu.read::<L>(mem, linear, op.seg));
    match float::quick_relation(low::<L>(cpu, op.dst), b) {
        Some(relation) => set_flags(cpu, relation),
        None => attempt!(cpu, ops, finish_comparison::<C, L>(cpu, op, b)),
    }
    next!(cpu, mem, ops)
}

fn comparison<C: Comparison, L: LanePart>(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op1_kind() == OpKind::Register {
        comparison_register::<C, L>
    } else {
        addressed!(form, comparison_memory, C, L)
    }
}

/// Sums and differences of neighbours: the first operand's make the lower half.
fn horizontal_singles(a: u128, b: u128, env: &mut SseEnv, f: fn(u32, u32, &mut SseEnv) -> u32) -> u128 {
    let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (singles(a), singles(b));
    from_singles([f(a0, a1, env), f(a2, a3, env), f(b0, b1, env), f(b2, b3, env)])
}

fn horizontal_doubles(a: u128, b: u128, env: &mut SseEnv, f: fn(u64, u64, &mut SseEnv) -> u64) -> u128 {
    let ([a0, a1], [b0, b1]) = (doubles(a), doubles(b));
    from_doubles([f(a0, a1, env), f(b0, b1, env)])
}

fn scalar_forms(i: &Instruction, form: Form) -> Option<Handler> {
    Some(match i.code() {
        Code::Addss_xmm_xmmm32 => scalar::<Add, u32>(i, form),
        Code::Addsd_xmm_xmmm64 => scalar::<Add, u64>(i, form),
        Code::Subss_xmm_xmmm32 => scalar::<Sub, u32>(i, form),
        Code::Subsd_xmm_xmmm64 => scalar::<Sub, u64>(i, form),
        Code::Mulss_xmm_xmmm32 => scalar::<Mul, u32>(i, form),
        Code::Mulsd_xmm_xmmm64 => scalar::<Mul, u64>(i, form),
        Code::Divss_xmm_xmmm32 => scalar::<Div, u32>(i, form),
        Code::Divsd_xmm_xmmm64 => scalar::<Div, u64>(i, form),
        Code::Minss_xmm_xmmm32 => scalar::<Min, u32>(i, form),
        Code::Minsd_xmm_xmmm64 => scalar::<Min, u64>(i, form),
        Code::Maxss_xmm_xmmm32 => scalar::<Max, u32>(i, form),
        Code::Maxsd_xmm_xmmm64 => scalar::<Max, u64>(i, form),
        Code::Sqrtss_xmm_xmmm32 => scalar::<Sqrt, u32>(i, form),
        Code::Sqrtsd_xmm_xmmm64 => scalar::<Sqrt, u64>(i, form),
        Code::Cmpss_xmm_xmmm32_imm8 => scalar::<Compare, u32>(i, form),
        Code::Cmpsd_xmm_xmmm64_imm8 => scalar::<Compare, u64>(i, form),
        Code::Roundss_xmm_xmmm32_imm8 => scalar::<Round, u32>(i, form),
        Code::Roundsd_xmm_xmmm64_imm8 => scalar::<Round, u64>(i, form),
        Code::Rcpss_xmm_xmmm32 => scalar::<Reciprocal, u32>(i, form),
        Code::Rsqrtss_xmm_xmmm32 => scalar::<ReciprocalRoot, u32>(i, form),
        Code::Comiss_xmm_xmmm32 => comparison::<Ordered, u32>(i, form),
        Code::Comisd_xmm_xmmm64 => comparison::<Ordered, u64>(i, form),
        Code::Ucomiss_xmm_xmmm32 => comparison::<Unordered, u32>(i, form),
        Code::Ucomisd_xmm_xmmm64 => comparison::<Unordered, u64>(i, form),
        _ => return None,
    })
}

fn packed_forms(i: &Instruction, form: Form) -> Option<Handler> {
    Some(match i.code() {
        Code::Addps_xmm_xmmm128 => packed::<Add, u32>(i, form),
        Code::Addpd_xmm_xmmm128 => packed::<Add, u64>(i, form),
        Code::Subps_xmm_xmmm128 => packed::<Sub, u32>(i, form),
        Code::Subpd_xmm_xmmm128 => packed::<Sub, u64>(i, form),
        Code::Mulps_xmm_xmmm128 => packed::<Mul, u32>(i, form),
        Code::Mulpd_xmm_xmmm128 => packed::<Mul, u64>(i, form),
        Code::Divps_xmm_xmmm128 => packed::<Div, u32>(i, form),
        Code::Divpd_xmm_xmmm128 => packed::<Div, u64>(i, form),
        Code::Minps_xmm_xmmm128 => packed::<Min, u32>(i, form),
        Code::Minpd_xmm_xmmm128 => packed::<Min, u64>(i, form),
        Code::Maxps_xmm_xmmm128 => packed::<Max, u32>(i, form),
        Code::Maxpd_xmm_xmmm128 => packed::<Max, u64>(i, form),
        Code::Sqrtps_xmm_xmmm128 => packed::<Sqrt, u32>(i, form),
        Code::Sqrtpd_xmm_xmmm128 => packed::<Sqrt, u64>(i, form),
        Code::Cmpps_xmm_xmmm128_imm8 => packed::<Compare, u32>(i, form),
        Code::Cmppd_xmm_xmmm128_imm8 => packed::<Compare, u64>(i, form),
        Code::Roundps_xmm_xmmm128_imm8 => packed::<Round, u32>(i, form),
        Code::Roundpd_xmm_xmmm128_imm8 => packed::<Round, u64>(i, form),
        Code::Rcpps_xmm_xmmm128 => packed::<Reciprocal, u32>(i, form),
        Code::Rsqrtps_xmm_xmmm128 => packed::<ReciprocalRoot, u32>(i, form),
        Code::Haddps_xmm_xmmm128 => {
            float_operation!((i, form), |a, b, _, env| horizontal_singles(a, b, env, float::add))
        }
        Code::Haddpd_xmm_xmmm128 => {
            float_operation!((i, form), |a, b, _, env| horizontal_doubles(a, b, env, float::add))
        }
        Code::Hsubps_xmm_xmmm128 => {
            float_operation!((i, form), |a, b, _, env| horizontal_singles(a, b, env, float::sub))
        }
        Code::Hsubpd_xmm_xmmm128 => {
            float_operation!((i, form), |a, b, _, env| horizontal_doubles(a, b, env, float::sub))
        }
        Code::Addsubps_xmm_xmmm128 => float_operation!((i, form), |a, b, _, env| {
            let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (singles(a), singles(b));
            from_singles([
                float::sub(a0, b0, env),
                float::add(a1, b1, env),
                float::sub(a2, b2, env),
                float::add(a3, b3, env),
            ])
        }),
        Code::Addsubpd_xmm_xmmm128 => float_operation!((i, form), |a, b, _, env| {
            let ([a0, a1], [b0, b1]) = (doubles(a), doubles(b));
            from_doubles([float::sub(a0, b0, env), float::add(a1, b1, env)])
        }),
        // Where an unmasked exception ended the operation, the value is not stored.
        Code::Dpps_xmm_xmmm128_imm8 => float_operation!((i, form), |a, b, imm, env| {
            float::dot_product_f32(singles(a), singles(b), imm, env).map_or(a, from_singles)
        }),
        Code::Dppd_xmm_xmmm128_imm8 => float_operation!((i, form), |a, b, imm, env| {
            float::dot_product_f64(doubles(a), doubles(b), imm, env).map_or(a, from_doubles)
        }),
        _ => return None,
    })
}

/// The handlers of SSE floating-point instructions.
pub(crate) fn lower(instruction: &Instruction, form: Form) -> Option<Handler> {
    let handler = scalar_forms(instruction, form)
        .or_else(|| packed_forms(instruction, form))
        .or_else(|| sse_float_convert::lower(instruction, form))?;
    Some(sse_fault(form.mode).unwrap_or(handler))
}
