//! FPREM and FPREM1.

use super::exact::Wide;
use super::f80::{F80, F80Value};
use super::x87_arith::{check_denormals, propagate};
use super::x87_env::X87Env;

/// What FPREM and FPREM1 find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remainder {
    /// The remainder, or what is left to reduce.
    pub(crate) value: F80,
    /// Whether the reduction is complete; if not, C2 is set and the instruction has to be repeated.
    pub(crate) complete: bool,
    /// The three lowest bits of the quotient: C0 (bit 2), C3 (bit 1), C1 (bit 0). Zero if incomplete; `None` if there is none,
    /// since an operand was a NaN or the operation invalid.
    pub(crate) quotient: Option<u8>,
}

/// How a quotient becomes an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quotient {
    /// FPREM: towards zero.
    Truncated,
    /// FPREM1: to the nearest, as IEEE 754 defines the remainder.
    Nearest,
}

/// FPREM, FPREM1: one step of `a mod b` (SDM 2 FPREM). A step reduces the difference of the exponents by at most 63.
pub(crate) fn x87_remainder(a: F80, b: F80, kind: Quotient, env: &mut X87Env) -> Remainder {
    let done = |value| Remainder { value, complete: true, quotient: Some(0) };
    if let Some(nan) = propagate(a, b, env) {
        return Remainder { quotient: None, ..done(nan) };
    }
    let (dividend, divisor) = match (a.value(), b.value()) {
        (F80Value::Infinity, _) | (_, F80Value::Zero) => {
            return Remainder { quotient: None, ..done(env.invalid()) };
        }
        (F80Value::Finite(dividend), F80Value::Finite(divisor)) => (dividend, divisor),
        _ => {
            check_denormals(a.into(), b.into(), env);
            return done(if matches!(a.value(), F80Value::Finite(_)) { finish(a, env) } else { a });
        }
    };
    check_denormals(a.into(), b.into(), env);
    let difference = dividend.exp - divisor.exp;
    if difference < -1 || (difference < 0 && kind == Quotient::Truncated) {
        return done(finish(a, env));
    }
    // How far this step goes, and the weight of what it leaves (as an exponent of bit 127).
    let complete = difference < 64;
    let (shift, exp) = match difference {
        -1 => (0, dividend.exp + 64),
        0..64 => (difference as u32, divisor.exp + 64),
        _ => {
            let step = difference & 31 | 32;
            (step as u32, divisor.exp + difference - step + 64)
        }
    };
    let scaled = u128::from(dividend.sig) << shift;
    // Where the dividend is the smaller one, the divisor is doubled rather than the dividend halved.
    let modulus = u128::from(divisor.sig) << u32::from(difference == -1);
    let mut quotient = scaled / modulus;
    let mut rest = scaled % modulus;
    let mut negative = dividend.negative;
    if kind == Quotient::Nearest && complete {
        let other = modulus - rest;
        if rest > other || (rest == other && quotient & 1 == 1) {
            quotient += 1;
            rest = other;
            negative = !negative;
        }
    }
    let value = match Wide::normalized(negative, exp, rest) {
        Some(wide) => env.finish(wide, 64),
        None => F80::zero(dividend.negative),
    };
    Remainder { value, complete, quotient: Some(if complete { (quotient & 7) as u8 } else { 0 }) }
}

/// An operand that is its own remainder; it may still underflow.
fn finish(a: F80, env: &mut X87Env) -> F80 {
    match a.value() {
        F80Value::Finite(real) => env.finish(real.widen(), 64),
        _ => a,
    }
}
