//! Packed addition, subtraction, multiplication and what is built of them.

use super::lanes::{Packed, build, count, map, zip};

macro_rules! lane_by_lane {
    ($($(#[$doc:meta])* $name:ident: $lane:ty = $f:expr;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name<V: Packed>(a: V, b: V) -> V {
            zip::<V, $lane>(a, b, $f)
        }
    )*};
}

lane_by_lane! {
    /// Adds bytes, wrapping.
    paddb: u8 = u8::wrapping_add;
    /// Adds words, wrapping.
    paddw: u16 = u16::wrapping_add;
    /// Adds doublewords, wrapping.
    paddd: u32 = u32::wrapping_add;
    /// Adds quadwords, wrapping.
    paddq: u64 = u64::wrapping_add;
    /// Adds bytes with signed saturation.
    paddsb: i8 = i8::saturating_add;
    /// Adds words with signed saturation.
    paddsw: i16 = i16::saturating_add;
    /// Adds bytes with unsigned saturation.
    paddusb: u8 = u8::saturating_add;
    /// Adds words with unsigned saturation.
    paddusw: u16 = u16::saturating_add;
    /// Subtracts bytes, wrapping.
    psubb: u8 = u8::wrapping_sub;
    /// Subtracts words, wrapping.
    psubw: u16 = u16::wrapping_sub;
    /// Subtracts doublewords, wrapping.
    psubd: u32 = u32::wrapping_sub;
    /// Subtracts quadwords, wrapping.
    psubq: u64 = u64::wrapping_sub;
    /// Subtracts bytes with signed saturation.
    psubsb: i8 = i8::saturating_sub;
    /// Subtracts words with signed saturation.
    psubsw: i16 = i16::saturating_sub;
    /// Subtracts bytes with unsigned saturation.
    psubusb: u8 = u8::saturating_sub;
    /// Subtracts words with unsigned saturation.
    psubusw: u16 = u16::saturating_sub;
    /// Low half of the word products.
    pmullw: u16 = u16::wrapping_mul;
    /// Low half of the doubleword products.
    pmulld: u32 = u32::wrapping_mul;
    /// High half of the signed word products.
    pmulhw: i16 = |a, b| ((i32::from(a) * i32::from(b)) >> 16) as i16;
    /// High half of the unsigned word products.
    pmulhuw: u16 = |a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16;
    /// High half of the doubled signed word products, rounded.
    pmulhrsw: i16 = |a, b| ((((i32::from(a) * i32::from(b)) >> 14) + 1) >> 1) as i16;
    /// Products of the unsigned low doublewords of each quadword.
    pmuludq: u64 = |a, b| u64::from(a as u32) * u64::from(b as u32);
    /// Products of the signed low doublewords of each quadword.
    pmuldq: i64 = |a, b| i64::from(a as i32) * i64::from(b as i32);
    /// Rounded average of unsigned bytes.
    pavgb: u8 = |a, b| ((u16::from(a) + u16::from(b) + 1) >> 1) as u8;
    /// Rounded average of unsigned words.
    pavgw: u16 = |a, b| ((u32::from(a) + u32::from(b) + 1) >> 1) as u16;
    /// Negates, zeroes or keeps the bytes of `a` by the sign of those of `b`.
    psignb: i8 = |a, b| if b < 0 { a.wrapping_neg() } else if b == 0 { 0 } else { a };
    /// Negates, zeroes or keeps the words of `a` by the sign of those of `b`.
    psignw: i16 = |a, b| if b < 0 { a.wrapping_neg() } else if b == 0 { 0 } else { a };
    /// Negates, zeroes or keeps the doublewords of `a` by the sign of those of `b`.
    psignd: i32 = |a, b| if b < 0 { a.wrapping_neg() } else if b == 0 { 0 } else { a };
}

/// Absolute value of signed bytes, as unsigned ones (the most negative stays).
#[inline]
pub(crate) fn pabsb<V: Packed>(src: V) -> V {
    map::<V, i8>(src, i8::wrapping_abs)
}

/// Absolute value of signed words.
#[inline]
pub(crate) fn pabsw<V: Packed>(src: V) -> V {
    map::<V, i16>(src, i16::wrapping_abs)
}

/// Absolute value of signed doublewords.
#[inline]
pub(crate) fn pabsd<V: Packed>(src: V) -> V {
    map::<V, i32>(src, i32::wrapping_abs)
}

/// Sums of pairs of signed word products. Wraps in the one case that overflows (all four words 8000h).
#[inline]
pub(crate) fn pmaddwd<V: Packed>(a: V, b: V) -> V {
    build::<V, i16, i32>(a, b, |a, b, i| {
        let product = |i| i32::from(a.get(i)) * i32::from(b.get(i));
        product(2 * i).wrapping_add(product(2 * i + 1))
    })
}

