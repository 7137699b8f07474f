//! Moving lanes about: shuffles, blends, inserts and extracts.

use super::lanes::{Lane, Packed, build};

/// Bytes of `a` chosen by the low bits of the bytes of `b`; zero where bit 7 of the selector is set.
#[inline]
pub(crate) fn pshufb<V: Packed>(a: V, b: V) -> V {
    build::<V, u8, u8>(a, b, |a, b, i| {
        let selector = b.get(i);
        let byte = a.get(usize::from(selector) & (V::BYTES - 1));
        if selector & 0x80 == 0 { byte } else { 0 }
    })
}

/// Two bits of `imm` for lane `i`.
#[inline(always)]
fn select4(imm: u8, i: usize) -> usize {
    usize::from(imm >> (2 * i) & 3)
}

/// Words of `src` (MMX) chosen by `imm`.
#[inline]
pub(crate) fn pshufw(src: u64, imm: u8) -> u64 {
    build::<u64, u16, u16>(src, src, move |src, _, i| src.get(select4(imm, i)))
}

/// The low four words are chosen by `imm`, the high ones stay.
#[inline]
pub(crate) fn pshuflw(src: u128, imm: u8) -> u128 {
    (src >> 64) << 64 | u128::from(pshufw(src as u64, imm))
}

/// The high four words are chosen by `imm`, the low ones stay.
#[inline]
pub(crate) fn pshufhw(src: u128, imm: u8) -> u128 {
    u128::from(src as u64) | u128::from(pshufw((src >> 64) as u64, imm)) << 64
}

/// Doublewords of `src` chosen by `imm`.
#[inline]
pub(crate) fn pshufd(src: u128, imm: u8) -> u128 {
    build::<u128, u32, u32>(src, src, move |src, _, i| src.get(select4(imm, i)))
}

/// Two doublewords of `a`, then two of `b`, chosen by `imm`.
#[inline]
pub(crate) fn shufps(a: u128, b: u128, imm: u8) -> u128 {
    build::<u128, u32, u32>(a, b, move |a, b, i| {
        let selector = select4(imm, i);
        if i < 2 { a.get(selector) } else { b.get(selector) }
    })
}

/// One quadword of `a`, then one of `b`, chosen by bits 0 and 1 of `imm`.
#[inline]
pub(crate) fn shufpd(a: u128, b: u128, imm: u8) -> u128 {
    let low = if imm & 1 == 0 { a } else { a >> 64 };
    let high = if imm & 2 == 0 { b } else { b >> 64 };
    u128::from(low as u64) | high << 64
}

/// `a` above `b`, shifted right by `imm` bytes; zeroes follow.
#[inline]
pub(crate) fn palignr(a: u128, b: u128, imm: u8) -> u128 {
    let bits = u32::from(imm) * 8;
    if bits < 128 {
        b >> bits | a.checked_shl(128 - bits).unwrap_or(0)
    } else {
        a.checked_shr(bits - 128).unwrap_or(0)
    }
}

/// PALIGNR on MMX registers.
#[inline]
pub(crate) fn palignr_mmx(a: u64, b: u64, imm: u8) -> u64 {
    let pair = u128::from(a) << 64 | u128::from(b);
    pair.checked_shr(u32::from(imm) * 8).unwrap_or(0) as u64
}

/// The low quadword, twice.
#[inline]
pub(crate) fn movddup(src: u128) -> u128 {
    src << 64 | u128::from(src as u64)
}

/// The odd doublewords, each twice.
#[inline]
pub(crate) fn movshdup(src: u128) -> u128 {
    const ODD: u128 = 0xffff_ffff_0000_0000_ffff_ffff_0000_0000;
    src & ODD | (src & ODD) >> 32
}

/// The even doublewords, each twice.
#[inline]
pub(crate) fn movsldup(src: u128) -> u128 {
    const EVEN: u128 = 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
    src & EVEN | (src & EVEN) << 32
}

