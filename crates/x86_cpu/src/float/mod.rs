//! The arithmetic of x87, SSE, SSE2, SSE3 and SSE4.1, as functions of bit patterns and an environment.
//!
//! Nothing here knows the processor: an operation takes the bits of its operands and a [`SseEnv`] or [`X87Env`] that holds
//! the control bits and collects the exception flags, and returns the bits of its result. The caller asks the environment
//! whether an unmasked exception occurred before it writes a destination.
//!
//! Results do not depend on the host. Only operations that IEEE 754 rounds exactly (`+ - * /`, square root, conversions) are
//! ever left to the host's own floating point, always rounding to nearest and only for operands and results that are plain
//! normal numbers or zeros; everything else is integer arithmetic on unpacked numbers ([`exact`], [`rounding`]).
//!
//! Two groups of instructions are named exceptions from bit exactness, since the manual does not define their bits:
//! RCP/RSQRT ([`sse_approx`]) and the x87 transcendentals ([`x87_transcendental`]).

pub(crate) mod env;
mod exact;
mod f80;
mod rounding;
mod sse_approx;
mod sse_arith;
mod sse_compare;
mod sse_convert;
mod sse_lane;
mod sse_round;
mod sse_slow;
mod x87_arith;
mod x87_bcd;
mod x87_convert;
mod x87_env;
mod x87_execute;
mod x87_images;
mod x87_remainder;
mod x87_scale;
mod x87_series;
mod x87_state;
mod x87_transcendental;

pub(crate) use env::{SseEnv, exception};
pub(crate) use f80::{F80, Operand};
pub(crate) use rounding::Rounding;
pub(crate) use sse_approx::{reciprocal, reciprocal_square_root};
pub(crate) use sse_arith::{add, div, dot_product_f32, dot_product_f64, mul, quick, quick_sqrt, sqrt, sub};
pub(crate) use sse_compare::{
    Relation, compare_ordered, compare_predicate, compare_unordered, max, min, predicate_mask, quick_relation,
};
pub(crate) use sse_convert::{
    f32_to_f64, f64_to_f32, from_i32, from_i64, quick_f32_to_f64, quick_f64_to_f32, quick_from_i32,
    quick_from_i64, quick_to_i32, quick_to_i32_truncated, quick_to_i64, quick_to_i64_truncated, to_i32,
    to_i32_truncated, to_i64, to_i64_truncated,
};
pub(crate) use sse_lane::Lane;
pub(crate) use sse_round::round_to_integer;
pub(crate) use sse_slow::Operation;
pub(crate) use x87_arith::{x87_add, x87_div, x87_mul, x87_sqrt, x87_sub};
pub(crate) use x87_bcd::{x87_load_bcd, x87_store_bcd};
pub(crate) use x87_convert::{
    Constant, x87_constant, x87_load, x87_store_f32, x87_store_f64, x87_store_i16, x87_store_i32,
    x87_store_i64, x87_truncate_i16, x87_truncate_i32, x87_truncate_i64,
};
pub(crate) use x87_env::X87Env;
pub(crate) use x87_execute::{Binary, Compare, Store};
pub(crate) use x87_images::{ENVIRONMENT_SIZE, EnvironmentFormat, FXSAVE_SIZE, SAVE_SIZE};
pub(crate) use x87_remainder::Quotient;
pub(crate) use x87_scale::{x87_round_to_integer, x87_scale};
pub(crate) use x87_state::{LastInstruction, X87};
pub(crate) use x87_transcendental::{
    x87_arc_tangent, x87_cosine, x87_sine, x87_sine_and_cosine, x87_tangent, x87_two_to_x_minus_one,
    x87_y_log2_x, x87_y_log2_x_plus_one,
};

#[cfg(test)]
mod sse_tests;
#[cfg(test)]
mod x87_stack_tests;
#[cfg(test)]
mod x87_tests;
#[cfg(test)]
mod x87_transcendental_tests;
