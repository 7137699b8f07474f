//! FRNDINT, FSCALE, FXTRACT and FXAM: x87 instructions that take numbers apart.

use super::env::exception;
use super::exact::Real;
use super::f80::{F80, F80Value};
use super::rounding::cut;
use super::x87_arith::{check_denormals, propagate, propagate_one};
use super::x87_env::X87Env;

/// FRNDINT.
pub(crate) fn x87_round_to_integer(a: F80, env: &mut X87Env) -> F80 {
    if let Some(nan) = propagate_one(a, env) {
        return nan;
    }
    let F80Value::Finite(real) = a.value() else { return a };
    check_denormals(a.into(), a.into(), env);
    if real.exp >= 63 {
        return a;
    }
    let cut = cut(real.widen().sig, (127 - real.exp) as u32, real.negative, env.rounding());
    if cut.inexact {
        env.inexact(cut.up);
    }
    match Real::from_integer(real.negative, cut.units as u64) {
        Some(integer) => F80::encode(integer.negative, integer.exp, integer.sig),
        None => F80::zero(real.negative),
    }
}

/// FSCALE: `a * 2^trunc(b)` (SDM 2 FSCALE, table 3-25).
pub(crate) fn x87_scale(a: F80, b: F80, env: &mut X87Env) -> F80 {
    if let Some(nan) = propagate(a, b, env) {
        return nan;
    }
    match (a.value(), b.value()) {
        (F80Value::Zero, F80Value::Infinity) if !b.is_negative() => return env.invalid(),
        (F80Value::Infinity, F80Value::Infinity) if b.is_negative() => return env.invalid(),
        _ => check_denormals(a.into(), b.into(), env),
    }
    let real = match (a.value(), b.value()) {
        (F80Value::Finite(_), F80Value::Infinity) if b.is_negative() => return F80::zero(a.is_negative()),
        (F80Value::Finite(_), F80Value::Infinity) => return F80::infinity(a.is_negative()),
        (F80Value::Finite(real), _) => real,
        _ => return a,
    };
    let scale = match b.value() {
        // Beyond 2^17 every number overflows or underflows, even with its exponent adjusted.
        F80Value::Finite(scale) if scale.exp > 16 => 1 << 17,
        F80Value::Finite(scale) if scale.exp >= 0 => (scale.sig >> (63 - scale.exp)) as i32,
        _ => 0,
    };
    let exp = if b.is_negative() { real.exp - scale } else { real.exp + scale };
    env.finish(Real { exp, ..real }.widen(), 64)
}

/// FXTRACT: the exponent, and the significand as a number of magnitude 1 to 2 (SDM 2 FXTRACT).
pub(crate) fn x87_extract(a: F80, env: &mut X87Env) -> (F80, F80) {
    if let Some(nan) = propagate_one(a, env) {
        return (nan, nan);
    }
    match a.value() {
        F80Value::Zero => {
            env.raise(exception::ZERO_DIVIDE);
            (F80::infinity(true), a)
        }
        F80Value::Finite(real) => {
            check_denormals(a.into(), a.into(), env);
            (F80::from_i64(i64::from(real.exp)), F80::encode(real.negative, 0, real.sig))
        }
        _ => (F80::infinity(false), a),
    }
}

/// FXAM of a register that is not empty: the class in C3, C2 and C0, at their positions in the status word (SDM 2 FXAM).
/// C1 is the sign.
#[must_use]
pub(crate) fn x87_examine(a: F80) -> u16 {
    use super::x87_state::{C0, C2, C3};
    match a.value() {
        F80Value::Unsupported => 0,
        F80Value::QuietNan | F80Value::SignalingNan => C0,
        F80Value::Finite(_) if a.is_denormal() => C3 | C2,
        F80Value::Finite(_) => C2,
        F80Value::Infinity => C2 | C0,
        F80Value::Zero => C3,
    }
}
