//! The environment of an SSE operation: the control bits of MXCSR and the exceptions raised so far (SDM 1 10.2.3).

use super::rounding::Rounding;

/// Exception flags, at the positions they share in MXCSR and in the x87 status word (SDM 1 8.1.3, 10.2.3).
pub(crate) mod exception {
    /// Invalid operation (IE).
    pub(crate) const INVALID: u32 = 1 << 0;
    /// Denormal operand (DE).
    pub(crate) const DENORMAL: u32 = 1 << 1;
    /// Division by zero (ZE).
    pub(crate) const ZERO_DIVIDE: u32 = 1 << 2;
    /// Overflow (OE).
    pub(crate) const OVERFLOW: u32 = 1 << 3;
    /// Underflow (UE).
    pub(crate) const UNDERFLOW: u32 = 1 << 4;
    /// Inexact result (PE).
    pub(crate) const PRECISION: u32 = 1 << 5;
    /// The exceptions found before a result is computed (SDM 1 4.9.2).
    pub(crate) const BEFORE: u32 = INVALID | DENORMAL | ZERO_DIVIDE;
    /// All six.
    pub(crate) const ALL: u32 = 0x3f;
}

/// Denormals-are-zeros in MXCSR.
pub(crate) const MXCSR_DAZ: u32 = 1 << 6;
/// Position of the six mask bits in MXCSR.
pub(crate) const MXCSR_MASK_SHIFT: u32 = 7;
/// Position of the rounding control in MXCSR.
pub(crate) const MXCSR_RC_SHIFT: u32 = 13;
/// Flush-to-zero in MXCSR.
pub(crate) const MXCSR_FZ: u32 = 1 << 15;
/// Bits of MXCSR that may be set; writing any other is #GP. FXSAVE reports it as MXCSR_MASK.
pub(crate) const MXCSR_WRITABLE: u32 = 0xffff;
/// MXCSR after reset.
pub(crate) const MXCSR_RESET: u32 = 0x1f80;

/// MXCSR as one instruction sees it, and the exceptions that instruction has raised.
///
/// All lanes of a packed operation use one environment: their flags are merged before any is reported (SDM 1 11.5.3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SseEnv {
    mxcsr: u32,
    raised: u32,
}

impl SseEnv {
    /// An environment for one instruction, from the current MXCSR.
    #[inline(always)]
    pub(crate) const fn new(mxcsr: u32) -> Self {
        Self { mxcsr, raised: 0 }
    }

    /// Whether an unmasked exception was raised: the destination must stay as it was, and #XM (or #UD if CR4.OSXMMEXCPT
    /// is clear) follows once MXCSR is updated.
    #[inline(always)]
    pub(crate) const fn unmasked(&self) -> bool {
        self.raised & !(self.mxcsr >> MXCSR_MASK_SHIFT) & exception::ALL != 0
    }

    /// MXCSR after the instruction. An unmasked exception found before the computation hides those of the result, in
    /// every lane (SDM 1 4.9.2).
    #[inline(always)]
    pub(crate) const fn mxcsr(&self) -> u32 {
        let unmasked = self.raised & !(self.mxcsr >> MXCSR_MASK_SHIFT);
        if unmasked & exception::BEFORE != 0 {
            self.mxcsr | (self.raised & exception::BEFORE)
        } else {
            self.mxcsr | self.raised
        }
    }

    /// The exceptions raised so far.
    #[inline(always)]
    pub(crate) const fn raised(&self) -> u32 {
        self.raised
    }

    /// Makes the exceptions of a finished step part of MXCSR; those of the next step are judged for themselves.
    #[inline(always)]
    pub(super) const fn end_step(&mut self) {
        self.mxcsr |= self.raised;
        self.raised = 0;
    }

    #[inline(always)]
    pub(super) const fn raise(&mut self, flags: u32) {
        self.raised |= flags;
    }

    /// The common case: rounding to nearest, and an inexact result would change nothing.
    #[inline(always)]
    pub(super) const fn is_quick(&self) -> bool {
        const RELEVANT: u32 =
            3 << MXCSR_RC_SHIFT | exception::PRECISION | exception::PRECISION << MXCSR_MASK_SHIFT;
        const WANTED: u32 = exception::PRECISION | exception::PRECISION << MXCSR_MASK_SHIFT;
        self.mxcsr & RELEVANT == WANTED
    }

    /// Whether an inexact result would change nothing (it is masked and its flag is set).
    #[inline(always)]
    pub(super) const fn ignores_precision(&self) -> bool {
        const WANTED: u32 = exception::PRECISION | exception::PRECISION << MXCSR_MASK_SHIFT;
        self.mxcsr & WANTED == WANTED
    }

    #[inline(always)]
    pub(super) const fn rounding(&self) -> Rounding {
        Rounding::from_bits(self.mxcsr >> MXCSR_RC_SHIFT)
    }

    pub(super) const fn denormals_are_zeros(&self) -> bool {
        self.mxcsr & MXCSR_DAZ != 0
    }

    pub(super) const fn flush_to_zero(&self) -> bool {
        self.mxcsr & MXCSR_FZ != 0
    }

    pub(super) const fn is_masked(&self, exception: u32) -> bool {
        self.mxcsr >> MXCSR_MASK_SHIFT & exception != 0
    }
}
