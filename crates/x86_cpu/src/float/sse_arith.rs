//! ADD, SUB, MUL, DIV, SQRT of one lane, and the dot products.
//!
//! Where MXCSR rounds to nearest and its precision flag is already set and masked - the state of nearly every program after
//! its first rounded result - the host's own operation is used, and a few comparisons make sure that nothing but that flag
//! could have been raised.

use super::env::{SseEnv, exception};
use super::rounding::Rounding;
use super::sse_lane::Lane;
use super::sse_slow::{self, Operation};

/// Whether the host's result for `a op b` is the processor's, but for the precision flag.
#[inline(always)]
fn is_plain<L: Lane>(operation: Operation, a: L, b: L, result: L) -> bool {
    // NaNs and infinities among the operands, and division by zero, always give a result that is not usual, or a zero.
    if a.is_subnormal() | b.is_subnormal() {
        return false;
    }
    result.is_usual()
        || result.is_zero()
            && match operation {
                Operation::Add | Operation::Sub => true,
                Operation::Mul => a.is_zero() || b.is_zero(),
                Operation::Div => a.is_zero(),
            }
}

#[inline(always)]
fn native<L: Lane>(operation: Operation, a: L, b: L) -> L {
    match operation {
        Operation::Add => a.native_add(b),
        Operation::Sub => a.native_sub(b),
        Operation::Mul => a.native_mul(b),
        Operation::Div => a.native_div(b),
    }
}

/// `a op b` in the common case; `None` if this is not it. Callers that want no function call in their own common case ask here
/// first.
#[inline(always)]
pub(crate) fn quick<L: Lane>(operation: Operation, a: L, b: L, env: &SseEnv) -> Option<L> {
    let result = native(operation, a, b);
    if env.is_quick() && is_plain(operation, a, b, result) { Some(result) } else { None }
}

/// As [`quick`], for the square root.
#[inline(always)]
pub(crate) fn quick_sqrt<L: Lane>(a: L, env: &SseEnv) -> Option<L> {
    if env.is_quick() && a.is_positive_normal() { Some(a.native_sqrt()) } else { None }
}

#[inline(always)]
fn arithmetic<L: Lane>(operation: Operation, a: L, b: L, env: &mut SseEnv) -> L {
    match quick(operation, a, b, env) {
        Some(result) => result,
        None => arithmetic_with_flags(operation, a, b, env),
    }
}

/// As [`arithmetic`] where the precision flag matters, or where the operands are unusual.
#[cold]
#[inline(never)]
fn arithmetic_with_flags<L: Lane>(operation: Operation, a: L, b: L, env: &mut SseEnv) -> L {
    let result = native(operation, a, b);
    if env.rounding() == Rounding::Nearest && is_plain(operation, a, b, result) {
        let exact = match operation {
            Operation::Add => a.sum_is_exact(b, result),
            Operation::Sub => a.sum_is_exact(b.negated(), result),
            Operation::Mul => a.product_is_exact(b, result),
            Operation::Div => a.quotient_is_exact(b, result),
        };
        if !exact {
            env.raise(exception::PRECISION);
        }
        return result;
    }
    L::from_wide(sse_slow::arithmetic(operation, L::LAYOUT, a.to_wide(), b.to_wide(), env))
}

/// `a + b`. Of two NaN operands the first is returned, as in all operations here.
#[inline(always)]
pub(crate) fn add<L: Lane>(a: L, b: L, env: &mut SseEnv) -> L {
    arithmetic(Operation::Add, a, b, env)
}

/// `a - b`.
#[inline(always)]
pub(crate) fn sub<L: Lane>(a: L, b: L, env: &mut SseEnv) -> L {
    arithmetic(Operation::Sub, a, b, env)
}

/// `a * b`.
#[inline(always)]
pub(crate) fn mul<L: Lane>(a: L, b: L, env: &mut SseEnv) -> L {
    arithmetic(Operation::Mul, a, b, env)
}

/// `a / b`.
#[inline(always)]
pub(crate) fn div<L: Lane>(a: L, b: L, env: &mut SseEnv) -> L {
    arithmetic(Operation::Div, a, b, env)
}

/// The square root of `a`.
#[inline(always)]
pub(crate) fn sqrt<L: Lane>(a: L, env: &mut SseEnv) -> L {
    match quick_sqrt(a, env) {
        Some(root) => root,
        None => sqrt_with_flags(a, env),
    }
}

#[cold]
#[inline(never)]
fn sqrt_with_flags<L: Lane>(a: L, env: &mut SseEnv) -> L {
    if env.rounding() == Rounding::Nearest && (a.is_positive_normal() || a.is_zero()) {
        let root = a.native_sqrt();
        if !a.root_is_exact(root) {
            env.raise(exception::PRECISION);
        }
        return root;
    }
    L::from_wide(sse_slow::sqrt(L::LAYOUT, a.to_wide(), env))
}

/// Between the steps of a dot product: false if an unmasked exception ends it (SDM 2 DPPS, "SIMD Floating-Point
/// Exceptions").
fn end_step(env: &mut SseEnv) -> bool {
    let ended = env.unmasked();
    if !ended {
        env.end_step();
    }
    !ended
}

/// DPPS: products of the lanes chosen by bits 4 to 7 of `control`, summed in pairs, the sum stored where bits 0 to 3 say
/// (SDM 2 DPPS). `None`: an unmasked exception ended the operation early, with the exceptions of the steps done so far.
pub(crate) fn dot_product_f32(a: [u32; 4], b: [u32; 4], control: u8, env: &mut SseEnv) -> Option<[u32; 4]> {
    let mut products = [0; 4];
    for (lane, product) in products.iter_mut().enumerate() {
        if control >> (4 + lane) & 1 != 0 {
            *product = mul(a[lane], b[lane], env);
        }
    }
    if !end_step(env) {
        return None;
    }
    let low = add(products[0], products[1], env);
    let high = add(products[2], products[3], env);
    if !end_step(env) {
        return None;
    }
    let sum = add(low, high, env);
    if !end_step(env) {
        return None;
    }
    Some(std::array::from_fn(|lane| if control >> lane & 1 != 0 { sum } else { 0 }))
}

/// DPPD: as [`dot_product_f32`] for two lanes, chosen by bits 4 and 5, stored by bits 0 and 1 (SDM 2 DPPD).
pub(crate) fn dot_product_f64(a: [u64; 2], b: [u64; 2], control: u8, env: &mut SseEnv) -> Option<[u64; 2]> {
    let mut products = [0; 2];
    for (lane, product) in products.iter_mut().enumerate() {
        if control >> (4 + lane) & 1 != 0 {
            *product = mul(a[lane], b[lane], env);
        }
    }
    if !end_step(env) {
        return None;
    }
    let sum = add(products[0], products[1], env);
    if !end_step(env) {
        return None;
    }
    Some(std::array::from_fn(|lane| if control >> lane & 1 != 0 { sum } else { 0 }))
}
