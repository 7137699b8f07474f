//! F2XM1, FYL2X, FYL2XP1, FPATAN, FPTAN, FSIN, FCOS and FSINCOS.
//!
//! A named exception from bit exactness: the manual promises an error of at most 1 ulp and leaves the last bit to the
//! processor (SDM 1 8.3.10). Here a result is the true value rounded as the control word says, up to an error of 2^-110 before
//! rounding. For the trigonometric functions "true" means with the 66-bit pi that the manual gives for the reduction of
//! their argument (SDM 1 8.3.8); what is left of an angle is exact.

use super::env::exception;
use super::exact::{self, Real, Wide};
use super::f80::{F80, F80Value};
use super::x87_arith::{check_denormals, propagate, propagate_one};
use super::x87_env::X87Env;
use super::x87_series as series;

/// pi * 2^64, of 66 bits (SDM 1 8.3.8).
const PI_66: u128 = 0x3_243f_6a88_85a3_08d3;

/// F2XM1: `2^a - 1`. Beyond magnitude 1, where the manual leaves it undefined, the operand is returned.
pub(crate) fn x87_two_to_x_minus_one(a: F80, env: &mut X87Env) -> F80 {
    if let Some(nan) = propagate_one(a, env) {
        return nan;
    }
    match a.value() {
        F80Value::Infinity if a.is_negative() => F80::ONE.negated(),
        F80Value::Finite(real) => {
            check_denormals(a.into(), a.into(), env);
            match (real.exp, real.sig) {
                (..0, _) => {
                    let exponent = series::mul(real.widen(), series::LN_2);
                    env.finish(series::exp_minus_one(exponent), 64)
                }
                // Told as inexact too.
                (0, 0x8000_0000_0000_0000) if real.negative => {
                    as_inexact(F80::encode(true, -1, real.sig), env)
                }
                _ => as_inexact(a, env),
            }
        }
        _ => a,
    }
}

/// A value that is told as inexact: an operand for which the manual defines no result, or an exact result.
const fn as_inexact(a: F80, env: &mut X87Env) -> F80 {
    env.inexact(false);
    a
}

/// FYL2X: `y * log2(x)`, with `x` in ST(0) (SDM 2 FYL2X, table 3-49).
pub(crate) fn x87_y_log2_x(x: F80, y: F80, env: &mut X87Env) -> F80 {
    if let Some(nan) = propagate(x, y, env) {
        return nan;
    }
    let negative = x.is_negative();
    let real = match (x.value(), y.value()) {
        (F80Value::Zero, F80Value::Zero) => return env.invalid(),
        (F80Value::Zero, F80Value::Infinity) => return F80::infinity(!y.is_negative()),
        (F80Value::Zero, _) => {
            env.raise(exception::ZERO_DIVIDE);
            return F80::infinity(!y.is_negative());
        }
        _ if negative => return env.invalid(),
        (F80Value::Infinity, F80Value::Zero) => return env.invalid(),
        (F80Value::Finite(real), _) => real,
        _ => {
            check_denormals(x.into(), y.into(), env);
            return F80::infinity(y.is_negative());
        }
    };
    let is_one = real.exp == 0 && real.sig == 1 << 63;
    if is_one && matches!(y.value(), F80Value::Infinity) {
        return env.invalid();
    }
    check_denormals(x.into(), y.into(), env);
    match y.value() {
        F80Value::Finite(factor) => multiply_log2(factor, real.widen(), env),
        // A logarithm of 0 counts as positive.
        F80Value::Zero => F80::zero(y.is_negative() != (real.exp < 0)),
        _ => F80::infinity(y.is_negative() != (real.exp < 0)),
    }
}

