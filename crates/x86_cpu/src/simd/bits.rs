//! Bit manipulation of general registers: POPCNT, LZCNT, TZCNT, BMI1, BMI2 and ADX.

use super::Flags;

/// A general register's value of 16 (POPCNT, LZCNT, TZCNT only), 32 or 64 bits.
pub(crate) trait Word: Copy + Eq {
    /// Number of bits.
    const BITS: u32;
    /// Zero-extends.
    fn to_u64(self) -> u64;
    /// Truncates.
    fn from_u64(value: u64) -> Self;
}

macro_rules! word {
    ($($ty:ty),*) => {$(
        impl Word for $ty {
            const BITS: u32 = <$ty>::BITS;
            #[inline(always)]
            fn to_u64(self) -> u64 {
                u64::from(self)
            }
            #[inline(always)]
            fn from_u64(value: u64) -> Self {
                value as Self
            }
        }
    )*};
}
word!(u16, u32, u64);

/// ZF and SF of `result`, with the given CF and OF cleared.
#[inline(always)]
fn logic_flags<W: Word>(result: W, carry: bool) -> Flags {
    let result = result.to_u64();
    Flags { carry, zero: result == 0, sign: result >> (W::BITS - 1) & 1 != 0, overflow: false }
}

/// Number of bits that are set. ZF tells of a zero source, every other flag is cleared.
#[inline]
pub(crate) fn popcnt<W: Word>(src: W) -> (W, Flags) {
    let src = src.to_u64();
    (W::from_u64(u64::from(src.count_ones())), Flags { zero: src == 0, ..Flags::default() })
}

/// Number of leading zeroes. CF: the source is zero; ZF: the result is; the others are undefined (cleared).
#[inline]
pub(crate) fn lzcnt<W: Word>(src: W) -> (W, Flags) {
    let count = src.to_u64().leading_zeros() - (64 - W::BITS);
    (W::from_u64(u64::from(count)), Flags { carry: count == W::BITS, zero: count == 0, ..Flags::default() })
}

/// Number of trailing zeroes. CF: the source is zero; ZF: the result is; the others are undefined (cleared).
#[inline]
pub(crate) fn tzcnt<W: Word>(src: W) -> (W, Flags) {
    let count = src.to_u64().trailing_zeros().min(W::BITS);
    (W::from_u64(u64::from(count)), Flags { carry: count == W::BITS, zero: count == 0, ..Flags::default() })
}

/// `!a & b`. SF and ZF of the result; CF and OF cleared.
#[inline]
pub(crate) fn andn<W: Word>(a: W, b: W) -> (W, Flags) {
    let result = W::from_u64(!a.to_u64() & b.to_u64());
    (result, logic_flags(result, false))
}

/// Extracts the bits from `control[7:0]`, `control[15:8]` of them. ZF of the result; the others cleared.
#[inline]
pub(crate) fn bextr<W: Word>(src: W, control: W) -> (W, Flags) {
    let control = control.to_u64();
    let (start, length) = ((control & 0xff) as u32, (control >> 8 & 0xff) as u32);
    let shifted = src.to_u64().checked_shr(start).unwrap_or(0);
    let result = W::from_u64(shifted & low_bits(length));
    (result, Flags { zero: result.to_u64() == 0, ..Flags::default() })
}

/// The lowest `n` bits set, all of them from 64 on.
#[inline(always)]
fn low_bits(n: u32) -> u64 {
    1u64.checked_shl(n).map_or(u64::MAX, |bit| bit - 1)
}

/// Isolates the lowest set bit. CF tells of a source that is not zero.
#[inline]
pub(crate) fn blsi<W: Word>(src: W) -> (W, Flags) {
    let src = src.to_u64();
    let result = W::from_u64(src & src.wrapping_neg());
    (result, logic_flags(result, src != 0))
}

/// The bits up to and with the lowest set bit; all of them for zero. CF tells of a zero source; ZF is cleared, for the
/// result is never zero.
#[inline]
pub(crate) fn blsmsk<W: Word>(src: W) -> (W, Flags) {
    let src = src.to_u64();
    let result = W::from_u64(src ^ src.wrapping_sub(1));
    (result, logic_flags(result, src == 0))
}

/// Resets the lowest set bit. CF tells of a zero source.
#[inline]
pub(crate) fn blsr<W: Word>(src: W) -> (W, Flags) {
    let src = src.to_u64();
    let result = W::from_u64(src & src.wrapping_sub(1));
    (result, logic_flags(result, src == 0))
}