/// The high quadword of `b` below the high quadword of `a`.
#[inline]
pub(crate) fn movhlps(a: u128, b: u128) -> u128 {
    (a >> 64) << 64 | b >> 64
}

/// Lanes of `b` where the bit of `imm` is set, else of `a`.
#[inline(always)]
fn blend<L: Lane>(a: u128, b: u128, imm: u8) -> u128 {
    build::<u128, L, L>(a, b, move |a, b, i| if imm >> i & 1 == 0 { a.get(i) } else { b.get(i) })
}

/// Words of `b` where the bit of `imm` is set, else of `a`.
#[inline]
pub(crate) fn pblendw(a: u128, b: u128, imm: u8) -> u128 {
    blend::<u16>(a, b, imm)
}

/// Doublewords of `b` where the bit of `imm` is set, else of `a`.
#[inline]
pub(crate) fn blendps(a: u128, b: u128, imm: u8) -> u128 {
    blend::<u32>(a, b, imm)
}

/// Quadwords of `b` where the bit of `imm` is set, else of `a`.
#[inline]
pub(crate) fn blendpd(a: u128, b: u128, imm: u8) -> u128 {
    blend::<u64>(a, b, imm)
}

/// `b` where `mask` is set, else `a`.
#[inline(always)]
fn merge(a: u128, b: u128, mask: u128) -> u128 {
    (a ^ b) & mask ^ a
}

/// The top bit of each lane of `width` bits, spread over its lane.
#[inline(always)]
fn spread_signs(mask: u128, signs: u128, width: u32) -> u128 {
    let signs = mask & signs;
    // 2^(i+1) - 2^(i+1-width), for every sign bit i that is set; the topmost wraps around to the same.
    (signs << 1).wrapping_sub(signs >> (width - 1))
}

/// Bytes of `b` where the top bit of that byte of `mask` is set, else of `a`.
#[inline]
pub(crate) fn pblendvb(a: u128, b: u128, mask: u128) -> u128 {
    merge(a, b, spread_signs(mask, 0x8080_8080_8080_8080_8080_8080_8080_8080, 8))
}

/// Doublewords of `b` where the top bit of that doubleword of `mask` is set, else of `a`.
#[inline]
pub(crate) fn blendvps(a: u128, b: u128, mask: u128) -> u128 {
    merge(a, b, spread_signs(mask, 0x8000_0000_8000_0000_8000_0000_8000_0000, 32))
}

/// Quadwords of `b` where the top bit of that quadword of `mask` is set, else of `a`.
#[inline]
pub(crate) fn blendvpd(a: u128, b: u128, mask: u128) -> u128 {
    merge(a, b, spread_signs(mask, 0x8000_0000_0000_0000_8000_0000_0000_0000, 64))
}

/// INSERTPS with the single-precision value already chosen: `value` goes to the lane in bits 5:4 of `imm`, then the
/// lanes in bits 3:0 are zeroed. The register form takes `value` from lane [`insertps_source`] of its source, the
/// memory form from memory.
#[inline]
pub(crate) fn insertps(a: u128, value: u32, imm: u8) -> u128 {
    let inserted = pinsrd(a, value, imm >> 4);
    blendps(inserted, 0, imm & 15)
}

/// The source lane of INSERTPS with a register source.
#[inline]
pub(crate) fn insertps_source(imm: u8) -> u8 {
    imm >> 6
}

macro_rules! insert_extract {
    ($($lane:ty, $mask:literal: $insert:ident, $extract:ident;)*) => {$(
        /// `a` with the lane that the low bits of `imm` choose replaced by `value`.
        #[inline]
        pub(crate) fn $insert(a: u128, value: $lane, imm: u8) -> u128 {
            let shift = u32::from(imm & $mask) * <$lane>::BITS;
            a & !(u128::from(<$lane>::MAX) << shift) | u128::from(value) << shift
        }

        /// The lane of `src` that the low bits of `imm` choose.
        #[inline]
        pub(crate) fn $extract(src: u128, imm: u8) -> $lane {
            (src >> (u32::from(imm & $mask) * <$lane>::BITS)) as $lane
        }
    )*};
}

