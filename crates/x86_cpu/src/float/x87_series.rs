//! Series for the x87 transcendentals, with 128-bit significands: integer arithmetic only, the same on every host.
//!
//! Numbers are [`Wide`], with a relative error of a few units of 2^-125 per step, or fixed-point fractions. The factor that
//! each series computes is between 1/2 and 2, so that its absolute error of about 2^-120 is a relative one too: the results
//! keep their accuracy down to the smallest operands, and after rounding to 64 bits they are as good as always the nearest.

use super::exact::{Wide, shift_right_sticky};

/// 1.0 in the fixed-point format of the factors: two bits before the point, 126 behind.
const ONE: u128 = 1 << 126;
/// ln 2.
pub(super) const LN_2: Wide = constant(-1, 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af);
/// 2 / ln 2.
const TWO_OVER_LN_2: Wide = constant(1, 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e89);
/// Pi.
pub(super) const PI: Wide = constant(1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1);
/// Pi / 2.
pub(super) const HALF_PI: Wide = Wide { exp: PI.exp - 1, ..PI };

/// Arc tangents of 1/16, 2/16, ... 16/16.
const ARC_TANGENTS: [Wide; 16] = [
    constant(-5, 0xffaa_ddb9_67ef_4e36_cb27_92dc_0e2e_0d51),
    constant(-4, 0xfead_d4d5_617b_6e32_c897_989f_3e88_8ef8),
    constant(-3, 0xbdcb_da5e_72d8_1134_7b0b_4f88_1c9c_7488),
    constant(-3, 0xfadb_afc9_6406_eb15_6dc7_9ef5_f7a2_17e6),
    constant(-2, 0x9b13_b9b8_3f5e_5e69_c5ab_b498_d27a_f328),
    constant(-2, 0xb7b0_ca0f_26f7_8473_8aa3_2122_dcfe_4483),
    constant(-2, 0xd327_761e_611f_e5b6_427c_95e9_001e_7136),
    constant(-2, 0xed63_382b_0dda_7b45_6fe4_45ec_bc3a_8d03),
    constant(-1, 0x832b_f4a6_d986_7e2a_4b6a_09cb_61a5_15c1),
    constant(-1, 0x8f00_5d5e_f7f5_9f9b_5c83_5e16_65c4_3748),
    constant(-1, 0x9a2f_80e6_71bd_da20_4226_f8e2_204f_f3bd),
    constant(-1, 0xa4bc_7d19_34f7_0924_19a8_7f2a_457d_ac9f),
    constant(-1, 0xaeac_4c38_b4d8_c080_1472_5e2f_3e52_070a),
    constant(-1, 0xb805_3e2b_c231_9e73_cb2d_a552_10a4_443d),
    constant(-1, 0xc0ce_85b8_ac52_6640_89dd_62c4_6e92_fa25),
    constant(-1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1),
];

const fn constant(exp: i32, sig: u128) -> Wide {
    Wide { negative: false, exp, sig }
}

/// The upper 128 bits of `a * b`, and whether the lower ones are not all zero.
fn multiply_high(a: u128, b: u128) -> (u128, bool) {
    let low = |x: u128| x & u128::from(u64::MAX);
    let (a1, a0, b1, b0) = (a >> 64, low(a), b >> 64, low(b));
    let bottom = a0 * b0;
    let middle = a1 * b0 + (bottom >> 64);
    let other = a0 * b1 + low(middle);
    (a1 * b1 + (middle >> 64) + (other >> 64), low(other) != 0 || low(bottom) != 0)
}

/// A product of fixed-point numbers, one of them a fraction of 128 bits.
fn scale(fraction: u128, value: u128) -> u128 {
    multiply_high(fraction, value).0
}

/// `a * b`.
pub(super) fn mul(a: Wide, b: Wide) -> Wide {
    let (high, rest) = multiply_high(a.sig, b.sig);
    let negative = a.negative != b.negative;
    // The product of two significands has its highest bit at 127 or 126.
    if high >> 127 != 0 {
        Wide { negative, exp: a.exp + b.exp + 1, sig: high | u128::from(rest) }
    } else {
        Wide { negative, exp: a.exp + b.exp, sig: high << 1 | u128::from(rest) }
    }
}

/// `a + b`, or `None` if they cancel.
pub(super) fn add(a: Wide, b: Wide) -> Option<Wide> {
    let (large, small) = if (a.exp, a.sig) >= (b.exp, b.sig) { (a, b) } else { (b, a) };
    let x = shift_right_sticky(large.sig, 1);
    let y = shift_right_sticky(small.sig, large.exp.abs_diff(small.exp).saturating_add(1));
    let sum = if large.negative == small.negative { x + y } else { x - y };
    Wide::normalized(large.negative, large.exp + 1, sum)
}

