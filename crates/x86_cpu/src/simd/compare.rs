//! Packed comparisons, minima and maxima.

use super::lanes::{Packed, zip};

macro_rules! compare {
    ($($(#[$doc:meta])* $name:ident: $lane:ty = $op:tt;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name<V: Packed>(a: V, b: V) -> V {
            zip::<V, $lane>(a, b, |a, b| if a $op b { !0 } else { 0 })
        }
    )*};
}

compare! {
    /// All ones where the bytes are equal, else zero.
    pcmpeqb: u8 = ==;
    /// All ones where the words are equal, else zero.
    pcmpeqw: u16 = ==;
    /// All ones where the doublewords are equal, else zero.
    pcmpeqd: u32 = ==;
    /// All ones where the quadwords are equal, else zero.
    pcmpeqq: u64 = ==;
    /// All ones where the signed byte of `a` is greater, else zero.
    pcmpgtb: i8 = >;
    /// All ones where the signed word of `a` is greater, else zero.
    pcmpgtw: i16 = >;
    /// All ones where the signed doubleword of `a` is greater, else zero.
    pcmpgtd: i32 = >;
    /// All ones where the signed quadword of `a` is greater, else zero.
    pcmpgtq: i64 = >;
}

macro_rules! extreme {
    ($($(#[$doc:meta])* $name:ident: $lane:ty, $method:ident;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name<V: Packed>(a: V, b: V) -> V {
            zip::<V, $lane>(a, b, Ord::$method)
        }
    )*};
}

extreme! {
    /// The lesser of unsigned bytes.
    pminub: u8, min;
    /// The lesser of unsigned words.
    pminuw: u16, min;
    /// The lesser of unsigned doublewords.
    pminud: u32, min;
    /// The lesser of signed bytes.
    pminsb: i8, min;
    /// The lesser of signed words.
    pminsw: i16, min;
    /// The lesser of signed doublewords.
    pminsd: i32, min;
    /// The greater of unsigned bytes.
    pmaxub: u8, max;
    /// The greater of unsigned words.
    pmaxuw: u16, max;
    /// The greater of unsigned doublewords.
    pmaxud: u32, max;
    /// The greater of signed bytes.
    pmaxsb: i8, max;
    /// The greater of signed words.
    pmaxsw: i16, max;
    /// The greater of signed doublewords.
    pmaxsd: i32, max;
}

#[cfg(test)]
mod tests {
    use super::super::test_values::{Operands, join, signed, unsigned};
    use super::*;

    macro_rules! check_all {
        ($($name:ident $bits:literal $lanes:ident $scalar:expr;)*) => {
            let mut operands = Operands::new(3);
            for _ in 0..500 {
                let (a, b) = (operands.u128(), operands.u128());
                // Equal lanes are rare among random ones.
                let b = if operands.u64() % 2 == 0 { b } else { a ^ b & operands.u128() & operands.u128() };
                $(
                    let scalar: fn(i128, i128) -> i128 = $scalar;
                    let pairs = $lanes(a, $bits).into_iter().zip($lanes(b, $bits));
                    let expected = join($bits, pairs.map(|(a, b)| scalar(a, b)));
                    assert_eq!($name(a, b), expected, "{} {a:#x} {b:#x}", stringify!($name));
                    assert_eq!($name(a as u64, b as u64), expected as u64, "{} (MMX)", stringify!($name));
                )*
            }
        };
    }

    #[test]
    fn comparisons_and_extremes_match_their_scalar_definitions() {
        check_all! {
            pcmpeqb 8 signed |a, b| -i128::from(a == b);
            pcmpeqw 16 signed |a, b| -i128::from(a == b);
            pcmpeqd 32 signed |a, b| -i128::from(a == b);
            pcmpeqq 64 signed |a, b| -i128::from(a == b);
            pcmpgtb 8 signed |a, b| -i128::from(a > b);
            pcmpgtw 16 signed |a, b| -i128::from(a > b);
            pcmpgtd 32 signed |a, b| -i128::from(a > b);
            pcmpgtq 64 signed |a, b| -i128::from(a > b);
            pminub 8 unsigned |a, b| a.min(b);
            pminuw 16 unsigned |a, b| a.min(b);
            pminud 32 unsigned |a, b| a.min(b);
            pminsb 8 signed |a, b| a.min(b);
            pminsw 16 signed |a, b| a.min(b);
            pminsd 32 signed |a, b| a.min(b);
            pmaxub 8 unsigned |a, b| a.max(b);
            pmaxuw 16 unsigned |a, b| a.max(b);
            pmaxud 32 unsigned |a, b| a.max(b);
            pmaxsb 8 signed |a, b| a.max(b);
            pmaxsw 16 signed |a, b| a.max(b);
            pmaxsd 32 signed |a, b| a.max(b);
        }
    }
}
