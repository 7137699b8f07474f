//! Conversions of one lane to and from integers and the other lane size.

use super::env::{SseEnv, exception};
use super::exact::Real;
use super::rounding::{Rounding, cut};
use super::sse_lane::Lane;
use super::sse_slow::{Layout, Value};

// Each conversion has a common case that needs no function call; `quick_*` is that alone, for callers that want none in theirs.

/// [`from_i32`] where nothing is raised.
#[inline(always)]
pub(crate) fn quick_from_i32<L: Lane>(value: i32, env: &SseEnv) -> Option<L> {
    // Every 32-bit integer is an f64; an f32 holds those of up to 24 bits.
    let fits = L::LAYOUT.fraction_bits >= 32 || value.unsigned_abs() <= 1 << 24;
    if fits || env.is_quick() { Some(L::native_from_i32(value)) } else { None }
}

/// CVTSI2SS, CVTSI2SD, CVTDQ2PS, CVTDQ2PD, CVTPI2PS, CVTPI2PD: from a signed 32-bit integer.
#[inline(always)]
pub(crate) fn from_i32<L: Lane>(value: i32, env: &mut SseEnv) -> L {
    match quick_from_i32(value, env) {
        Some(lane) => lane,
        None => from_integer(i64::from(value), env),
    }
}

/// [`from_i64`] where nothing is raised.
#[inline(always)]
pub(crate) fn quick_from_i64<L: Lane>(value: i64, env: &SseEnv) -> Option<L> {
    let fits = value.unsigned_abs() <= 1 << (L::LAYOUT.fraction_bits + 1);
    if fits || env.is_quick() { Some(L::native_from_i64(value)) } else { None }
}

/// CVTSI2SS, CVTSI2SD: from a signed 64-bit integer.
#[inline(always)]
pub(crate) fn from_i64<L: Lane>(value: i64, env: &mut SseEnv) -> L {
    match quick_from_i64(value, env) {
        Some(lane) => lane,
        None => from_integer(value, env),
    }
}

#[cold]
#[inline(never)]
fn from_integer<L: Lane>(value: i64, env: &mut SseEnv) -> L {
    match Real::from_integer(value < 0, value.unsigned_abs()) {
        Some(real) => L::from_wide(L::LAYOUT.finish(real.widen(), env)),
        None => L::ZERO,
    }
}

/// [`to_i32`] where nothing is raised.
#[inline(always)]
pub(crate) fn quick_to_i32<L: Lane>(a: L, env: &SseEnv) -> Option<i32> {
    if env.is_quick() { i32::try_from(nearest(a.native_to_f64())?).ok() } else { None }
}

/// CVTSS2SI, CVTSD2SI and the packed conversions: to a signed 32-bit integer, rounded as MXCSR says; the integer
/// indefinite (`i32::MIN`) if the operand has none (SDM 1 table 4-2).
#[inline(always)]
pub(crate) fn to_i32<L: Lane>(a: L, env: &mut SseEnv) -> i32 {
    match quick_to_i32(a, env) {
        Some(value) => value,
        None => to_i32_slow(a, env.rounding(), env),
    }
}

/// [`to_i64`] where nothing is raised.
#[inline(always)]
pub(crate) fn quick_to_i64<L: Lane>(a: L, env: &SseEnv) -> Option<i64> {
    if env.is_quick() { nearest(a.native_to_f64()) } else { None }
}

/// As [`to_i32`], to a 64-bit integer.
#[inline(always)]
pub(crate) fn to_i64<L: Lane>(a: L, env: &mut SseEnv) -> i64 {
    match quick_to_i64(a, env) {
        Some(value) => value,
        None => to_i64_slow(a, env.rounding(), env),
    }
}

/// [`to_i32_truncated`] where nothing is raised.
#[inline(always)]
pub(crate) fn quick_to_i32_truncated<L: Lane>(a: L, env: &SseEnv) -> Option<i32> {
    let value = a.native_to_f64();
    // A cast of a number out of range saturates; i32::MIN therefore also stands for those, and for nothing else if the
    // largest is left out too. NaN becomes zero, which does not compare equal to it.
    let integer = value as i32;
    let known = f64::from(integer) == value || env.ignores_precision() && !value.is_nan();
    if known && integer != i32::MIN && integer != i32::MAX { Some(integer) } else { None }
}

/// CVTTSS2SI, CVTTSD2SI and the packed conversions: to a signed 32-bit integer, truncated.
#[inline(always)]
pub(crate) fn to_i32_truncated<L: Lane>(a: L, env: &mut SseEnv) -> i32 {
    match quick_to_i32_truncated(a, env) {
        Some(value) => value,
        None => to_i32_slow(a, Rounding::Zero, env),
    }
}

/// [`to_i64_truncated`] where nothing is raised.
#[inline(always)]
pub(crate) fn quick_to_i64_truncated<L: Lane>(a: L, env: &SseEnv) -> Option<i64> {
    let value = a.native_to_f64();
    let integer = value as i64;
    let known = integer as f64 == value || env.ignores_precision() && !value.is_nan();
    if known && integer != i64::MIN && integer != i64::MAX { Some(integer) } else { None }
}

