//! The x87 registers: stack, tags, control and status, and their use as MMX registers (SDM 1 8.1, 9.2).

use super::env::exception;
use super::f80::F80;
use super::x87_env::{STACK_FAULT, X87Env};

/// Condition code C0 in the status word.
pub(crate) const C0: u16 = 1 << 8;
/// Condition code C1.
pub(crate) const C1: u16 = 1 << 9;
/// Condition code C2.
pub(crate) const C2: u16 = 1 << 10;
/// Condition code C3.
pub(crate) const C3: u16 = 1 << 14;
/// Error summary (ES): an exception is flagged and unmasked.
pub(crate) const ERROR_SUMMARY: u16 = 1 << 7;
/// Busy (B), a copy of ES.
pub(crate) const BUSY: u16 = 1 << 15;
const TOP_SHIFT: u16 = 11;
const TOP: u16 = 7 << TOP_SHIFT;
/// Bits of the control word that can be set: the exception masks, precision, rounding and the infinity control.
const CONTROL_WRITABLE: u16 = 0x1f3f;
/// This bit of the control word is always set.
const CONTROL_FIXED: u16 = 0x0040;

/// The x87 state. Fields are as the instructions see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct X87 {
    /// R0 to R7, not relative to the top of the stack. MMX register n is the mantissa of Rn.
    regs: [F80; 8],
    /// Bit n: Rn is not empty (the abridged tag word, SDM 1 10.5.1.1).
    tags: u8,
    control: u16,
    /// With the top of the stack in bits 13:11, and ES and B kept up to date.
    status: u16,
    /// Where the last instruction with operands was, and what.
    pub(crate) last: LastInstruction,
}

/// What FNSTENV and FXSAVE tell about the last x87 instruction that was not a control instruction (SDM 1 8.1.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastInstruction {
    /// Offset of the instruction.
    pub(crate) ip: u64,
    /// Selector of its code segment; processors that deprecate it store zero.
    pub(crate) cs: u16,
    /// Offset of its memory operand.
    pub(crate) dp: u64,
    /// Selector of that operand's segment; likewise.
    pub(crate) ds: u16,
    /// The 11 bits of its opcode.
    pub(crate) opcode: u16,
}

impl Default for X87 {
    /// The state after power-on or reset (SDM 3A table 9-1).
    fn default() -> Self {
        Self {
            regs: [F80::ZERO; 8],
            tags: 0xff,
            control: CONTROL_FIXED,
            status: 0,
            last: LastInstruction::default(),
        }
    }
}

impl X87 {
    /// FNINIT: the registers keep their bits and become empty (SDM 2 FINIT).
    pub(crate) const fn init(&mut self) {
        self.control = 0x037f;
        self.status = 0;
        self.tags = 0;
        self.last = LastInstruction { ip: 0, cs: 0, dp: 0, ds: 0, opcode: 0 };
    }

    /// The control word.
    #[must_use]
    pub(crate) const fn control(&self) -> u16 {
        self.control
    }

    /// FLDCW.
    pub(crate) const fn set_control(&mut self, control: u16) {
        self.control = control & CONTROL_WRITABLE | CONTROL_FIXED;
        self.summarize();
    }

    /// The status word.
    #[must_use]
    pub(crate) const fn status(&self) -> u16 {
        self.status
    }

    /// Loads the status word, as FLDENV does. ES and B follow from the flags and the masks.
    pub(crate) const fn set_status(&mut self, status: u16) {
        self.status = status;
        self.summarize();
    }

    /// Whether an unmasked exception waits for the next waiting instruction (SDM 1 8.7).
    #[must_use]
    pub(crate) const fn is_error_pending(&self) -> bool {
        self.status & ERROR_SUMMARY != 0
    }

    /// FNCLEX.
    pub(crate) const fn clear_exceptions(&mut self) {
        self.status &= !(exception::ALL as u16 | STACK_FAULT as u16 | ERROR_SUMMARY | BUSY);
    }

    /// The abridged tag word: bit n is set if Rn is not empty.
    #[must_use]
    pub(crate) const fn tags(&self) -> u8 {
        self.tags
    }

    /// Loads the abridged tag word.
    pub(crate) const fn set_tags(&mut self, tags: u8) {
        self.tags = tags;
    }

    /// The full tag word: what is empty is stored, the rest follows from the registers' contents.
    #[must_use]
    pub(crate) fn full_tags(&self) -> u16 {
        (0..8).fold(0, |word, index| {
            let tag = if self.tags >> index & 1 != 0 { self.regs[index].tag() } else { 3 };
            word | tag << (2 * index)
        })
    }

    /// Loads the full tag word. Only what is empty matters.
    pub(crate) fn set_full_tags(&mut self, word: u16) {
        self.tags = (0..8).fold(0, |tags, index| tags | u8::from(word >> (2 * index) & 3 != 3) << index);
    }

