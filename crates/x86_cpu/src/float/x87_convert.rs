//! Loads and stores of x87 registers in other formats, and the constants.

use super::env::exception;
use super::f80::{F80, F80Value, Operand};
use super::rounding::{Rounding, cut, round_tiny, round_unbounded};
use super::sse_slow::Layout;
use super::x87_arith::propagate_one;
use super::x87_env::X87Env;

/// FLD of an f32 or f64: unlike that of 80 bits it makes signaling NaNs quiet and notices denormals.
pub(crate) fn x87_load(operand: Operand, env: &mut X87Env) -> F80 {
    if let Some(nan) = propagate_one(operand.bits, env) {
        return nan;
    }
    if operand.denormal {
        env.raise(exception::DENORMAL);
    }
    operand.bits
}

/// FST, FSTP to an f32.
pub(crate) fn x87_store_f32(a: F80, env: &mut X87Env) -> u32 {
    store(a, Layout::SINGLE, env) as u32
}

/// FST, FSTP to an f64.
pub(crate) fn x87_store_f64(a: F80, env: &mut X87Env) -> u64 {
    store(a, Layout::DOUBLE, env)
}

fn store(a: F80, layout: Layout, env: &mut X87Env) -> u64 {
    let sign = layout.sign(a.is_negative());
    if let Some(nan) = propagate_one(a, env) {
        // The fraction keeps its highest bits.
        let fraction = nan.mantissa << 1 >> (64 - layout.fraction_bits);
        return layout.infinity(nan.is_negative()) | fraction;
    }
    let real = match a.value() {
        F80Value::Finite(real) => real,
        F80Value::Infinity => return layout.infinity(a.is_negative()),
        _ => return sign,
    };
    let range = layout.range();
    let rounded = round_unbounded(real.widen(), range.precision, env.rounding());
    if rounded.exp > range.max_exp {
        env.raise(exception::OVERFLOW);
        let infinite = env.rounding().overflows_to_infinity(real.negative);
        if env.is_masked(exception::OVERFLOW) {
            env.inexact(infinite);
        }
        return if infinite { layout.infinity(real.negative) } else { layout.largest(real.negative) };
    }
    if rounded.exp < range.min_exp {
        let tiny = round_tiny(real.widen(), range, env.rounding());
        if !env.is_masked(exception::UNDERFLOW) {
            env.raise(exception::UNDERFLOW);
        } else if tiny.inexact {
            env.raise(exception::UNDERFLOW);
            env.inexact(tiny.up);
        }
        return layout.encode(real.negative, range.min_exp, tiny.sig);
    }
    if rounded.inexact {
        env.inexact(rounded.up);
    }
    layout.encode(real.negative, rounded.exp, rounded.sig)
}

/// FIST, FISTP to 16 bits.
pub(crate) fn x87_store_i16(a: F80, env: &mut X87Env) -> i16 {
    store_integer(a, 16, env.rounding(), env) as i16
}

/// FIST, FISTP to 32 bits.
pub(crate) fn x87_store_i32(a: F80, env: &mut X87Env) -> i32 {
    store_integer(a, 32, env.rounding(), env) as i32
}

/// FISTP to 64 bits.
pub(crate) fn x87_store_i64(a: F80, env: &mut X87Env) -> i64 {
    store_integer(a, 64, env.rounding(), env)
}

/// FISTTP to 16 bits.
pub(crate) fn x87_truncate_i16(a: F80, env: &mut X87Env) -> i16 {
    store_integer(a, 16, Rounding::Zero, env) as i16
}

/// FISTTP to 32 bits.
pub(crate) fn x87_truncate_i32(a: F80, env: &mut X87Env) -> i32 {
    store_integer(a, 32, Rounding::Zero, env) as i32
}

/// FISTTP to 64 bits.
pub(crate) fn x87_truncate_i64(a: F80, env: &mut X87Env) -> i64 {
    store_integer(a, 64, Rounding::Zero, env)
}

/// The integer, or the integer indefinite of that size: its smallest number.
fn store_integer(a: F80, bits: u32, mode: Rounding, env: &mut X87Env) -> i64 {
    let limit = 1u128 << (bits - 1);
    match to_magnitude(a, mode) {
        Some((magnitude, inexact, up)) if magnitude < limit || (a.is_negative() && magnitude == limit) => {
            if inexact {
                env.inexact(up);
            }
            let magnitude = magnitude as i64;
            if a.is_negative() { magnitude.wrapping_neg() } else { magnitude }
        }
        _ => {
            env.raise(exception::INVALID);
            (limit as i64).wrapping_neg()
        }
    }
}

/// The magnitude as an integer, whether it was inexact and rounded up; `None` if it is 2^64 or more, or no number.
pub(super) fn to_magnitude(a: F80, mode: Rounding) -> Option<(u128, bool, bool)> {
    match a.value() {
        F80Value::Zero => Some((0, false, false)),
        F80Value::Finite(real) if real.exp < 64 => {
            let cut = cut(real.widen().sig, (127 - real.exp) as u32, real.negative, mode);
            Some((cut.units, cut.inexact, cut.up))
        }
        _ => None,
    }
}

/// The constants that FLD1, FLDL2T and the others push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Constant {
    /// FLD1.
    One,
    /// FLDL2T: the logarithm of 10 to base 2.
    Log2Of10,
    /// FLDL2E: the logarithm of e to base 2.
    Log2OfE,
    /// FLDPI.
    Pi,
    /// FLDLG2: the logarithm of 2 to base 10.
    Log10Of2,
    /// FLDLN2: the logarithm of 2 to base e.
    LnOf2,
    /// FLDZ.
    Zero,
}

/// The constant, rounded as the control word says; that it is inexact is no exception (SDM 2 FLD1).
#[must_use]
pub(crate) fn x87_constant(constant: Constant, env: &X87Env) -> F80 {
    // The 64 leading bits, and whether what follows is more than half a unit.
    let (sign_exp, mantissa, above_half) = match constant {
        Constant::One => return F80::ONE,
        Constant::Zero => return F80::ZERO,
        Constant::Log2Of10 => (0x4000, 0xd49a_784b_cd1b_8afe, false),
        Constant::Log2OfE => (0x3fff, 0xb8aa_3b29_5c17_f0bb, true),
        Constant::Pi => (0x4000, 0xc90f_daa2_2168_c234, true),
        Constant::Log10Of2 => (0x3ffd, 0x9a20_9a84_fbcf_f798, true),
        Constant::LnOf2 => (0x3ffe, 0xb172_17f7_d1cf_79ab, true),
    };
    let up = match env.rounding() {
        Rounding::Nearest => above_half,
        Rounding::Up => true,
        Rounding::Down | Rounding::Zero => false,
    };
    F80 { mantissa: mantissa + u64::from(up), sign_exp }
}