insert_extract! {
    u8, 15: pinsrb, pextrb;
    u16, 7: pinsrw, pextrw;
    u32, 3: pinsrd, pextrd;
    u64, 1: pinsrq, pextrq;
}

/// PINSRW on an MMX register.
#[inline]
pub(crate) fn pinsrw_mmx(a: u64, value: u16, imm: u8) -> u64 {
    let shift = u32::from(imm & 3) * 16;
    a & !(0xffff << shift) | u64::from(value) << shift
}

/// PEXTRW from an MMX register.
#[inline]
pub(crate) fn pextrw_mmx(src: u64, imm: u8) -> u16 {
    (src >> (u32::from(imm & 3) * 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::super::test_values::{Operands, join, signed, unsigned};
    use super::*;

    #[test]
    fn shuffles_choose_lanes_by_two_bits_each() {
        let mut operands = Operands::new(9);
        for imm in 0..=255u8 {
            let (a, b) = (operands.u128(), operands.u128());
            let field = |i: usize| usize::from(imm >> (2 * i)) & 3;
            let (dwords_a, dwords_b) = (unsigned(a, 32), unsigned(b, 32));
            assert_eq!(pshufd(b, imm), join(32, (0..4).map(|i| dwords_b[field(i)])), "pshufd {imm:#x}");
            let chosen = [dwords_a[field(0)], dwords_a[field(1)], dwords_b[field(2)], dwords_b[field(3)]];
            assert_eq!(shufps(a, b, imm), join(32, chosen), "shufps {imm:#x}");
            let words = unsigned(b, 16);
            let low = (0..4).map(|i| words[field(i)]).chain(words[4..].iter().copied());
            assert_eq!(pshuflw(b, imm), join(16, low), "pshuflw {imm:#x}");
            let high = words[..4].iter().copied().chain((0..4).map(|i| words[4 + field(i)]));
            assert_eq!(pshufhw(b, imm), join(16, high), "pshufhw {imm:#x}");
            let qwords = [unsigned(a, 64), unsigned(b, 64)];
            let chosen = [qwords[0][usize::from(imm & 1)], qwords[1][usize::from(imm >> 1 & 1)]];
            assert_eq!(shufpd(a, b, imm), join(64, chosen), "shufpd {imm:#x}");
        }
    }

    #[test]
    fn pshufb_chooses_by_the_low_bits_and_zeroes_by_the_top_one() {
        let a = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100u128;
        assert_eq!(
            pshufb(a, 0x0080_0f70_ff10_1f2e_0102_0304_0506_0708),
            0x0000_0f00_0000_0f0e_0102_0304_0506_0708
        );
        assert_eq!(pshufb(a as u64, 0x0080_0708_0ff0_7f01), 0x0000_0700_0700_0701);
    }

    #[test]
    fn palignr_shifts_the_pair_of_operands() {
        let (a, b) =
            (0x1f1e_1d1c_1b1a_1918_1716_1514_1312_1110u128, 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100);
        for imm in 0..=255u8 {
            let byte = |i: u32, bytes: u32| if i < bytes { i128::from(i) } else { 0 };
            let expected = join(8, (0..16).map(|i| byte(u32::from(imm) + i, 32)));
            assert_eq!(palignr(a, b, imm), expected, "{imm}");
            // In MMX, 16 bytes are shifted and 8 kept.
            let expected = join(8, (0..8).map(|i| byte(u32::from(imm) + i, 16))) as u64;
            assert_eq!(palignr_mmx((b >> 64) as u64, b as u64, imm), expected, "MMX {imm}");
        }
    }

    #[test]
    fn duplications_and_moves_between_halves() {
        let a = 0x3333_3333_2222_2222_1111_1111_0000_0000;
        let b = 0x7777_7777_6666_6666_5555_5555_4444_4444;
        assert_eq!(movddup(a), 0x1111_1111_0000_0000_1111_1111_0000_0000);
        assert_eq!(movshdup(a), 0x3333_3333_3333_3333_1111_1111_1111_1111);
        assert_eq!(movsldup(a), 0x2222_2222_2222_2222_0000_0000_0000_0000);
        assert_eq!(movhlps(a, b), 0x3333_3333_2222_2222_7777_7777_6666_6666);
    }

    #[test]
    fn blends_choose_by_bit_or_by_sign() {
        let mut operands = Operands::new(10);
        for imm in 0..=255u8 {
            let (a, b, mask) = (operands.u128(), operands.u128(), operands.u128());
            let by_bit = |bits| {
                let pairs = unsigned(a, bits).into_iter().zip(unsigned(b, bits)).enumerate();
                join(bits, pairs.map(|(i, (a, b))| if imm >> i & 1 != 0 { b } else { a }))
            };
            let by_sign = |bits| {
                let pairs = unsigned(a, bits).into_iter().zip(unsigned(b, bits)).zip(signed(mask, bits));
                join(bits, pairs.map(|((a, b), mask)| if mask < 0 { b } else { a }))
            };
            assert_eq!(pblendw(a, b, imm), by_bit(16), "pblendw {imm:#x}");
            assert_eq!(blendps(a, b, imm), by_bit(32), "blendps {imm:#x}");
            assert_eq!(blendpd(a, b, imm), by_bit(64), "blendpd {imm:#x}");
            assert_eq!(pblendvb(a, b, mask), by_sign(8), "pblendvb {mask:#x}");
            assert_eq!(blendvps(a, b, mask), by_sign(32), "blendvps {mask:#x}");
            assert_eq!(blendvpd(a, b, mask), by_sign(64), "blendvpd {mask:#x}");
        }
    }

    #[test]
    fn inserts_replace_what_extracts_read() {
        let mut operands = Operands::new(11);
        for imm in 0..=255u8 {
            let (a, value) = (operands.u128(), operands.u64());
            let check = |name, inserted: u128, extracted: u64, bits: u32, narrow: u64| {
                let i = usize::from(imm) % (128 / bits) as usize;
                let mut lanes = unsigned(a, bits);
                assert_eq!(i128::from(extracted), lanes[i], "extract {name} {imm}");
                lanes[i] = i128::from(narrow);
                assert_eq!(inserted, join(bits, lanes), "insert {name} {imm}");
            };
            let byte = value as u8;
            check("byte", pinsrb(a, byte, imm), pextrb(a, imm).into(), 8, byte.into());
            let word = value as u16;
            check("word", pinsrw(a, word, imm), pextrw(a, imm).into(), 16, word.into());
            let dword = value as u32;
            check("doubleword", pinsrd(a, dword, imm), pextrd(a, imm).into(), 32, dword.into());
            check("quadword", pinsrq(a, value, imm), pextrq(a, imm), 64, value);
            assert_eq!(pinsrw_mmx(a as u64, word, imm), pinsrw(a, word, imm & 3) as u64);
            assert_eq!(pextrw_mmx(a as u64, imm), pextrw(a, imm & 3));
        }
    }

    #[test]
    fn insertps_inserts_and_then_zeroes() {
        let a = 0x3333_3333_2222_2222_1111_1111_0000_0001;
        assert_eq!(insertps(a, 7, 0x20), 0x3333_3333_0000_0007_1111_1111_0000_0001);
        assert_eq!(insertps(a, 7, 0x25), 0x3333_3333_0000_0000_1111_1111_0000_0000);
        assert_eq!(insertps(a, 7, 0xff), 0);
        assert_eq!(insertps_source(0x9f), 2);
    }
}
