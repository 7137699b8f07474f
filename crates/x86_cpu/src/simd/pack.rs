//! Narrowing with saturation, interleaving and widening.

use super::lanes::{Lane, Packed, build, count};

macro_rules! narrow {
    ($($(#[$doc:meta])* $name:ident: $from:ty => $to:ty;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name<V: Packed>(a: V, b: V) -> V {
            build::<V, $from, $to>(a, b, |a, b, i| {
                let half = count::<V, $from>();
                let lane = if i < half { a.get(i) } else { b.get(i - half) };
                lane.clamp(<$from>::from(<$to>::MIN), <$from>::from(<$to>::MAX)) as $to
            })
        }
    )*};
}

narrow! {
    /// Signed words to signed bytes.
    packsswb: i16 => i8;
    /// Signed doublewords to signed words.
    packssdw: i32 => i16;
    /// Signed words to unsigned bytes.
    packuswb: i16 => u8;
    /// Signed doublewords to unsigned words.
    packusdw: i32 => u16;
}

/// Interleaves lanes `first..` of `a` (even lanes of the result) and `b` (odd lanes).
#[inline(always)]
fn interleave<V: Packed, L: Lane>(a: V, b: V, high: bool) -> V {
    if high {
        build::<V, L, L>(a, b, |a, b, i| {
            let from = count::<V, L>() / 2 + i / 2;
            if i % 2 == 0 { a.get(from) } else { b.get(from) }
        })
    } else {
        build::<V, L, L>(a, b, |a, b, i| if i % 2 == 0 { a.get(i / 2) } else { b.get(i / 2) })
    }
}

macro_rules! unpack {
    ($($(#[$doc:meta])* $name:ident: $lane:ty, $high:literal;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name<V: Packed>(a: V, b: V) -> V {
            interleave::<V, $lane>(a, b, $high)
        }
    )*};
}

unpack! {
    /// Interleaves the low bytes.
    punpcklbw: u8, false;
    /// Interleaves the low words.
    punpcklwd: u16, false;
    /// Interleaves the low doublewords; also UNPCKLPS.
    punpckldq: u32, false;
    /// Interleaves the high bytes.
    punpckhbw: u8, true;
    /// Interleaves the high words.
    punpckhwd: u16, true;
    /// Interleaves the high doublewords; also UNPCKHPS.
    punpckhdq: u32, true;
}

/// The low quadwords of `a` and `b`; also UNPCKLPD and MOVLHPS.
#[inline]
pub(crate) fn punpcklqdq(a: u128, b: u128) -> u128 {
    u128::from(a as u64) | b << 64
}

/// The high quadwords of `a` and `b`; also UNPCKHPD.
#[inline]
pub(crate) fn punpckhqdq(a: u128, b: u128) -> u128 {
    a >> 64 | (b >> 64) << 64
}

macro_rules! widen {
    ($($(#[$doc:meta])* $name:ident: $from:ty => $to:ty;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name(src: u128) -> u128 {
            build::<u128, $from, $to>(src, src, |src, _, i| <$to>::from(src.get(i)))
        }
    )*};
}

widen! {
    /// The low eight bytes, sign-extended to words.
    pmovsxbw: i8 => i16;
    /// The low four bytes, sign-extended to doublewords.
    pmovsxbd: i8 => i32;
    /// The low two bytes, sign-extended to quadwords.
    pmovsxbq: i8 => i64;
    /// The low four words, sign-extended to doublewords.
    pmovsxwd: i16 => i32;
    /// The low two words, sign-extended to quadwords.
    pmovsxwq: i16 => i64;
    /// The low two doublewords, sign-extended to quadwords.
    pmovsxdq: i32 => i64;
    /// The low eight bytes, zero-extended to words.
    pmovzxbw: u8 => u16;
    /// The low four bytes, zero-extended to doublewords.
    pmovzxbd: u8 => u32;
    /// The low two bytes, zero-extended to quadwords.
    pmovzxbq: u8 => u64;
    /// The low four words, zero-extended to doublewords.
    pmovzxwd: u16 => u32;
    /// The low two words, zero-extended to quadwords.
    pmovzxwq: u16 => u64;
    /// The low two doublewords, zero-extended to quadwords.
    pmovzxdq: u32 => u64;
}

