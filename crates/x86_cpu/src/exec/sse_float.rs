//! SSE floating-point arithmetic and comparisons, scalar and packed (SDM 1 10 to 12).
//!
//! What an instruction computes of one lane, a [`LaneOperation`], makes its four forms: of f32 or f64, scalar or packed. All
//! lanes of a packed form share one [`SseEnv`]. MXCSR is written, and #XM raised, before the destination is. The handlers are in
//! [`super::sse_float_forms`].

use iced_x86::{Code, Instruction};

use super::sse::sse_fault;
use super::sse_float_forms::{Comparison, LaneOperation, comparison, packed, scalar};
use super::{Form, sse_float_convert};
use crate::float::{self, Lane, Operation, Relation, SseEnv};
use crate::op::Handler;

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

/// Makes an operation of `|a, b, imm, env| ...` on whole registers and gives its handler.
macro_rules! float_operation {
    (($instruction:ident, $form:ident), $function:expr) => {{
        struct Operation;
        impl $crate::exec::sse_float_forms::FloatOperation for Operation {
            #[inline(always)]
            fn apply(a: u128, b: u128, imm: u8, env: &mut $crate::float::SseEnv) -> u128 {
                let function: fn(u128, u128, u8, &mut $crate::float::SseEnv) -> u128 = $function;
                function(a, b, imm, env)
            }
        }
        $crate::exec::sse_float_forms::full::<Operation>($instruction, $form)
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
