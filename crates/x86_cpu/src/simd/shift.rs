//! Packed shifts. A count is the whole 64-bit count operand (or the immediate): one that is not less than the lane's
//! width gives zero, or the sign everywhere for the arithmetic ones.

use super::lanes::{Packed, map};

macro_rules! logical {
    ($($(#[$doc:meta])* $name:ident: $lane:ty, $op:tt;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name<V: Packed>(a: V, count: u64) -> V {
            if count >= u64::from(<$lane>::BITS) {
                return V::from_bytes(V::ZERO_BYTES);
            }
            let count = count as u32;
            map::<V, $lane>(a, move |lane| lane $op count)
        }
    )*};
}

logical! {
    /// Shifts words left.
    psllw: u16, <<;
    /// Shifts doublewords left.
    pslld: u32, <<;
    /// Shifts quadwords left.
    psllq: u64, <<;
    /// Shifts words right, filling with zeroes.
    psrlw: u16, >>;
    /// Shifts doublewords right, filling with zeroes.
    psrld: u32, >>;
    /// Shifts quadwords right, filling with zeroes.
    psrlq: u64, >>;
}

/// Shifts words right, filling with the sign.
#[inline]
pub(crate) fn psraw<V: Packed>(a: V, count: u64) -> V {
    let count = count.min(15) as u32;
    map::<V, i16>(a, move |lane| lane >> count)
}

/// Shifts doublewords right, filling with the sign.
#[inline]
pub(crate) fn psrad<V: Packed>(a: V, count: u64) -> V {
    let count = count.min(31) as u32;
    map::<V, i32>(a, move |lane| lane >> count)
}

/// Shifts the whole register left by `bytes`.
#[inline]
pub(crate) fn pslldq(a: u128, bytes: u8) -> u128 {
    a.checked_shl(u32::from(bytes) * 8).unwrap_or(0)
}

/// Shifts the whole register right by `bytes`.
#[inline]
pub(crate) fn psrldq(a: u128, bytes: u8) -> u128 {
    a.checked_shr(u32::from(bytes) * 8).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::test_values::{Operands, join, signed, unsigned};
    use super::*;

    #[test]
    fn shifts_match_their_scalar_definitions_for_every_count() {
        let counts = (0..=70).chain([127, 128, 255, 256, 0xffff_ffff, 1 << 32, u64::MAX]);
        let mut operands = Operands::new(5);
        for count in counts {
            let a = operands.u128();
            let left = |bits| {
                let shift = |lane: i128| if count < u64::from(bits) { lane << count } else { 0 };
                join(bits, unsigned(a, bits).into_iter().map(shift))
            };
            let right = |bits| join(bits, unsigned(a, bits).into_iter().map(|lane| lane >> count.min(100)));
            let arithmetic =
                |bits| join(bits, signed(a, bits).into_iter().map(|lane| lane >> count.min(100)));
            assert_eq!(psllw(a, count), left(16), "psllw {a:#x} {count}");
            assert_eq!(pslld(a, count), left(32), "pslld {a:#x} {count}");
            assert_eq!(psllq(a, count), left(64), "psllq {a:#x} {count}");
            assert_eq!(psrlw(a, count), right(16), "psrlw {a:#x} {count}");
            assert_eq!(psrld(a, count), right(32), "psrld {a:#x} {count}");
            assert_eq!(psrlq(a, count), right(64), "psrlq {a:#x} {count}");
            assert_eq!(psraw(a, count), arithmetic(16), "psraw {a:#x} {count}");
            assert_eq!(psrad(a, count), arithmetic(32), "psrad {a:#x} {count}");
            assert_eq!(psraw(a as u64, count), arithmetic(16) as u64, "psraw (MMX) {a:#x} {count}");
            assert_eq!(psllq(a as u64, count), left(64) as u64, "psllq (MMX) {a:#x} {count}");
        }
    }

    #[test]
    fn byte_shifts_of_16_and_more_give_zero() {
        let a = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;
        assert_eq!(pslldq(a, 0), a);
        assert_eq!(psrldq(a, 0), a);
        assert_eq!(pslldq(a, 13), 0x0201_0000_0000_0000_0000_0000_0000_0000);
        assert_eq!(psrldq(a, 13), 0x0f_0e0d);
        for bytes in [16, 17, 32, 255] {
            assert_eq!(pslldq(a, bytes), 0);
            assert_eq!(psrldq(a, bytes), 0);
        }
    }
}
