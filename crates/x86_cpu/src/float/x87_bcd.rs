//! FBLD and FBSTP: packed decimal integers of 18 digits (SDM 1 4.7).

use super::env::exception;
use super::f80::F80;
use super::x87_convert::to_magnitude;
use super::x87_env::X87Env;

/// The packed BCD indefinite (SDM 1 table 4-4).
const INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];
const LIMIT: u128 = 1_000_000_000_000_000_000;

/// FBLD: always exact. Digits above 9, which the manual leaves undefined, count as what they are.
#[must_use]
pub(crate) fn x87_load_bcd(bytes: [u8; 10]) -> F80 {
    let [digits @ .., sign] = bytes;
    let magnitude = digits
        .iter()
        .rev()
        .fold(0, |value, pair| (value * 10 + i64::from(pair >> 4)) * 10 + i64::from(pair & 15));
    let value = F80::from_i64(magnitude);
    if sign & 0x80 != 0 { value.negated() } else { value }
}

/// FBSTP, rounded as the control word says.
pub(crate) fn x87_store_bcd(a: F80, env: &mut X87Env) -> [u8; 10] {
    let (mut rest, inexact, up) = match to_magnitude(a, env.rounding()) {
        Some((magnitude, inexact, up)) if magnitude < LIMIT => (magnitude as u64, inexact, up),
        _ => {
            env.raise(exception::INVALID);
            return INDEFINITE;
        }
    };
    if inexact {
        env.inexact(up);
    }
    let mut bytes = [0; 10];
    let [digits @ .., sign] = &mut bytes;
    for pair in digits {
        *pair = (((rest / 10 % 10) << 4) | (rest % 10)) as u8;
        rest /= 100;
    }
    *sign = if a.is_negative() { 0x80 } else { 0 };
    bytes
}
