//! Status flags, computed when somebody looks.
//!
//! An arithmetic operation leaves its result, sign-extended to 64 bits, and the vector of carries out of each bit. From
//! these every status flag follows without knowing which operation it was:
//!
//! | flag | from |
//! |---|---|
//! | ZF | result is 0 |
//! | SF | bit 63 of result, flipped by `SF_FLIP` |
//! | PF | parity of the low byte of result, exclusive-or the byte at bit 8 of aux |
//! | AF | bit 3 of aux |
//! | CF | bit 31 of aux |
//! | OF | bit 31 exclusive-or bit 30 of aux |
//!
//! The flip bits are there so that any combination of flags can be loaded (POPF, SAHF), also those no result has, such as
//! ZF with SF.

use x86_defs::rflags::{AF, CF, OF, PF, SF, ZF};

/// Carry out of bit 3.
const AUX_AF: u64 = 1 << 3;
/// The low byte of result is replaced, for parity, by itself exclusive-or these bits.
const AUX_PARITY_SHIFT: u32 = 8;
/// SF is flipped.
const AUX_SF_FLIP: u64 = 1 << 0;
/// Carry into the most significant bit.
const AUX_INTO_TOP: u64 = 1 << 30;
/// Carry out of the most significant bit.
const AUX_CF: u64 = 1 << 31;

/// The six status flags in lazy form.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LazyFlags {
    pub(crate) result: u64,
    pub(crate) aux: u64,
}

impl LazyFlags {
    /// Flags after an operation of `BITS` bits: `result` sign-extended, `carries` the vector of carries (or borrows) out
    /// of each bit, in the low `BITS` bits.
    #[inline(always)]
    pub(crate) fn set(&mut self, bits: u32, result: u64, carries: u64) {
        self.result = result;
        self.aux = if bits == 64 {
            (carries >> 32) & (AUX_CF | AUX_INTO_TOP) | (carries & AUX_AF)
        } else if bits == 32 {
            carries & (AUX_CF | AUX_INTO_TOP | AUX_AF)
        } else {
            ((carries << (32 - bits)) & (AUX_CF | AUX_INTO_TOP)) | (carries & AUX_AF)
        };
    }

    /// Flags after a logical operation: CF, OF and AF are 0.
    #[inline(always)]
    pub(crate) fn set_logic(&mut self, result: u64) {
        self.result = result;
        self.aux = 0;
    }

    /// Flags after an operation that gives CF and OF itself; AF is 0.
    #[inline(always)]
    pub(crate) fn set_result_carry_overflow(&mut self, result: u64, carry: bool, overflow: bool) {
        self.result = result;
        self.aux = carry_overflow(carry, overflow);
    }

    /// Replaces CF alone.
    #[inline(always)]
    pub(crate) fn set_carry(&mut self, carry: bool) {
        let overflow = self.overflow();
        self.aux = (self.aux & !(AUX_CF | AUX_INTO_TOP)) | carry_overflow(carry, overflow);
    }

    /// Replaces CF and OF.
    #[inline(always)]
    pub(crate) fn set_carry_and_overflow(&mut self, carry: bool, overflow: bool) {
        self.aux = (self.aux & !(AUX_CF | AUX_INTO_TOP)) | carry_overflow(carry, overflow);
    }

    /// Replaces ZF alone.
    #[inline]
    pub(crate) fn set_zero(&mut self, zero: bool) {
        let bits = (self.bits() & !ZF) | if zero { ZF } else { 0 };
        self.load(bits);
    }

    /// CF.
    #[inline(always)]
    pub(crate) fn carry(self) -> bool {
        self.aux & AUX_CF != 0
    }

    /// ZF.
    #[inline(always)]
    pub(crate) fn zero(self) -> bool {
        self.result == 0
    }

    /// SF.
    #[inline(always)]
    pub(crate) fn sign(self) -> bool {
        (self.result >> 63) ^ (self.aux & AUX_SF_FLIP) != 0
    }

