//! Sums, products, quotients and roots of unpacked numbers, exact up to a sticky bit.

/// A finite number other than zero with at most 64 significant bits: `sig * 2^(exp - 63)`, bit 63 of `sig` set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Real {
    pub(super) negative: bool,
    pub(super) exp: i32,
    pub(super) sig: u64,
}

/// The result of an operation before rounding: `sig * 2^(exp - 127)`, bit 127 of `sig` set. The lowest bit also stands for
/// everything below it ("sticky"), which is enough to round correctly to at most 125 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wide {
    pub(super) negative: bool,
    pub(super) exp: i32,
    pub(super) sig: u128,
}

impl Real {
    /// The same number, ready for rounding.
    pub(super) const fn widen(self) -> Wide {
        Wide { negative: self.negative, exp: self.exp, sig: (self.sig as u128) << 64 }
    }

    /// An integer, unless it is zero.
    pub(super) const fn from_integer(negative: bool, magnitude: u64) -> Option<Self> {
        if magnitude == 0 {
            return None;
        }
        let shift = magnitude.leading_zeros();
        Some(Self { negative, exp: 63 - shift as i32, sig: magnitude << shift })
    }

    pub(super) const fn negated(self) -> Self {
        Self { negative: !self.negative, ..self }
    }
}

impl Wide {
    /// Moves the highest set bit of `sig` to bit 127; `exp` is the weight of bit 127 before. `None` if `sig` is zero.
    pub(super) const fn normalized(negative: bool, exp: i32, sig: u128) -> Option<Self> {
        if sig == 0 {
            return None;
        }
        let shift = sig.leading_zeros();
        Some(Self { negative, exp: exp - shift as i32, sig: sig << shift })
    }
}

/// Shifts right; what is shifted out stays visible in the lowest bit.
pub(super) const fn shift_right_sticky(sig: u128, by: u32) -> u128 {
    match by {
        0 => sig,
        1..=127 => (sig >> by) | ((sig << (128 - by) != 0) as u128),
        _ => (sig != 0) as u128,
    }
}

/// `a + b`, or `None` if they cancel.
pub(super) fn add(a: Real, b: Real) -> Option<Wide> {
    let (large, small) = if (a.exp, a.sig) >= (b.exp, b.sig) { (a, b) } else { (b, a) };
    // Bit 127 is kept free for the carry. With 63 zero bits below the larger significand a bit is lost only where the two
    // differ by so much that a difference is at least half of it: the sticky bit stays far below any rounding point.
    let x = u128::from(large.sig) << 63;
    let y = shift_right_sticky(u128::from(small.sig) << 63, large.exp.abs_diff(small.exp));
    let sum = if large.negative == small.negative { x + y } else { x - y };
    Wide::normalized(large.negative, large.exp + 1, sum)
}

/// `a * b`.
pub(super) fn mul(a: Real, b: Real) -> Wide {
    let product = u128::from(a.sig) * u128::from(b.sig);
    let high = product >> 127 != 0;
    Wide {
        negative: a.negative != b.negative,
        exp: a.exp + b.exp + i32::from(high),
        sig: if high { product } else { product << 1 },
    }
}

/// `a / b`.
pub(super) fn div(a: Real, b: Real) -> Wide {
    let divisor = u128::from(b.sig);
    // Scaled so that the quotient has exactly 64 bits; the remainder then gives 64 more, and its rest the sticky bit.
    let below = a.sig < b.sig;
    let dividend = u128::from(a.sig) << (63 + u32::from(below));
    let high = dividend / divisor;
    let rest = (dividend % divisor) << 64;
    let low = rest / divisor;
    let sticky = u128::from(rest % divisor != 0);
    Wide {
        negative: a.negative != b.negative,
        exp: a.exp - b.exp - i32::from(below),
        sig: high << 64 | low | sticky,
    }
}

/// The square root of a positive number, exact enough to be rounded to at most 64 bits.
pub(super) fn sqrt(a: Real) -> Wide {
    let odd = a.exp & 1;
    let square = u128::from(a.sig) << (63 + odd);
    let root = square.isqrt();
    let rest = square - root * root;
    // sqrt(square) > root + 1/2 exactly when rest > root + 1/4; it is never equal, being the root of an integer.
    let round = u128::from(rest > root) << 63;
    Wide { negative: false, exp: (a.exp - odd) / 2, sig: root << 64 | round | u128::from(rest != 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(exp: i32, sig: u64) -> Real {
        Real { negative: false, exp, sig }
    }

    #[test]
    fn sticky_shift_keeps_a_trace_of_every_bit() {
        assert_eq!(shift_right_sticky(0b1000, 3), 1);
        assert_eq!(shift_right_sticky(0b11000, 3), 3);
        assert_eq!(shift_right_sticky(0b10001, 3), 3);
        assert_eq!(shift_right_sticky(1, 127), 1);
        assert_eq!(shift_right_sticky(1, 500), 1);
        assert_eq!(shift_right_sticky(0, 500), 0);
    }

    #[test]
    fn cancelling_numbers_leave_nothing() {
        let one = real(0, 1 << 63);
        assert!(add(one, one.negated()).is_none());
    }

    #[test]
    fn a_quotient_times_its_divisor_is_the_dividend() {
        let seven = real(2, 7 << 61);
        let quotient = div(real(5, 49 << 58), seven);
        assert_eq!((quotient.exp, quotient.sig), (2, 7 << 125));
    }

    #[test]
    fn roots_of_odd_and_even_powers() {
        let root = sqrt(real(4, 1 << 63));
        assert_eq!((root.exp, root.sig), (2, 1 << 127));
        let root = sqrt(real(-3, 1 << 63));
        assert_eq!(root.exp, -2);
        assert_eq!((root.sig >> 64) as u64, 0xb504_f333_f9de_6484);
    }
}
