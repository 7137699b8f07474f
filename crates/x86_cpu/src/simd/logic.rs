//! Bitwise operations on whole packed values, and what reads their sign bits.

use super::Flags;
use super::lanes::Packed;

/// `a & b`; also ANDPS and ANDPD.
#[inline]
pub(crate) fn pand<V: Packed>(a: V, b: V) -> V {
    a & b
}

/// `!a & b`; also ANDNPS and ANDNPD.
#[inline]
pub(crate) fn pandn<V: Packed>(a: V, b: V) -> V {
    !a & b
}

/// `a | b`; also ORPS and ORPD.
#[inline]
pub(crate) fn por<V: Packed>(a: V, b: V) -> V {
    a | b
}

/// `a ^ b`; also XORPS and XORPD.
#[inline]
pub(crate) fn pxor<V: Packed>(a: V, b: V) -> V {
    a ^ b
}

/// ZF if `a & b` is zero, CF if `b & !a` is; all other flags cleared.
#[inline]
pub(crate) fn ptest(a: u128, b: u128) -> Flags {
    Flags { zero: a & b == 0, carry: b & !a == 0, ..Flags::default() }
}

/// The sign bits of the eight bytes of an MMX register.
#[inline]
pub(crate) fn pmovmskb_mmx(src: u64) -> u32 {
    // Each sign bit, at 8i, is moved to bit 56 + i by one of the summands; no two summands meet.
    let signs = (src >> 7) & 0x0101_0101_0101_0101;
    (signs.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
}

/// The sign bits of the sixteen bytes.
#[inline]
pub(crate) fn pmovmskb(src: u128) -> u32 {
    pmovmskb_mmx(src as u64) | pmovmskb_mmx((src >> 64) as u64) << 8
}

/// The sign bits of the four single-precision lanes.
#[inline]
pub(crate) fn movmskps(src: u128) -> u32 {
    (0..4).fold(0, |mask, i| mask | ((src >> (32 * i + 31)) as u32 & 1) << i)
}

/// The sign bits of the two double-precision lanes.
#[inline]
pub(crate) fn movmskpd(src: u128) -> u32 {
    (src >> 63) as u32 & 1 | ((src >> 127) as u32) << 1
}

#[cfg(test)]
mod tests {
    use super::super::test_values::{Operands, signed};
    use super::*;

    #[test]
    fn masks_gather_the_sign_of_each_lane() {
        let mut operands = Operands::new(4);
        for _ in 0..500 {
            let a = operands.u128();
            let mask = |bits| {
                signed(a, bits).iter().enumerate().fold(0, |mask, (i, lane)| mask | u32::from(*lane < 0) << i)
            };
            assert_eq!(pmovmskb(a), mask(8), "pmovmskb {a:#x}");
            assert_eq!(pmovmskb_mmx(a as u64), mask(8) & 0xff, "pmovmskb (MMX) {a:#x}");
            assert_eq!(movmskps(a), mask(32), "movmskps {a:#x}");
            assert_eq!(movmskpd(a), mask(64), "movmskpd {a:#x}");
        }
    }

    #[test]
    fn ptest_compares_with_zero_under_both_masks() {
        for (a, b, zero, carry) in [
            (0, 0, true, true),
            (0, 1, true, false),
            (1 << 127, 0, true, true),
            (1 << 127, 1 << 127, false, true),
            (1 << 127, 3 << 126, false, false),
            (0xf0, 0x0f, true, false),
        ] {
            assert_eq!(ptest(a, b), Flags { zero, carry, ..Flags::default() }, "{a:#x} {b:#x}");
        }
    }

    #[test]
    fn pandn_inverts_its_first_operand() {
        assert_eq!(pandn(0xff00u64, 0x0ff0), 0x00f0);
        assert_eq!(pandn(0u128, u128::MAX), u128::MAX);
    }
}