/// Clears the bits from position `index[7:0]` up. CF tells of a position past the operand.
#[inline]
pub(crate) fn bzhi<W: Word>(src: W, index: W) -> (W, Flags) {
    let index = (index.to_u64() & 0xff) as u32;
    let result = W::from_u64(src.to_u64() & low_bits(index));
    (result, logic_flags(result, index >= W::BITS))
}

/// Deposits the low bits of `src` at the set bits of `mask`.
#[inline]
pub(crate) fn pdep<W: Word>(src: W, mask: W) -> W {
    let (mut src, mut mask, mut result) = (src.to_u64(), mask.to_u64(), 0);
    while mask != 0 {
        if src & 1 != 0 {
            result |= mask & mask.wrapping_neg();
        }
        src >>= 1;
        mask &= mask - 1;
    }
    W::from_u64(result)
}

/// Gathers the bits of `src` at the set bits of `mask`.
#[inline]
pub(crate) fn pext<W: Word>(src: W, mask: W) -> W {
    let (src, mut mask, mut result) = (src.to_u64(), mask.to_u64(), 0);
    let mut position = 0;
    while mask != 0 {
        result |= (src >> mask.trailing_zeros() & 1) << position;
        position += 1;
        mask &= mask - 1;
    }
    W::from_u64(result)
}

/// The unsigned product, as (high, low) half.
#[inline]
pub(crate) fn mulx<W: Word>(a: W, b: W) -> (W, W) {
    let product = u128::from(a.to_u64()) * u128::from(b.to_u64());
    (W::from_u64((product >> W::BITS) as u64), W::from_u64(product as u64))
}

/// A shift count as the operand size masks it.
#[inline(always)]
fn masked<W: Word>(count: u64) -> u32 {
    count as u32 & (W::BITS - 1)
}

/// Rotates right by an immediate.
#[inline]
pub(crate) fn rorx<W: Word>(src: W, count: u8) -> W {
    let (src, count) = (src.to_u64(), masked::<W>(u64::from(count)));
    W::from_u64(src >> count | src.checked_shl(W::BITS - count).unwrap_or(0))
}

/// Shifts right, filling with the sign.
#[inline]
pub(crate) fn sarx<W: Word>(src: W, count: W) -> W {
    // The sign is brought to the top, so that the shift finds it there.
    let unused = 64 - W::BITS;
    let extended = (src.to_u64() << unused).cast_signed() >> unused;
    W::from_u64((extended >> masked::<W>(count.to_u64())).cast_unsigned())
}

/// Shifts left.
#[inline]
pub(crate) fn shlx<W: Word>(src: W, count: W) -> W {
    W::from_u64(src.to_u64() << masked::<W>(count.to_u64()))
}

/// Shifts right, filling with zeroes.
#[inline]
pub(crate) fn shrx<W: Word>(src: W, count: W) -> W {
    W::from_u64(src.to_u64() >> masked::<W>(count.to_u64()))
}

/// The sum with a carry, and the carry out of it: CF for ADCX, OF for ADOX.
#[inline]
pub(crate) fn add_with_carry<W: Word>(a: W, b: W, carry: bool) -> (W, bool) {
    let sum = u128::from(a.to_u64()) + u128::from(b.to_u64()) + u128::from(carry);
    (W::from_u64(sum as u64), sum >> W::BITS != 0)
}

#[cfg(test)]
mod tests {
    use super::super::test_values::Operands;
    use super::*;

    fn flags(carry: bool, zero: bool, sign: bool) -> Flags {
        Flags { carry, zero, sign, overflow: false }
    }

    #[test]
    fn counts_and_their_flags() {
        assert_eq!(popcnt(0u16), (0, flags(false, true, false)));
        assert_eq!(popcnt(0xffffu16), (16, flags(false, false, false)));
        assert_eq!(popcnt(u64::MAX), (64, flags(false, false, false)));
        assert_eq!(lzcnt(0u16), (16, flags(true, false, false)));
        assert_eq!(lzcnt(0x8000u16), (0, flags(false, true, false)));
        assert_eq!(lzcnt(1u32), (31, flags(false, false, false)));
        assert_eq!(lzcnt(0u64), (64, flags(true, false, false)));
        assert_eq!(tzcnt(0u16), (16, flags(true, false, false)));
        assert_eq!(tzcnt(0x8000_0000u32), (31, flags(false, false, false)));
        assert_eq!(tzcnt(1u64), (0, flags(false, true, false)));
    }