/// `factor * log2(x)` for a positive `x`.
fn multiply_log2(factor: Real, x: Wide, env: &mut X87Env) -> F80 {
    const SQUARE_ROOT_OF_2: u128 = 0xb504_f333_f9de_6484 << 64;
    // x = 2^power * m, m from sqrt(1/2) to sqrt(2): what is added below never cancels.
    let high = x.sig > SQUARE_ROOT_OF_2;
    let power = i64::from(x.exp) + i64::from(high);
    let power = Real::from_integer(power < 0, power.unsigned_abs());
    // z = (m - 1) / (m + 1), of which log2(m) is a power series. The divisor is halved to fit.
    let (difference, sum) = if high {
        (x.sig.wrapping_neg(), (x.sig >> 1) + (1 << 127))
    } else {
        (x.sig - (1 << 127), (x.sig >> 1) + (1 << 126))
    };
    let numerator = Wide::normalized(high, 0, difference);
    let denominator = Wide::normalized(false, 1, sum);
    match (numerator, denominator, power) {
        (Some(numerator), Some(denominator), power) => {
            let fraction = series::log2_of_ratio(series::div(numerator, denominator));
            let sum = match power {
                Some(power) => series::add(fraction, power.widen()).unwrap_or(fraction),
                None => fraction,
            };
            env.finish(series::inexact(series::mul(sum, factor.widen())), 64)
        }
        (_, _, Some(power)) => {
            // Logarithms of powers of two are told as inexact too.
            env.raise(exception::PRECISION);
            let product = env.finish(exact::mul(factor, power), 64);
            if product.is_denormal() {
                env.raise(exception::UNDERFLOW);
            }
            product
        }
        (_, _, None) => F80::zero(factor.negative),
    }
}

/// FYL2XP1: `y * log2(x + 1)`, with `x` in ST(0) (SDM 2 FYL2XP1, table 3-50). Outside of the range the manual gives, where it
/// leaves the result undefined, `x` is returned if `x + 1` is not positive.
pub(crate) fn x87_y_log2_x_plus_one(x: F80, y: F80, env: &mut X87Env) -> F80 {
    if let Some(nan) = propagate(x, y, env) {
        return nan;
    }
    let negative = x.is_negative() != y.is_negative();
    let real = match (x.value(), y.value()) {
        (F80Value::Zero, F80Value::Infinity) | (F80Value::Infinity, F80Value::Zero) => return env.invalid(),
        (F80Value::Infinity, _) if x.is_negative() => return env.invalid(),
        (F80Value::Finite(real), _) => real,
        (first, _) => {
            check_denormals(x.into(), y.into(), env);
            return if matches!(first, F80Value::Zero) {
                F80::zero(negative)
            } else {
                F80::infinity(negative)
            };
        }
    };
    check_denormals(x.into(), y.into(), env);
    let factor = match y.value() {
        F80Value::Finite(factor) => factor,
        F80Value::Zero => return F80::zero(negative),
        _ => return F80::infinity(negative),
    };
    let one = Real { negative: false, exp: 0, sig: 1 << 63 };
    if real.exp >= -1 {
        // Outside of that range, and too far for the series below.
        return match exact::add(real, one) {
            Some(sum) if sum.negative => as_inexact(x, env),
            Some(sum) => multiply_log2(factor, sum, env),
            None => as_inexact(x, env),
        };
    }
    let two = Real { exp: 1, ..one };
    let Some(denominator) = exact::add(real, two) else { return as_inexact(x, env) };
    let logarithm = series::log2_of_ratio(series::div(real.widen(), denominator));
    env.finish(series::inexact(series::mul(logarithm, factor.widen())), 64)
}

/// FPATAN: the angle of the point with abscissa `x` (ST(0)) and ordinate `y` (ST(1)) (SDM 2 FPATAN, table 3-30).
pub(crate) fn x87_arc_tangent(x: F80, y: F80, env: &mut X87Env) -> F80 {
    use F80Value::{Finite, Infinity, Zero};
    if let Some(nan) = propagate(x, y, env) {
        return nan;
    }
    check_denormals(x.into(), y.into(), env);
    let left = x.is_negative();
    let angle = match (y.value(), x.value()) {
        (Finite(ordinate), Finite(abscissa)) => {
            let steep = (ordinate.exp, ordinate.sig) > (abscissa.exp, abscissa.sig);
            let (small, large) = if steep { (abscissa, ordinate) } else { (ordinate, abscissa) };
            let small = Real { negative: false, ..small };
            let ratio = exact::div(small, Real { negative: false, ..large });
            let angle = series::arc_tangent(ratio);
            let angle = if steep { difference(series::HALF_PI, angle) } else { angle };
            if left { difference(series::PI, angle) } else { angle }
        }
        (Infinity, Infinity) => {
            let quarter = Wide { exp: series::PI.exp - 2, ..series::PI };
            if left { difference(series::PI, quarter) } else { quarter }
        }
        (Infinity, _) | (Finite(_), Zero) => series::HALF_PI,
        _ if left => series::PI,
        _ => return F80::zero(y.is_negative()),
    };
    env.finish(Wide { negative: y.is_negative(), ..series::inexact(angle) }, 64)
}