/// `a / b`.
pub(super) fn div(a: Wide, b: Wide) -> Wide {
    let below = a.sig < b.sig;
    let mut rest = if below { a.sig } else { a.sig - b.sig };
    let mut quotient = u128::from(!below);
    // Schoolbook division, one bit at a time; the quotient's highest bit is at 127 in the end.
    for _ in 0..127 + u32::from(below) {
        let carry = rest >> 127 != 0;
        rest <<= 1;
        let fits = carry || rest >= b.sig;
        if fits {
            rest = rest.wrapping_sub(b.sig);
        }
        quotient = quotient << 1 | u128::from(fits);
    }
    Wide {
        negative: a.negative != b.negative,
        exp: a.exp - b.exp - i32::from(below),
        sig: quotient | u128::from(rest != 0),
    }
}

/// The magnitude of a number below 1 as a fraction of 128 bits, rounded down.
fn fraction(a: Wide) -> u128 {
    a.sig.checked_shr((-1 - a.exp) as u32).unwrap_or(0)
}

/// The square of a number below 1 as a fraction.
fn square(a: Wide) -> u128 {
    fraction(mul(a, a))
}

/// `value * factor`, where the factor is in the fixed-point format of [`ONE`]. The true product is irrational: the sticky bit
/// says so.
fn with_factor(value: Wide, factor: u128) -> Wide {
    match Wide::normalized(false, 1, factor) {
        Some(factor) => inexact(mul(value, factor)),
        None => value,
    }
}

/// Marks a result that cannot be exact.
pub(super) const fn inexact(a: Wide) -> Wide {
    Wide { sig: a.sig | 1, ..a }
}

/// `e^y - 1` for `|y| <= ln 2`, as `y` times the sum of `y^n / (n + 1)!`.
pub(super) fn exp_minus_one(y: Wide) -> Wide {
    let magnitude = fraction(y);
    let mut factor = ONE;
    for k in (2..=32u128).rev() {
        let term = scale(magnitude, factor) / k;
        factor = if y.negative { ONE - term } else { ONE + term };
    }
    with_factor(y, away_from_one(factor, y.negative))
}

/// Moves a factor that is 1 or came out as 1 by its last bit, to the side on which it really is.
const fn away_from_one(factor: u128, below: bool) -> u128 {
    if factor != ONE {
        factor
    } else if below {
        ONE - 1
    } else {
        ONE + 1
    }
}

/// `log2((1 + z) / (1 - z))` for `|z| < 0.18`, as `2 / ln 2` times `z` times the sum of `z^2n / (2n + 1)`.
pub(super) fn log2_of_ratio(z: Wide) -> Wide {
    let square = square(z);
    let mut factor = 0;
    for k in (0..=26u128).rev() {
        factor = ONE / (2 * k + 1) + scale(square, factor);
    }
    mul(with_factor(z, away_from_one(factor, false)), TWO_OVER_LN_2)
}

/// The arc tangent of a ratio from 0 to 1.
pub(super) fn arc_tangent(ratio: Wide) -> Wide {
    // 1.0 is 2^127 here. The nearest sixteenth is taken out: atan(z) = atan(c) + atan((z - c) / (1 + z * c)).
    let fixed = ratio.sig.checked_shr((-ratio.exp) as u32).unwrap_or(0);
    let sixteenths = (fixed + (1 << 122)) >> 123;
    let Some(index) = sixteenths.checked_sub(1) else { return small_arc_tangent(ratio) };
    let nearest = ARC_TANGENTS[(index & 15) as usize];
    let center = sixteenths << 123;
    let below = fixed < center;
    let Some(difference) = Wide::normalized(below, 0, fixed.abs_diff(center)) else {
        return inexact(nearest);
    };
    let denominator = ONE + (fixed >> 5) * sixteenths;
    let Some(denominator) = Wide::normalized(false, 1, denominator) else { return inexact(nearest) };
    match add(nearest, small_arc_tangent(div(difference, denominator))) {
        Some(sum) => inexact(sum),
        None => inexact(nearest),
    }
}

/// The arc tangent of a number of magnitude up to 1/32, as `t` times the sum of `(-1)^n t^2n / (2n + 1)`.
fn small_arc_tangent(t: Wide) -> Wide {
    let square = square(t);
    let mut factor = 0;
    for k in (0..=13u128).rev() {
        factor = ONE / (2 * k + 1) - scale(square, factor);
    }
    with_factor(t, away_from_one(factor, true))
}

/// The sine of an angle up to pi / 4.
pub(super) fn sine(angle: Wide) -> Wide {
    let square = square(angle);
    let mut factor = ONE;
    for k in (1..=16u128).rev() {
        factor = ONE - scale(square, factor) / (2 * k * (2 * k + 1));
    }
    with_factor(angle, away_from_one(factor, true))
}

/// The cosine of an angle up to pi / 4, other than 0.
pub(super) fn cosine(angle: Wide) -> Wide {
    let square = square(angle);
    let mut factor = ONE;
    for k in (1..=16u128).rev() {
        factor = ONE - scale(square, factor) / ((2 * k - 1) * 2 * k);
    }
    with_factor(constant(0, 1 << 127), away_from_one(factor, true))
}
