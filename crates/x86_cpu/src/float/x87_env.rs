//! The environment of an x87 operation: the control word and the exceptions raised so far, and the rounding of results.

use super::env::exception;
use super::exact::Wide;
use super::f80::F80;
use super::rounding::{Range, Rounding, round_tiny, round_unbounded};

/// Stack fault (SF) in the status word.
pub(crate) const STACK_FAULT: u32 = 1 << 6;
/// What an unmasked overflow or underflow adds to or takes from the exponent (SDM 1 4.9.1.4, 8.5.5).
const BIAS_ADJUST: i32 = 24576;
const MIN_EXP: i32 = -16382;
const MAX_EXP: i32 = 16383;

/// The control word as one instruction sees it, and what that instruction raised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct X87Env {
    control: u16,
    raised: u32,
    c1: bool,
}

impl X87Env {
    /// An environment for one instruction, from the current control word.
    #[must_use]
    pub(crate) const fn new(control: u16) -> Self {
        Self { control, raised: 0, c1: false }
    }

    /// Whether an exception found before the computation is unmasked: nothing is stored, pushed or popped.
    #[must_use]
    pub(crate) const fn blocks_result(&self) -> bool {
        self.unmasked() & exception::BEFORE != 0
    }

    /// Whether a load pushes nothing, and a comparison tells nothing: a denormal is loaded and compared even if its exception
    /// is unmasked.
    pub(super) const fn blocks_load(&self) -> bool {
        self.unmasked() & exception::INVALID != 0
    }

    /// Whether nothing may be stored in memory. There the exponent of a result cannot be adjusted, so that an unmasked
    /// overflow or underflow leaves the operand where it is (SDM 1 8.5.5, 8.5.6).
    #[must_use]
    pub(crate) const fn blocks_store(&self) -> bool {
        self.unmasked() & (exception::BEFORE | exception::OVERFLOW | exception::UNDERFLOW) != 0
    }

    /// The flags for the status word, [`STACK_FAULT`] among them. An unmasked exception found before the computation hides
    /// those of the result.
    #[must_use]
    pub(crate) const fn flags(&self) -> u32 {
        if self.blocks_result() { self.raised & (exception::BEFORE | STACK_FAULT) } else { self.raised }
    }

    /// Condition code C1: the result was rounded up, or the stack fault was an overflow.
    #[must_use]
    pub(crate) const fn c1(&self) -> bool {
        self.c1 && !self.blocks_result()
    }

    const fn unmasked(&self) -> u32 {
        self.raised & !(self.control as u32) & exception::ALL
    }

    pub(super) const fn raise(&mut self, flags: u32) {
        self.raised |= flags;
    }

    pub(super) const fn is_masked(&self, exception: u32) -> bool {
        self.control as u32 & exception != 0
    }

    pub(super) const fn rounding(&self) -> Rounding {
        Rounding::from_bits((self.control >> 10) as u32)
    }

    /// Significant bits of the results of add, subtract, multiply, divide and square root (SDM 1 table 8-2). The reserved
    /// setting behaves as the widest.
    pub(super) const fn precision(&self) -> u32 {
        match self.control >> 8 & 3 {
            0 => 24,
            2 => 53,
            _ => 64,
        }
    }

    /// Raises the invalid exception; its masked response.
    pub(super) const fn invalid(&mut self) -> F80 {
        self.raise(exception::INVALID);
        F80::INDEFINITE
    }

    /// Notes an inexact result.
    pub(super) const fn inexact(&mut self, up: bool) {
        self.raise(exception::PRECISION);
        self.c1 = up;
    }

    /// Rounds a result for a register, to `precision` bits, with the exceptions of a result (SDM 1 8.5.4 to 8.5.6).
    pub(super) fn finish(&mut self, wide: Wide, precision: u32) -> F80 {
        let rounded = round_unbounded(wide, precision, self.rounding());
        let unused = 64 - precision;
        let sig = rounded.sig << unused;
        let mut exp = rounded.exp;
        if exp > MAX_EXP {
            self.raise(exception::OVERFLOW);
            if self.is_masked(exception::OVERFLOW) {
                let infinite = self.rounding().overflows_to_infinity(wide.negative);
                self.inexact(infinite);
                return if infinite {
                    F80::infinity(wide.negative)
                } else {
                    F80::encode(wide.negative, MAX_EXP, u64::MAX << unused)
                };
            }
            exp -= BIAS_ADJUST;
            if exp > MAX_EXP {
                // FSCALE can overflow so far that no adjustment helps.
                self.inexact(true);
                return F80::infinity(wide.negative);
            }
        } else if exp < MIN_EXP {
            if self.is_masked(exception::UNDERFLOW) {
                let range = Range { precision, min_exp: MIN_EXP, max_exp: MAX_EXP };
                let tiny = round_tiny(wide, range, self.rounding());
                if tiny.inexact {
                    self.raise(exception::UNDERFLOW);
                    self.inexact(tiny.up);
                }
                return F80::encode(wide.negative, MIN_EXP, tiny.sig << unused);
            }
            self.raise(exception::UNDERFLOW);
            exp += BIAS_ADJUST;
            if exp < MIN_EXP {
                self.inexact(false);
                return F80::zero(wide.negative);
            }
        }
        if rounded.inexact {
            self.inexact(rounded.up);
        }
        F80::encode(wide.negative, exp, sig)
    }
}