#[cfg(test)]
mod tests {
    use super::super::test_values::{Operands, join, saturate, saturate_unsigned, signed, unsigned};
    use super::*;

    #[test]
    fn packs_saturate_both_operands() {
        let mut operands = Operands::new(6);
        for _ in 0..500 {
            let (a, b) = (operands.u128(), operands.u128());
            let words = [signed(a, 16), signed(b, 16)].concat();
            let dwords = [signed(a, 32), signed(b, 32)].concat();
            assert_eq!(packsswb(a, b), join(8, words.iter().map(|&lane| saturate(8, lane))));
            assert_eq!(packuswb(a, b), join(8, words.iter().map(|&lane| saturate_unsigned(8, lane))));
            assert_eq!(packssdw(a, b), join(16, dwords.iter().map(|&lane| saturate(16, lane))));
            assert_eq!(packusdw(a, b), join(16, dwords.iter().map(|&lane| saturate_unsigned(16, lane))));
            // MMX: half as many lanes of each.
            let joined = u128::from(a as u64) | b << 64;
            assert_eq!(packsswb(a as u64, b as u64), packsswb(joined, 0) as u64);
        }
    }

    #[test]
    fn unpacks_interleave() {
        let mut operands = Operands::new(7);
        for _ in 0..200 {
            let (a, b) = (operands.u128(), operands.u128());
            let interleaved = |bits| -> Vec<_> {
                unsigned(a, bits).into_iter().zip(unsigned(b, bits)).flat_map(|(a, b)| [a, b]).collect()
            };
            let low = |bits| join(bits, interleaved(bits).into_iter().take((128 / bits) as usize));
            let high = |bits| join(bits, interleaved(bits).into_iter().skip((128 / bits) as usize));
            assert_eq!(punpcklbw(a, b), low(8));
            assert_eq!(punpcklwd(a, b), low(16));
            assert_eq!(punpckldq(a, b), low(32));
            assert_eq!(punpcklqdq(a, b), low(64));
            assert_eq!(punpckhbw(a, b), high(8));
            assert_eq!(punpckhwd(a, b), high(16));
            assert_eq!(punpckhdq(a, b), high(32));
            assert_eq!(punpckhqdq(a, b), high(64));
            assert_eq!(punpcklbw(a as u64, b as u64), low(8) as u64);
            assert_eq!(punpckhbw(a as u64, b as u64), (low(8) >> 64) as u64);
        }
    }

    #[test]
    fn widening_extends_the_low_lanes() {
        let mut operands = Operands::new(8);
        for _ in 0..200 {
            let a = operands.u128();
            let check = |name, widened: u128, from, to, lanes: fn(u128, u32) -> Vec<i128>| {
                let expected = join(to, lanes(a, from).into_iter().take((128 / to) as usize));
                assert_eq!(widened, expected, "{name} {a:#x}");
            };
            check("pmovsxbw", pmovsxbw(a), 8, 16, signed);
            check("pmovsxbd", pmovsxbd(a), 8, 32, signed);
            check("pmovsxbq", pmovsxbq(a), 8, 64, signed);
            check("pmovsxwd", pmovsxwd(a), 16, 32, signed);
            check("pmovsxwq", pmovsxwq(a), 16, 64, signed);
            check("pmovsxdq", pmovsxdq(a), 32, 64, signed);
            check("pmovzxbw", pmovzxbw(a), 8, 16, unsigned);
            check("pmovzxbd", pmovzxbd(a), 8, 32, unsigned);
            check("pmovzxbq", pmovzxbq(a), 8, 64, unsigned);
            check("pmovzxwd", pmovzxwd(a), 16, 32, unsigned);
            check("pmovzxwq", pmovzxwq(a), 16, 64, unsigned);
            check("pmovzxdq", pmovzxdq(a), 32, 64, unsigned);
        }
    }
}
