//! The register page: offsets, bits, and the three 256-bit vectors in it.

/// Bytes between two registers (SDM 3A 12.4.1, table 12-1).
const STRIDE: u16 = 0x10;

/// Local APIC ID.
pub const ID: u16 = 0x020;
/// Version.
pub const VERSION: u16 = 0x030;
/// Task priority.
pub const TPR: u16 = 0x080;
/// Arbitration priority; processors with an MSI-like system bus do not have it.
pub const APR: u16 = 0x090;
/// Processor priority.
pub const PPR: u16 = 0x0a0;
/// End of interrupt.
pub const EOI: u16 = 0x0b0;
/// Remote read; processors with an MSI-like system bus do not have it.
pub const RRD: u16 = 0x0c0;
/// Logical destination.
pub const LDR: u16 = 0x0d0;
/// Destination format.
pub const DFR: u16 = 0x0e0;
/// Spurious-interrupt vector, and the software enable.
pub const SVR: u16 = 0x0f0;
/// In service: the first of eight.
pub const ISR: u16 = 0x100;
/// Trigger mode: the first of eight.
pub const TMR: u16 = 0x180;
/// Interrupt requests: the first of eight.
pub const IRR: u16 = 0x200;
/// The last of the eight interrupt-request registers.
pub const IRR_LAST: u16 = 0x270;
/// Error status.
pub const ESR: u16 = 0x280;
/// Interrupt command, bits 31:0.
pub const ICR_LOW: u16 = 0x300;
/// Interrupt command, bits 63:32.
pub const ICR_HIGH: u16 = 0x310;
/// Local vector table: timer.
pub const LVT_TIMER: u16 = 0x320;
/// Local vector table: thermal sensor.
pub const LVT_THERMAL: u16 = 0x330;
/// Local vector table: performance counters.
pub const LVT_PERFORMANCE: u16 = 0x340;
/// Local vector table: pin LINT0.
pub const LVT_LINT0: u16 = 0x350;
/// Local vector table: pin LINT1.
pub const LVT_LINT1: u16 = 0x360;
/// Local vector table: APIC errors.
pub const LVT_ERROR: u16 = 0x370;
/// Initial count of the timer.
pub const INITIAL_COUNT: u16 = 0x380;
/// Current count of the timer.
pub const CURRENT_COUNT: u16 = 0x390;
/// Divide configuration of the timer.
pub const DIVIDE: u16 = 0x3e0;
/// Self IPI, in x2APIC mode alone.
pub const SELF_IPI: u16 = 0x3f0;

/// The six entries of the local vector table, in the order of their offsets.
pub(super) const LVT: [u16; 6] = [LVT_TIMER, LVT_THERMAL, LVT_PERFORMANCE, LVT_LINT0, LVT_LINT1, LVT_ERROR];

/// Version 0x14 (an integrated APIC, 1XH); bits 23:16 are the number of LVT entries less one: there is no LVT CMCI. Bit 24 is clear: the
/// suppression of EOI broadcasts is not supported, and bit 12 of SVR is reserved to match (SDM 3A 12.4.8).
pub const VERSION_VALUE: u32 = 0x0005_0014;

/// SVR: the APIC is software-enabled (SDM 3A 12.9).
pub(super) const SVR_ENABLE: u32 = 1 << 8;
/// SVR: vector, enable and the focus-checking bit, which is kept and means nothing on this kind of processor.
pub(super) const SVR_WRITABLE: u32 = 0x3ff;

/// LVT: the entry is masked.
pub(super) const LVT_MASKED: u32 = 1 << 16;
/// LVT: trigger mode of a pin.
pub(super) const LVT_LEVEL: u32 = 1 << 15;
/// LVT: remote IRR of a level-triggered pin, read-only.
pub(super) const LVT_REMOTE_IRR: u32 = 1 << 14;
/// LVT: delivery status, read-only; always idle, as nothing here takes time to deliver.
pub(super) const LVT_DELIVERY_STATUS: u32 = 1 << 12;

/// Bits 18:17 of the timer's LVT entry.
pub(super) const TIMER_MODE_SHIFT: u32 = 17;