    #[test]
    fn lowest_bit_operations_and_their_flags() {
        assert_eq!(blsi(0u32), (0, flags(false, true, false)));
        assert_eq!(blsi(0x8000_0000u32), (0x8000_0000, flags(true, false, true)));
        assert_eq!(blsi(0b1100u64), (0b100, flags(true, false, false)));
        assert_eq!(blsmsk(0u32), (u32::MAX, flags(true, false, true)));
        assert_eq!(blsmsk(0b1100u64), (0b111, flags(false, false, false)));
        assert_eq!(blsmsk(1u64 << 63), (u64::MAX, flags(false, false, true)));
        assert_eq!(blsr(0u64), (0, flags(true, true, false)));
        assert_eq!(blsr(0b100u32), (0, flags(false, true, false)));
        assert_eq!(blsr(0x8000_0001u32), (0x8000_0000, flags(false, false, true)));
    }

    #[test]
    fn fields_and_their_flags() {
        assert_eq!(andn(0xffff_0000u32, 0xf000_ffff), (0xffff, flags(false, false, false)));
        assert_eq!(andn(0u32, 1 << 31), (1 << 31, flags(false, false, true)));
        assert_eq!(andn(u64::MAX, u64::MAX), (0, flags(false, true, false)));
        assert_eq!(bextr(0x1234_5678u32, 0x0804), (0x67, flags(false, false, false)));
        assert_eq!(bextr(u64::MAX, 0xff00), (u64::MAX, flags(false, false, false)));
        assert_eq!(bextr(u64::MAX, 0xff3f), (1, flags(false, false, false)));
        assert_eq!(bextr(u64::MAX, 0xff40), (0, flags(false, true, false)));
        assert_eq!(bextr(u32::MAX, 0xff20), (0, flags(false, true, false)));
        assert_eq!(bextr(u64::MAX, 0), (0, flags(false, true, false)));
        assert_eq!(bzhi(u32::MAX, 8), (0xff, flags(false, false, false)));
        assert_eq!(bzhi(u32::MAX, 0x100), (0, flags(false, true, false)));
        assert_eq!(bzhi(u32::MAX, 32), (u32::MAX, flags(true, false, true)));
        assert_eq!(bzhi(u64::MAX, 63), (u64::MAX >> 1, flags(false, false, false)));
        assert_eq!(bzhi(u64::MAX, 255), (u64::MAX, flags(true, false, true)));
    }

    #[test]
    fn deposits_and_extractions_go_bit_by_bit() {
        let mut operands = Operands::new(15);
        for _ in 0..500 {
            let (src, mask) = (operands.u128() as u64, operands.u128() as u64);
            let positions: Vec<u32> = (0..64).filter(|i| mask >> i & 1 != 0).collect();
            let (mut deposited, mut extracted) = (0u64, 0u64);
            for (i, position) in positions.into_iter().enumerate() {
                deposited |= (src >> i & 1) << position;
                extracted |= (src >> position & 1) << i;
            }
            assert_eq!(pdep(src, mask), deposited, "{src:#x} {mask:#x}");
            assert_eq!(pext(src, mask), extracted, "{src:#x} {mask:#x}");
        }
        assert_eq!(pdep(u32::MAX, 0x8000_0001), 0x8000_0001);
        assert_eq!(pext(0x8000_0000u32, 0x8000_0000), 1);
    }

    #[test]
    fn products_rotations_shifts_and_sums() {
        assert_eq!(mulx(u64::MAX, u64::MAX), (u64::MAX - 1, 1));
        assert_eq!(mulx(u32::MAX, 2), (1, u32::MAX - 1));
        assert_eq!(rorx(0x1234_5678u32, 8), 0x7812_3456);
        assert_eq!(rorx(0x1234_5678u32, 32), 0x1234_5678);
        assert_eq!(rorx(1u64, 0xff), 2);
        assert_eq!(sarx(0x8000_0000u32, 0xffff_ffe4), 0xf800_0000);
        assert_eq!(sarx(u64::MAX, 63), u64::MAX);
        assert_eq!(shlx(1u32, 33), 2);
        assert_eq!(shlx(1u64, 33), 1 << 33);
        assert_eq!(shrx(0x8000_0000u32, 31), 1);
        assert_eq!(shrx(1u64 << 63, 127), 1);
        assert_eq!(add_with_carry(u32::MAX, 0, true), (0, true));
        assert_eq!(add_with_carry(u64::MAX, u64::MAX, true), (u64::MAX, true));
        assert_eq!(add_with_carry(u32::MAX, 0, false), (u32::MAX, false));
    }
}