/// As [`to_i32_truncated`], to a 64-bit integer.
#[inline(always)]
pub(crate) fn to_i64_truncated<L: Lane>(a: L, env: &mut SseEnv) -> i64 {
    match quick_to_i64_truncated(a, env) {
        Some(value) => value,
        None => to_i64_slow(a, Rounding::Zero, env),
    }
}

/// The nearest integer, ties to even, of a number that is surely small enough.
#[inline(always)]
fn nearest(value: f64) -> Option<i64> {
    /// Adding it leaves no room for a fraction, so the addition rounds.
    const MAGIC: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
    // False for NaN.
    if value.abs() < 2_251_799_813_685_248.0 { Some(((value + MAGIC) - MAGIC) as i64) } else { None }
}

#[cold]
#[inline(never)]
fn to_i32_slow<L: Lane>(a: L, mode: Rounding, env: &mut SseEnv) -> i32 {
    let value = to_integer(L::LAYOUT, a.to_wide(), mode, env);
    match value.and_then(|(value, inexact)| Some((i32::try_from(value).ok()?, inexact))) {
        Some((value, inexact)) => {
            env.raise(if inexact { exception::PRECISION } else { 0 });
            value
        }
        None => {
            env.raise(exception::INVALID);
            i32::MIN
        }
    }
}

#[cold]
#[inline(never)]
fn to_i64_slow<L: Lane>(a: L, mode: Rounding, env: &mut SseEnv) -> i64 {
    let value = to_integer(L::LAYOUT, a.to_wide(), mode, env);
    match value.and_then(|(value, inexact)| Some((i64::try_from(value).ok()?, inexact))) {
        Some((value, inexact)) => {
            env.raise(if inexact { exception::PRECISION } else { 0 });
            value
        }
        None => {
            env.raise(exception::INVALID);
            i64::MIN
        }
    }
}

/// The rounded integer and whether rounding changed it; `None` if it is not below 2^64, or a NaN. A denormal operand is no
/// exception here.
fn to_integer(layout: Layout, bits: u64, mode: Rounding, env: &SseEnv) -> Option<(i128, bool)> {
    match layout.decode(bits, env.denormals_are_zeros()).value {
        Value::Zero => Some((0, false)),
        Value::Finite(real) if real.exp < 64 => {
            let cut = cut(real.widen().sig, (127 - real.exp) as u32, real.negative, mode);
            let magnitude = cut.units as i128;
            Some((if real.negative { -magnitude } else { magnitude }, cut.inexact))
        }
        _ => None,
    }
}

/// [`f32_to_f64`] where nothing is raised.
#[inline(always)]
pub(crate) fn quick_f32_to_f64(a: u32) -> Option<u64> {
    if a.is_nan() | a.is_subnormal() { None } else { Some(a.native_to_f64().to_bits()) }
}

/// CVTSS2SD, CVTPS2PD.
#[inline(always)]
pub(crate) fn f32_to_f64(a: u32, env: &mut SseEnv) -> u64 {
    match quick_f32_to_f64(a) {
        Some(lane) => lane,
        None => convert_slow(Layout::SINGLE, Layout::DOUBLE, u64::from(a), env),
    }
}

/// [`f64_to_f32`] where nothing is raised.
#[inline(always)]
pub(crate) fn quick_f64_to_f32(a: u64, env: &SseEnv) -> Option<u32> {
    let result = (f64::from_bits(a) as f32).to_bits();
    let exact = result.native_to_f64().to_bits() == a;
    if (result.is_usual() && (env.is_quick() || exact)) || a.is_zero() { Some(result) } else { None }
}

/// CVTSD2SS, CVTPD2PS.
#[inline(always)]
pub(crate) fn f64_to_f32(a: u64, env: &mut SseEnv) -> u32 {
    match quick_f64_to_f32(a, env) {
        Some(lane) => lane,
        None => convert_slow(Layout::DOUBLE, Layout::SINGLE, a, env) as u32,
    }
}

#[cold]
#[inline(never)]
fn convert_slow(from: Layout, to: Layout, bits: u64, env: &mut SseEnv) -> u64 {
    let operand = from.decode(bits, env.denormals_are_zeros());
    if operand.denormal {
        env.raise(exception::DENORMAL);
    }
    match operand.value {
        Value::Zero => to.sign(operand.negative),
        Value::Infinity => to.infinity(operand.negative),
        Value::Finite(real) => to.finish(real.widen(), env),
        Value::QuietNan | Value::SignalingNan => {
            if operand.is_signaling() {
                env.raise(exception::INVALID);
            }
            // The fraction keeps its highest bits and becomes quiet.
            let fraction = bits << (64 - from.fraction_bits) >> (64 - to.fraction_bits);
            to.infinity(operand.negative) | to.quiet_bit() | fraction
        }
    }
}