/// Saturated sums of pairs of products of the unsigned bytes of `a` and the signed bytes of `b`.
#[inline]
pub(crate) fn pmaddubsw<V: Packed>(a: V, b: V) -> V {
    build::<V, u8, i16>(a, b, |a, b, i| {
        let product = |i| i32::from(a.get(i)) * i32::from(b.get(i) as i8);
        saturate(product(2 * i) + product(2 * i + 1))
    })
}

/// Sum of absolute differences of unsigned bytes, for each eight of them.
#[inline]
pub(crate) fn psadbw<V: Packed>(a: V, b: V) -> V {
    map::<V, u64>(zip::<V, u8>(a, b, u8::abs_diff), |differences| {
        // Neighbours are added into words, then the multiplication sums the four words into the topmost.
        const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
        let words = (differences & EVEN) + (differences >> 8 & EVEN);
        words.wrapping_mul(0x0001_0001_0001_0001) >> 48
    })
}

/// Sums of absolute differences of four bytes of `b` with each of eight positions in `a`; `imm` chooses the offsets.
#[inline]
pub(crate) fn mpsadbw(a: u128, b: u128, imm: u8) -> u128 {
    let a_offset = usize::from(imm >> 2 & 1) * 4;
    let b_offset = usize::from(imm & 3) * 4;
    build::<u128, u8, u16>(a, b, move |a, b, i| {
        (0..4).map(|j| u16::from(a.get(a_offset + i + j).abs_diff(b.get(b_offset + j)))).sum()
    })
}

/// The smallest unsigned word of `src` in word 0 and its (first) index in word 1; the rest is zero.
#[inline]
pub(crate) fn phminposuw(src: u128) -> u128 {
    let mut least = src as u16;
    let mut index = 0;
    for i in 1..8u32 {
        let word = (src >> (16 * i)) as u16;
        if word < least {
            (least, index) = (word, i);
        }
    }
    u128::from(least) | u128::from(index) << 16
}

macro_rules! horizontal {
    ($($(#[$doc:meta])* $name:ident: $lane:ty = $f:expr;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name<V: Packed>(a: V, b: V) -> V {
            build::<V, $lane, $lane>(a, b, |a, b, i| {
                // The lower half of the result comes from the pairs of `a`, the upper half from those of `b`.
                let half = count::<V, $lane>() / 2;
                let (operand, i) = if i < half { (a, i) } else { (b, i - half) };
                ($f)(operand.get(2 * i), operand.get(2 * i + 1))
            })
        }
    )*};
}

horizontal! {
    /// Adds neighbouring words, wrapping.
    phaddw: i16 = i16::wrapping_add;
    /// Adds neighbouring doublewords, wrapping.
    phaddd: i32 = i32::wrapping_add;
    /// Adds neighbouring words with signed saturation.
    phaddsw: i16 = i16::saturating_add;
    /// Subtracts the odd from the even of neighbouring words, wrapping.
    phsubw: i16 = i16::wrapping_sub;
    /// Subtracts the odd from the even of neighbouring doublewords, wrapping.
    phsubd: i32 = i32::wrapping_sub;
    /// Subtracts the odd from the even of neighbouring words with signed saturation.
    phsubsw: i16 = i16::saturating_sub;
}

