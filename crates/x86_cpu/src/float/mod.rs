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

pub mod env;
mod exact;
mod rounding;
mod sse_approx;
mod sse_arith;
mod sse_compare;
mod sse_convert;
mod sse_lane;
mod sse_round;
mod sse_slow;

pub use env::{SseEnv, exception};
pub use rounding::Rounding;
pub use sse_approx::{reciprocal, reciprocal_square_root};
pub use sse_arith::{add, div, dot_product_f32, dot_product_f64, mul, sqrt, sub};
pub use sse_compare::{Relation, compare_ordered, compare_predicate, compare_unordered, max, min};
pub use sse_convert::{
    f32_to_f64, f64_to_f32, from_i32, from_i64, to_i32, to_i32_truncated, to_i64, to_i64_truncated,
};
pub use sse_lane::Lane;
pub use sse_round::round_to_integer;

#[cfg(test)]
mod sse_tests;