    /// Index of the register that is ST(0).
    #[must_use]
    pub(crate) const fn top(&self) -> u8 {
        (self.status >> TOP_SHIFT & 7) as u8
    }

    const fn set_top(&mut self, top: u8) {
        self.status = self.status & !TOP | (top as u16 & 7) << TOP_SHIFT;
    }

    const fn index(&self, st: u8) -> u8 {
        (self.top() + st) & 7
    }

    /// The bits of ST(st), even if it is empty.
    #[must_use]
    pub(crate) const fn st(&self, st: u8) -> F80 {
        self.regs[self.index(st) as usize]
    }

    /// Writes the bits of ST(st), without a look at its tag.
    pub(crate) const fn set_st_bits(&mut self, st: u8, value: F80) {
        self.regs[self.index(st) as usize] = value;
    }

    /// Writes ST(st), which is no longer empty.
    pub(crate) const fn set_st(&mut self, st: u8, value: F80) {
        let index = self.index(st);
        self.regs[index as usize] = value;
        self.tags |= 1 << index;
    }

    /// Whether ST(st) is empty.
    #[must_use]
    pub(crate) const fn is_empty(&self, st: u8) -> bool {
        self.tags >> self.index(st) & 1 == 0
    }

    /// Makes ST(st) empty.
    pub(crate) const fn free(&mut self, st: u8) {
        self.tags &= !(1 << self.index(st));
    }

    /// Moves the top of the stack; tags and registers stay.
    pub(crate) const fn rotate(&mut self, by: i8) {
        self.set_top((self.top() as i8 + by) as u8);
    }

    /// Removes ST(0).
    pub(crate) const fn pop(&mut self) {
        self.free(0);
        self.rotate(1);
    }

    /// Puts `value` on the stack, whatever was there.
    pub(crate) const fn push(&mut self, value: F80) {
        self.rotate(-1);
        self.set_st(0, value);
    }

    /// An environment for one operation.
    #[must_use]
    pub(crate) const fn env(&self) -> X87Env {
        X87Env::new(self.control)
    }

    /// Adds the flags of a finished operation and sets C1 as it says. Masked or not, the flags are set at once; an unmasked
    /// one is reported by the next waiting instruction.
    pub(crate) const fn finish(&mut self, env: &X87Env) {
        self.set_condition(C1, if env.c1() { C1 } else { 0 });
        self.status |= env.flags() as u16;
        self.summarize();
    }

    /// Raises the stack fault. Returns whether it is masked, so that the indefinite is the result (SDM 1 8.5.1.1).
    pub(crate) const fn stack_fault(&mut self, overflow: bool) -> bool {
        self.set_condition(C1, if overflow { C1 } else { 0 });
        self.status |= (exception::INVALID | STACK_FAULT) as u16;
        self.summarize();
        self.control & exception::INVALID as u16 != 0
    }

    /// Sets those of the condition codes that are in `which` to `value`.
    pub(crate) const fn set_condition(&mut self, which: u16, value: u16) {
        self.status = self.status & !which | value & which;
    }

    const fn summarize(&mut self) {
        let unmasked = self.status & !self.control & exception::ALL as u16;
        let summary = if unmasked != 0 { ERROR_SUMMARY | BUSY } else { 0 };
        self.status = self.status & !(ERROR_SUMMARY | BUSY) | summary;
    }

    /// Rn, not relative to the top of the stack.
    #[must_use]
    pub(crate) const fn register(&self, index: u8) -> F80 {
        self.regs[(index & 7) as usize]
    }

    /// Writes the bits of Rn without a look at its tag.
    pub(crate) const fn set_register(&mut self, index: u8, value: F80) {
        self.regs[(index & 7) as usize] = value;
    }

    /// The MMX register `index`.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn mmx(&self, index: u8) -> u64 {
        self.regs[(index & 7) as usize].mantissa
    }

    /// Writes an MMX register. Sign and exponent become all ones (SDM 1 9.2.2).
    #[inline(always)]
    pub(crate) const fn set_mmx(&mut self, index: u8, value: u64) {
        self.regs[(index & 7) as usize] = F80 { mantissa: value, sign_exp: 0xffff };
    }

    /// What every MMX instruction but EMMS does besides its work: the top of the stack becomes 0 and every register valid
    /// (SDM 1 9.5.1).
    #[inline(always)]
    pub(crate) const fn enter_mmx(&mut self) {
        self.status &= !TOP;
        self.tags = 0xff;
    }

    /// EMMS: every register becomes empty (SDM 1 table 9-2).
    pub(crate) const fn leave_mmx(&mut self) {
        self.status &= !TOP;
        self.tags = 0;
    }
}