    /// OF.
    #[inline(always)]
    pub(crate) fn overflow(self) -> bool {
        (self.aux ^ (self.aux << 1)) & AUX_CF != 0
    }

    /// PF.
    #[inline(always)]
    pub(crate) fn parity(self) -> bool {
        ((self.result ^ (self.aux >> AUX_PARITY_SHIFT)) as u8).count_ones().is_multiple_of(2)
    }

    /// AF.
    #[inline(always)]
    pub(crate) fn adjust(self) -> bool {
        self.aux & AUX_AF != 0
    }

    /// The six flags at their places in RFLAGS.
    #[inline]
    pub(crate) fn bits(self) -> u64 {
        let bit = |set: bool, flag: u64| if set { flag } else { 0 };
        bit(self.carry(), CF)
            | bit(self.parity(), PF)
            | bit(self.adjust(), AF)
            | bit(self.zero(), ZF)
            | bit(self.sign(), SF)
            | bit(self.overflow(), OF)
    }

    /// Takes the six flags from their places in RFLAGS.
    #[inline]
    pub(crate) fn load(&mut self, rflags: u64) {
        let zero = rflags & ZF != 0;
        // Result 0 has SF = 0 and even parity, result 1 has SF = 0 and odd parity.
        self.result = u64::from(!zero);
        let parity_now = zero;
        let mut aux = carry_overflow(rflags & CF != 0, rflags & OF != 0);
        if rflags & AF != 0 {
            aux |= AUX_AF;
        }
        if rflags & SF != 0 {
            aux |= AUX_SF_FLIP;
        }
        if (rflags & PF != 0) != parity_now {
            aux |= 1 << AUX_PARITY_SHIFT;
        }
        self.aux = aux;
    }
}

#[inline(always)]
fn carry_overflow(carry: bool, overflow: bool) -> u64 {
    (u64::from(carry) << 31) | (u64::from(carry ^ overflow) << 30)
}

#[cfg(test)]
mod tests {
    use super::*;
    use x86_defs::rflags::STATUS;

    #[test]
    fn every_combination_of_flags_can_be_loaded() {
        for pattern in 0..64_u64 {
            let mut rflags = 0;
            for (index, flag) in [CF, PF, AF, ZF, SF, OF].into_iter().enumerate() {
                if pattern & (1 << index) != 0 {
                    rflags |= flag;
                }
            }
            let mut flags = LazyFlags { result: 0x1234, aux: u64::MAX };
            flags.load(rflags);
            assert_eq!(flags.bits(), rflags, "pattern {pattern:#b}");
            flags.set_carry(true);
            assert_eq!(flags.bits(), rflags | CF);
            flags.load(rflags);
            flags.set_zero(true);
            assert_eq!(flags.bits(), rflags | ZF, "set_zero on {pattern:#b}");
            flags.load(rflags);
            flags.set_carry_and_overflow(false, true);
            assert_eq!(flags.bits(), (rflags & !CF) | OF);
            assert_eq!(flags.bits() & !STATUS, 0);
        }
    }

    #[test]
    fn eight_bit_addition_has_the_flags_of_the_manual() {
        for a in 0..=255_u64 {
            for b in 0..=255_u64 {
                let wide = a + b;
                let result = wide & 0xff;
                let carries = (a & b) | ((a | b) & !result);
                let mut flags = LazyFlags::default();
                flags.set(8, (result as u8).cast_signed() as u64, carries);
                assert_eq!(flags.carry(), wide > 0xff, "CF of {a}+{b}");
                assert_eq!(flags.zero(), result == 0, "ZF of {a}+{b}");
                assert_eq!(flags.sign(), result & 0x80 != 0, "SF of {a}+{b}");
                assert_eq!(flags.adjust(), (a & 15) + (b & 15) > 15, "AF of {a}+{b}");
                assert_eq!(
                    flags.overflow(),
                    (a as u8).cast_signed().checked_add((b as u8).cast_signed()).is_none(),
                    "OF of {a}+{b}"
                );
            }
        }
    }
}