fn difference(a: Wide, b: Wide) -> Wide {
    series::add(a, Wide { negative: true, ..b }).unwrap_or(a)
}

/// An angle, reduced: it was `quadrant` times pi / 2 plus `rest`, which is at most pi / 4 and not 0.
struct Reduced {
    quadrant: u8,
    rest: Wide,
}

/// Reduces an angle other than zero; `None` if it is 2^63 or more.
fn reduce(angle: Real) -> Option<Reduced> {
    if angle.exp > 62 {
        return None;
    }
    if angle.exp < -1 {
        return Some(Reduced { quadrant: 0, rest: angle.widen() });
    }
    // In units of 2^-65 the angle is an integer, and so is pi / 2.
    let fixed = u128::from(angle.sig) << (angle.exp + 2);
    let mut quotient = fixed / PI_66;
    let mut rest = fixed % PI_66;
    let mut negative = angle.negative;
    if rest > PI_66 / 2 {
        quotient += 1;
        rest = PI_66 - rest;
        negative = !negative;
    }
    let quadrant = (quotient & 3) as u8;
    let quadrant = if angle.negative { quadrant.wrapping_neg() & 3 } else { quadrant };
    // Never zero: PI_66 is odd and longer than a significand.
    let rest = Wide::normalized(negative, 62, rest)?;
    Some(Reduced { quadrant, rest })
}

impl Reduced {
    fn sine(&self) -> Wide {
        let value = if self.quadrant & 1 == 0 { series::sine(self.rest) } else { series::cosine(self.rest) };
        Wide { negative: value.negative != (self.quadrant & 2 != 0), ..value }
    }

    fn cosine(&self) -> Wide {
        Self { quadrant: (self.quadrant + 1) & 3, rest: self.rest }.sine()
    }
}

/// What the trigonometric instructions do with operands that are no angle: the result for all of their outputs.
fn no_angle(a: F80, env: &mut X87Env) -> F80 {
    propagate_one(a, env).unwrap_or_else(|| env.invalid())
}

/// FSIN; `None` if the angle is out of range.
pub(crate) fn x87_sine(a: F80, env: &mut X87Env) -> Option<F80> {
    match a.value() {
        F80Value::Zero => Some(a),
        F80Value::Finite(real) => {
            let reduced = reduce(real)?;
            check_denormals(a.into(), a.into(), env);
            Some(env.finish(reduced.sine(), 64))
        }
        _ => Some(no_angle(a, env)),
    }
}

/// FCOS; `None` if the angle is out of range.
pub(crate) fn x87_cosine(a: F80, env: &mut X87Env) -> Option<F80> {
    match a.value() {
        F80Value::Zero => Some(F80::ONE),
        F80Value::Finite(real) => {
            let reduced = reduce(real)?;
            check_denormals(a.into(), a.into(), env);
            Some(env.finish(reduced.cosine(), 64))
        }
        _ => Some(no_angle(a, env)),
    }
}

/// FSINCOS: the sine, and the cosine that is pushed; `None` if the angle is out of range.
pub(crate) fn x87_sine_and_cosine(a: F80, env: &mut X87Env) -> Option<(F80, F80)> {
    match a.value() {
        F80Value::Zero => Some((a, F80::ONE)),
        F80Value::Finite(real) => {
            let reduced = reduce(real)?;
            check_denormals(a.into(), a.into(), env);
            let sine = env.finish(reduced.sine(), 64);
            Some((sine, env.finish(reduced.cosine(), 64)))
        }
        _ => {
            let nan = no_angle(a, env);
            Some((nan, nan))
        }
    }
}

/// FPTAN: the tangent, and the 1.0 that is pushed; `None` if the angle is out of range.
pub(crate) fn x87_tangent(a: F80, env: &mut X87Env) -> Option<(F80, F80)> {
    match a.value() {
        F80Value::Zero => Some((a, F80::ONE)),
        F80Value::Finite(real) => {
            let reduced = reduce(real)?;
            check_denormals(a.into(), a.into(), env);
            let tangent = if reduced.rest.exp < -58 {
                // The difference, a third of the cube, is far below the last bit.
                reduced.rest
            } else {
                series::div(reduced.sine(), reduced.cosine())
            };
            let tangent = series::inexact(tangent);
            Some((env.finish(tangent, 64), F80::ONE))
        }
        _ => {
            let nan = no_angle(a, env);
            Some((nan, nan))
        }
    }
}
