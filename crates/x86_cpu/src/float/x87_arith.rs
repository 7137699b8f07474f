//! Addition, subtraction, multiplication, division, square root and comparison of x87 operands.

use super::env::exception;
use super::exact;
use super::f80::{F80, F80Value, Operand};
use super::rounding::Rounding;
use super::sse_compare::Relation;
use super::x87_env::X87Env;

/// The NaN, or the indefinite, that results if an operand is a NaN or of an unsupported format: of two NaNs the quiet one, or
/// the one with the larger significand (SDM 1 table 4-7).
pub(super) fn propagate(a: F80, b: F80, env: &mut X87Env) -> Option<F80> {
    use F80Value::{QuietNan, SignalingNan, Unsupported};
    let (x, y) = (a.value(), b.value());
    if matches!(x, Unsupported) || matches!(y, Unsupported) {
        return Some(env.invalid());
    }
    if matches!(x, SignalingNan) || matches!(y, SignalingNan) {
        env.raise(exception::INVALID);
    }
    match (x, y) {
        (QuietNan, QuietNan) | (SignalingNan, SignalingNan) => {
            let second = b.mantissa > a.mantissa || (b.mantissa == a.mantissa && a.is_negative());
            Some(if second { b } else { a }.quieted())
        }
        (QuietNan, _) => Some(a),
        (_, QuietNan) => Some(b),
        (SignalingNan, _) => Some(a.quieted()),
        (_, SignalingNan) => Some(b.quieted()),
        _ => None,
    }
}

/// As [`propagate`] for an instruction with one operand.
pub(super) fn propagate_one(a: F80, env: &mut X87Env) -> Option<F80> {
    match a.value() {
        F80Value::Unsupported => Some(env.invalid()),
        F80Value::QuietNan => Some(a),
        F80Value::SignalingNan => {
            env.raise(exception::INVALID);
            Some(a.quieted())
        }
        _ => None,
    }
}

/// Raises the denormal-operand exception if an operand is one.
pub(super) const fn check_denormals(a: Operand, b: Operand, env: &mut X87Env) {
    if a.denormal || b.denormal {
        env.raise(exception::DENORMAL);
    }
}

/// FADD, FIADD: `a + b`.
pub(crate) fn x87_add(a: Operand, b: Operand, env: &mut X87Env) -> F80 {
    sum(a, b, false, env)
}

/// FSUB, FISUB, and with exchanged operands FSUBR, FISUBR: `a - b`.
pub(crate) fn x87_sub(a: Operand, b: Operand, env: &mut X87Env) -> F80 {
    sum(a, b, true, env)
}

fn sum(a: Operand, b: Operand, subtract: bool, env: &mut X87Env) -> F80 {
    if let Some(nan) = propagate(a.bits, b.bits, env) {
        return nan;
    }
    let second = if subtract { b.bits.negated() } else { b.bits };
    let signs_differ = a.bits.is_negative() != second.is_negative();
    let (x, y) = (a.bits.value(), second.value());
    if matches!((x, y), (F80Value::Infinity, F80Value::Infinity)) && signs_differ {
        return env.invalid();
    }
    check_denormals(a, b, env);
    let wide = match (x, y) {
        (F80Value::Infinity, _) => return a.bits,
        (_, F80Value::Infinity) => return second,
        (F80Value::Finite(x), F80Value::Finite(y)) => exact::add(x, y),
        (F80Value::Finite(one), _) | (_, F80Value::Finite(one)) => Some(one.widen()),
        _ if !signs_differ => return a.bits,
        _ => None,
    };
    match wide {
        Some(wide) => env.finish(wide, env.precision()),
        // A sum of nothing is positive except when rounding down (SDM 1 4.8.3.1).
        None => F80::zero(env.rounding() == Rounding::Down),
    }
}