/// Signed saturation to a word.
#[inline(always)]
fn saturate(value: i32) -> i16 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests {
    use super::super::test_values::{Operands, join, saturate, saturate_unsigned, signed, unsigned};
    use super::*;

    type Scalar = fn(i128, i128) -> i128;
    type Operation = (fn(u128, u128) -> u128, fn(u64, u64) -> u64);

    /// Compares an operation in both widths with `scalar` applied to each pair of lanes.
    fn check(name: &str, (wide, narrow): Operation, bits: u32, is_signed: bool, scalar: Scalar) {
        let lanes = if is_signed { signed } else { unsigned };
        let mut operands = Operands::new(1);
        for _ in 0..500 {
            let (a, b) = (operands.u128(), operands.u128());
            let pairs = lanes(a, bits).into_iter().zip(lanes(b, bits));
            let expected = join(bits, pairs.map(|(a, b)| scalar(a, b)));
            assert_eq!(wide(a, b), expected, "{name} {a:#x} {b:#x}");
            assert_eq!(narrow(a as u64, b as u64), expected as u64, "{name} (MMX) {a:#x} {b:#x}");
        }
    }

    macro_rules! check_all {
        ($($name:ident $bits:literal $is_signed:literal $scalar:expr;)*) => {$(
            check(stringify!($name), ($name, $name), $bits, $is_signed, $scalar);
        )*};
    }

    #[test]
    fn lane_by_lane_operations_match_their_scalar_definitions() {
        check_all! {
            paddb 8 false |a, b| a + b;
            paddw 16 false |a, b| a + b;
            paddd 32 false |a, b| a + b;
            paddq 64 false |a, b| a + b;
            paddsb 8 true |a, b| saturate(8, a + b);
            paddsw 16 true |a, b| saturate(16, a + b);
            paddusb 8 false |a, b| saturate_unsigned(8, a + b);
            paddusw 16 false |a, b| saturate_unsigned(16, a + b);
            psubb 8 false |a, b| a - b;
            psubw 16 false |a, b| a - b;
            psubd 32 false |a, b| a - b;
            psubq 64 false |a, b| a - b;
            psubsb 8 true |a, b| saturate(8, a - b);
            psubsw 16 true |a, b| saturate(16, a - b);
            psubusb 8 false |a, b| saturate_unsigned(8, a - b);
            psubusw 16 false |a, b| saturate_unsigned(16, a - b);
            pmullw 16 true |a, b| a * b;
            pmulld 32 true |a, b| a * b;
            pmulhw 16 true |a, b| (a * b) >> 16;
            pmulhuw 16 false |a, b| (a * b) >> 16;
            pmulhrsw 16 true |a, b| (((a * b) >> 14) + 1) >> 1;
            pmuludq 64 false |a, b| (a & 0xffff_ffff) * (b & 0xffff_ffff);
            pmuldq 64 false |a, b| signed(a as u128, 32)[0] * signed(b as u128, 32)[0];
            pavgb 8 false |a, b| (a + b + 1) / 2;
            pavgw 16 false |a, b| (a + b + 1) / 2;
            psignb 8 true |a, b| a * b.signum();
            psignw 16 true |a, b| a * b.signum();
            psignd 32 true |a, b| a * b.signum();
        }
        check("pabsb", (|a, _| pabsb(a), |a, _| pabsb(a)), 8, true, |a, _| a.abs());
        check("pabsw", (|a, _| pabsw(a), |a, _| pabsw(a)), 16, true, |a, _| a.abs());
        check("pabsd", (|a, _| pabsd(a), |a, _| pabsd(a)), 32, true, |a, _| a.abs());
    }

    #[test]
    fn operations_across_lanes_match_their_scalar_definitions() {
        let mut operands = Operands::new(2);
        for _ in 0..500 {
            let (a, b) = (operands.u128(), operands.u128());
            let products: Vec<_> = signed(a, 16).iter().zip(signed(b, 16)).map(|(a, b)| a * b).collect();
            assert_eq!(pmaddwd(a, b), join(32, products.chunks(2).map(|p| p[0] + p[1])));
            let products: Vec<_> = unsigned(a, 8).iter().zip(signed(b, 8)).map(|(a, b)| a * b).collect();
            let expected = join(16, products.chunks(2).map(|p| saturate(16, p[0] + p[1])));
            assert_eq!(pmaddubsw(a, b), expected, "pmaddubsw {a:#x} {b:#x}");
            assert_eq!(pmaddubsw(a as u64, b as u64), expected as u64);
            let differences: Vec<_> =
                unsigned(a, 8).iter().zip(unsigned(b, 8)).map(|(a, b)| (a - b).abs()).collect();
            assert_eq!(psadbw(a, b), join(64, differences.chunks(8).map(|d| d.iter().sum())));

            let words = [signed(a, 16), signed(b, 16)].concat();
            let pairs = || words.chunks(2);
            assert_eq!(phaddw(a, b), join(16, pairs().map(|p| p[0] + p[1])));
            assert_eq!(phsubw(a, b), join(16, pairs().map(|p| p[0] - p[1])));
            assert_eq!(phaddsw(a, b), join(16, pairs().map(|p| saturate(16, p[0] + p[1]))));
            assert_eq!(phsubsw(a, b), join(16, pairs().map(|p| saturate(16, p[0] - p[1]))));
            let dwords = [signed(a, 32), signed(b, 32)].concat();
            assert_eq!(phaddd(a, b), join(32, dwords.chunks(2).map(|p| p[0] + p[1])));
            assert_eq!(phsubd(a, b), join(32, dwords.chunks(2).map(|p| p[0] - p[1])));
            // In MMX the pairs of `b` follow after two words.
            let narrow = phaddw(a as u64, b as u64);
            let joined = u128::from(a as u64) | b << 64;
            assert_eq!(u128::from(narrow), phaddw(joined, 0));

            let words = unsigned(a, 16);
            let least = *words.iter().min().unwrap();
            let index = words.iter().position(|&word| word == least).unwrap();
            assert_eq!(phminposuw(a), least as u128 | (index as u128) << 16);

            for imm in 0..8 {
                let (bytes_a, bytes_b) = (unsigned(a, 8), unsigned(b, 8));
                let (from_a, from_b) = (usize::from(imm >> 2) * 4, usize::from(imm & 3) * 4);
                let difference = |i: usize, j: usize| (bytes_a[from_a + i + j] - bytes_b[from_b + j]).abs();
                let sum = |i| (0..4).map(|j| difference(i, j)).sum();
                assert_eq!(mpsadbw(a, b, imm), join(16, (0..8).map(sum)), "mpsadbw {imm}");
            }
        }
    }

    #[test]
    fn pmaddwd_wraps_where_all_words_are_the_least() {
        assert_eq!(pmaddwd(0x8000_8000u64, 0x8000_8000), 0x8000_0000);
    }
}