/// DFR: everything below the model reads as ones (SDM 3A 12.6.2.2).
pub(super) const DFR_ONES: u32 = 0x0fff_ffff;

/// ICR bits 31:0 that hold something: vector, delivery mode, destination mode, level, trigger mode, shorthand (SDM 3A 12.6.1).
pub(super) const ICR_LOW_WRITABLE: u32 = 0x000c_cfff;
/// ICR bits 31:0 that must be zero in x2APIC mode. Bit 12, the delivery status of xAPIC mode, is not among them: processors ignore it.
pub(super) const ICR_LOW_MUST_BE_ZERO: u32 = !(ICR_LOW_WRITABLE | 1 << 12);
/// ICR bits 63:32 in xAPIC mode: the destination.
pub(super) const ICR_HIGH_WRITABLE: u32 = 0xff00_0000;

/// ESR: an IPI with a vector below 16 was sent (SDM 3A 12.5.3).
pub const ESR_SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
/// ESR: an interrupt with a vector below 16 arrived.
pub const ESR_RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
/// ESR: a reserved register was accessed, in xAPIC mode alone.
pub const ESR_ILLEGAL_REGISTER: u32 = 1 << 7;

/// The writable bits of an LVT entry (SDM 3A 12.5.1, figure 12-8).
pub(super) const fn lvt_writable(offset: u16) -> u32 {
    match offset {
        // Vector, mask, timer mode.
        LVT_TIMER => 0x0007_00ff,
        // Vector, delivery mode, mask.
        LVT_THERMAL | LVT_PERFORMANCE => 0x0001_07ff,
        // Vector, delivery mode, polarity, trigger mode, mask.
        LVT_LINT0 | LVT_LINT1 => 0x0001_a7ff,
        // Vector, mask.
        _ => 0x0001_00ff,
    }
}

/// The read-only bits of an LVT entry that software writes back as it found them.
pub(super) const fn lvt_read_only(offset: u16) -> u32 {
    match offset {
        LVT_LINT0 | LVT_LINT1 => LVT_DELIVERY_STATUS | LVT_REMOTE_IRR,
        _ => LVT_DELIVERY_STATUS,
    }
}

/// The registers by their offsets in the page, which is how a virtual-APIC page has them too. Of each 16 bytes the page holds the first four;
/// the others do not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RegisterPage([u32; 64]);

impl RegisterPage {
    pub(super) const fn new() -> Self {
        Self([0; 64])
    }

    /// `offset` is one of the constants above, or below 0x400 by the caller's check.
    #[inline]
    pub(super) const fn get(&self, offset: u16) -> u32 {
        self.0[(offset / STRIDE) as usize]
    }

    #[inline]
    pub(super) const fn set(&mut self, offset: u16, value: u32) {
        self.0[(offset / STRIDE) as usize] = value;
    }

    /// The bit of `vector` in the vector that begins at `bank`.
    #[inline]
    pub(super) const fn bit(&self, bank: u16, vector: u8) -> bool {
        self.get(bank + (vector as u16 / 32) * STRIDE) >> (vector % 32) & 1 != 0
    }

    #[inline]
    pub(super) const fn set_bit(&mut self, bank: u16, vector: u8, value: bool) {
        let offset = bank + (vector as u16 / 32) * STRIDE;
        let mask = 1 << (vector % 32);
        let old = self.get(offset);
        self.set(offset, if value { old | mask } else { old & !mask });
    }

    /// The highest bit set in the vector that begins at `bank`.
    pub(super) fn highest(&self, bank: u16) -> Option<u8> {
        self.bank(bank)
            .iter()
            .zip((0u8..8).map(|word| word * 32))
            .rev()
            .find(|&(&word, _)| word != 0)
            .map(|(&word, base)| base + word.ilog2() as u8)
    }

    /// The eight registers of a vector.
    pub(super) fn bank(&self, bank: u16) -> [u32; 8] {
        std::array::from_fn(|word| self.get(bank + word as u16 * STRIDE))
    }

    pub(super) fn set_bank(&mut self, bank: u16, words: [u32; 8]) {
        for (offset, word) in (bank..).step_by(usize::from(STRIDE)).zip(words) {
            self.set(offset, word);
        }
    }
}