/// FMUL, FIMUL: `a * b`.
pub(crate) fn x87_mul(a: Operand, b: Operand, env: &mut X87Env) -> F80 {
    if let Some(nan) = propagate(a.bits, b.bits, env) {
        return nan;
    }
    let negative = a.bits.is_negative() != b.bits.is_negative();
    let (x, y) = (a.bits.value(), b.bits.value());
    if matches!((x, y), (F80Value::Infinity, F80Value::Zero) | (F80Value::Zero, F80Value::Infinity)) {
        return env.invalid();
    }
    check_denormals(a, b, env);
    match (x, y) {
        (F80Value::Infinity, _) | (_, F80Value::Infinity) => F80::infinity(negative),
        (F80Value::Finite(x), F80Value::Finite(y)) => env.finish(exact::mul(x, y), env.precision()),
        _ => F80::zero(negative),
    }
}

/// FDIV, FIDIV, and with exchanged operands FDIVR, FIDIVR: `a / b`.
pub(crate) fn x87_div(a: Operand, b: Operand, env: &mut X87Env) -> F80 {
    if let Some(nan) = propagate(a.bits, b.bits, env) {
        return nan;
    }
    let negative = a.bits.is_negative() != b.bits.is_negative();
    let (x, y) = (a.bits.value(), b.bits.value());
    match (x, y) {
        (F80Value::Infinity, F80Value::Infinity) | (F80Value::Zero, F80Value::Zero) => return env.invalid(),
        (F80Value::Finite(_), F80Value::Zero) => {
            env.raise(exception::ZERO_DIVIDE);
            return F80::infinity(negative);
        }
        _ => check_denormals(a, b, env),
    }
    match (x, y) {
        (F80Value::Infinity, _) => F80::infinity(negative),
        (F80Value::Finite(x), F80Value::Finite(y)) => env.finish(exact::div(x, y), env.precision()),
        _ => F80::zero(negative),
    }
}

/// FSQRT.
pub(crate) fn x87_sqrt(a: F80, env: &mut X87Env) -> F80 {
    if let Some(nan) = propagate_one(a, env) {
        return nan;
    }
    match a.value() {
        F80Value::Zero => a,
        _ if a.is_negative() => env.invalid(),
        F80Value::Finite(real) => {
            check_denormals(a.into(), a.into(), env);
            env.finish(exact::sqrt(real), env.precision())
        }
        _ => a,
    }
}

/// FCOM, FICOM, FCOMI and FTST (against zero): any NaN is invalid.
pub(crate) fn x87_compare_ordered(a: Operand, b: Operand, env: &mut X87Env) -> Relation {
    compare(a, b, true, env)
}

/// FUCOM, FUCOMI: only signaling NaNs and unsupported formats are invalid.
pub(crate) fn x87_compare_unordered(a: Operand, b: Operand, env: &mut X87Env) -> Relation {
    compare(a, b, false, env)
}

fn compare(a: Operand, b: Operand, signal_quiet: bool, env: &mut X87Env) -> Relation {
    use F80Value::{Finite, Infinity, QuietNan, SignalingNan, Unsupported, Zero};
    let (x, y) = (a.bits.value(), b.bits.value());
    let invalid = |value| matches!(value, SignalingNan | Unsupported);
    let quiet = |value| matches!(value, QuietNan);
    if invalid(x) || invalid(y) || quiet(x) || quiet(y) {
        if signal_quiet || invalid(x) || invalid(y) {
            env.raise(exception::INVALID);
        }
        return Relation::Unordered;
    }
    check_denormals(a, b, env);
    // Position on a line: sign, class, exponent, significand.
    let magnitude = |value| match value {
        Zero => (0, 0, 0),
        Finite(real) => (1, real.exp, real.sig),
        Infinity => (2, 0, 0),
        QuietNan | SignalingNan | Unsupported => (3, 0, 0),
    };
    let (x, y) = (magnitude(x), magnitude(y));
    let (a_negative, b_negative) = (a.bits.is_negative(), b.bits.is_negative());
    let ordering = match (a_negative, b_negative) {
        _ if x.0 == 0 && y.0 == 0 => std::cmp::Ordering::Equal,
        (false, false) => x.cmp(&y),
        (true, true) => y.cmp(&x),
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
    };
    Relation::from_partial(Some(ordering))
}
