//! xAPIC mode: the registers as a page of memory (SDM 3A 12.4.1, table 12-1).

use super::registers::*;
use super::{Effects, Lapic, Message, Now};

impl Lapic {
    /// A read of `size` bytes at `offset` of the page.
    ///
    /// The manual asks for aligned 32-bit accesses. This model lets narrower reads see their part of the four bytes; the other twelve of each sixteen read
    /// as 0, and are no registers that an access could be illegal to.
    pub fn mmio_read(&mut self, offset: u16, size: usize, now: Now) -> u64 {
        let within = usize::from(offset % 16);
        if size == 0 || within + size > 4 {
            return 0;
        }
        let value = self.read(offset & 0xff0, now) >> (8 * within);
        let mask = u32::MAX >> (32 - 8 * size);
        u64::from(value & mask)
    }

    /// A write of `size` bytes at `offset` of the page. Only aligned 32-bit writes reach a register.
    pub fn mmio_write(&mut self, offset: u16, size: usize, value: u64, now: Now) -> Effects {
        if size != 4 || !offset.is_multiple_of(16) {
            return Effects::NONE;
        }
        self.write(offset & 0xff0, value as u32, now)
    }

    /// Reads the 32-bit register at `offset`, a multiple of 16. A reserved one reads 0 and is an error.
    pub fn read(&mut self, offset: u16, now: Now) -> u32 {
        match offset {
            CURRENT_COUNT => self.current_count(now),
            // Write-only, or not there on this kind of processor, but not reserved either: the note under table 12-1.
            EOI | APR | RRD => 0,
            LVT_TIMER | INITIAL_COUNT | DIVIDE | ESR => self.registers.get(offset),
            ISR..=IRR_LAST => {
                // A request of the timer is there from the moment it expired.
                self.advance(now);
                self.registers.get(offset)
            }
            ID | VERSION | TPR | PPR | LDR | DFR | SVR | ICR_LOW | ICR_HIGH | LVT_THERMAL..=LVT_ERROR => {
                self.registers.get(offset)
            }
            _ => {
                self.log_error(ESR_ILLEGAL_REGISTER);
                0
            }
        }
    }

    /// Writes the 32-bit register at `offset`, a multiple of 16. Reserved bits are ignored, read-only registers too; a reserved register is an error.
    pub fn write(&mut self, offset: u16, value: u32, now: Now) -> Effects {
        match offset {
            TPR => self.set_tpr(value),
            EOI => return self.end_of_interrupt(),
            LDR => self.registers.set(LDR, value & 0xff00_0000),
            DFR => self.registers.set(DFR, value | DFR_ONES),
            SVR => return self.set_svr(value, now),
            ESR => self.latch_errors(),
            ICR_LOW => {
                let destination = Message::widen((self.registers.get(ICR_HIGH) >> 24) as u8);
                return self.command(value, destination);
            }
            ICR_HIGH => self.registers.set(ICR_HIGH, value & ICR_HIGH_WRITABLE),
            LVT_TIMER..=LVT_ERROR => return self.set_lvt(offset, value, now),
            INITIAL_COUNT => return self.set_initial_count(value, now),
            DIVIDE => return self.set_divide(value, now),
            // Read-only (the ID: this model), or not there on this kind of processor, but not reserved.
            ID | VERSION | APR | PPR | RRD | ISR..=IRR_LAST | CURRENT_COUNT => {}
            _ => self.log_error(ESR_ILLEGAL_REGISTER),
        }
        Effects::NONE
    }

    /// A write to ESR, whatever the value: the errors since the last one can now be read (SDM 3A 12.5.3).
    pub(super) fn latch_errors(&mut self) {
        self.registers.set(ESR, self.pending_errors);
        self.pending_errors = 0;
    }

    /// A write to the low half of ICR: keeps it and sends what it says (SDM 3A 12.6.1).
    pub(super) fn command(&mut self, low: u32, destination: u32) -> Effects {
        self.registers.set(ICR_LOW, low & ICR_LOW_WRITABLE);
        Effects { ipi: self.send(Message::from_icr(low, destination)), ..Effects::NONE }
    }
}
