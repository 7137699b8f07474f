//! Rounding of exact numbers to a number of significant bits (SDM 1 4.8.4).

use super::exact::Wide;

/// The rounding control of MXCSR and of the x87 control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// To the nearest number; of two equally near ones to the even one.
    Nearest,
    /// Towards minus infinity.
    Down,
    /// Towards plus infinity.
    Up,
    /// Towards zero.
    Zero,
}

impl Rounding {
    /// Reads the two control bits; higher bits are ignored.
    #[inline(always)]
    pub(crate) const fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }

    /// Whether a number that exceeds every finite one becomes an infinity (SDM 1 table 4-10).
    pub(super) const fn overflows_to_infinity(self, negative: bool) -> bool {
        match self {
            Self::Nearest => true,
            Self::Down => negative,
            Self::Up => !negative,
            Self::Zero => false,
        }
    }
}

/// What a format can hold: significant bits, and the exponents of the leading bit of its normal numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) precision: u32,
    pub(super) min_exp: i32,
    pub(super) max_exp: i32,
}

/// A significand cut to an integer number of units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// The units kept, after rounding; a carry may have made it one bit longer than asked for.
    pub(super) units: u128,
    /// Whether anything but zeros was cut off.
    pub(super) inexact: bool,
    /// Whether rounding increased the magnitude.
    pub(super) up: bool,
}

/// Drops the `drop` lowest bits of `sig`, the magnitude of a number whose sign is `negative`.
pub(super) fn cut(sig: u128, drop: u32, negative: bool, mode: Rounding) -> Cut {
    if drop == 0 {
        return Cut { units: sig, inexact: false, up: false };
    }
    let (units, rest, half) = match drop {
        1..=127 => (sig >> drop, sig & ((1 << drop) - 1), 1 << (drop - 1)),
        128 => (0, sig, 1 << 127),
        // Below a quarter of a unit; 2 stands for "half" and 1 for "something".
        _ => (0, u128::from(sig != 0), 2),
    };
    if rest == 0 {
        return Cut { units, inexact: false, up: false };
    }
    let up = match mode {
        Rounding::Nearest => rest > half || (rest == half && units & 1 == 1),
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::Zero => false,
    };
    Cut { units: units + u128::from(up), inexact: true, up }
}

/// A number rounded to `precision` bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounded {
    /// The significand: `precision` bits, the highest of them set unless the number is subnormal.
    pub(super) sig: u64,
    /// Exponent of bit `precision - 1` of `sig`.
    pub(super) exp: i32,
    pub(super) inexact: bool,
    pub(super) up: bool,
}

/// Rounds as if exponents were unbounded. `wide` must not be zero.
pub(super) fn round_unbounded(wide: Wide, precision: u32, mode: Rounding) -> Rounded {
    let cut = cut(wide.sig, 128 - precision, wide.negative, mode);
    let carried = cut.units >> precision != 0;
    Rounded {
        sig: (if carried { cut.units >> 1 } else { cut.units }) as u64,
        exp: wide.exp + i32::from(carried),
        inexact: cut.inexact,
        up: cut.up,
    }
}

/// Rounds a number below the normal range to a multiple of the smallest subnormal number. The result may be zero, and it
/// may be the smallest normal number.
pub(super) fn round_tiny(wide: Wide, range: Range, mode: Rounding) -> Rounded {
    let below = (range.min_exp - wide.exp).clamp(0, 256) as u32;
    let cut = cut(wide.sig, 128 - range.precision + below, wide.negative, mode);
    Rounded { sig: cut.units as u64, exp: range.min_exp, inexact: cut.inexact, up: cut.up }
}
