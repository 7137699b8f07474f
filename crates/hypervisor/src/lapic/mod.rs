//! The local APIC of one processor: a state machine without callbacks (SDM 3A chapter 12; section numbers are those of the 2024 manuals).
//!
//! Time comes in as an argument ([`Now`]), what the outside has to do goes out as a value ([`Effects`], [`LocalEvent`], [`Delivery`]). The run loop asks one
//! flag, [`Lapic::is_interrupt_deliverable`], which every change keeps up to date.
//!
//! What the manual leaves to the processor model, and what this model does:
//! - Version 0x14 with six LVT entries: no LVT CMCI, no suppression of EOI broadcasts, no focus processor, no APR and RRD (they read 0).
//! - The APIC ID cannot be written in xAPIC mode (12.4.6 lets the model decide). IDs below 255 only.
//! - PPR takes the low half of TPR when TPR and the vector in service have the same class, as virtual APICs do (30.1.3).
//! - Lowest-priority IPIs are supported; see [`destinations`] for who is chosen.
//! - Clearing the enable bit of IA32_APIC_BASE brings all registers to their power-up values.
//! - Pins are told as asserted or not, so the polarity bits of LVT LINT0 and LINT1 are kept and change nothing.
//! - One exception to the manual: 12.5.4 says that any change of timer mode disarms the timer. Processors go on counting when the mode changes between
//!   one-shot and periodic, and guests test for it, so here only changes to and from TSC-deadline mode disarm (`timer.rs`).

mod base;
mod local;
mod message;
mod mmio;
mod msr;
pub mod registers;
mod saved_state;
#[cfg(test)]
mod tests;
mod timer;

use self::registers::*;
use self::timer::Timer;

pub use self::base::{ApicMode, DEFAULT_BASE};
pub use self::local::{LocalEvent, LocalPin};
pub use self::message::{
    Delivery, DeliveryMode, DestinationMode, Message, Shorthand, TriggerMode, destinations,
};
pub use self::saved_state::LapicStateV1;
pub use self::timer::CRYSTAL_HZ;

/// The moment of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Virtual nanoseconds since power-on.
    pub ns: u64,
    /// The time-stamp counter of this processor as its guest reads it, in ticks of 1 ns.
    pub tsc: u64,
}

/// The access is refused: the guest gets #GP(0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GeneralProtection;

/// What a write has brought about outside of this APIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use = "IPIs and EOIs have to be sent on"]
pub struct Effects {
    /// An interrupt message to send: ask [`destinations`] to whom, then [`Lapic::deliver`] it to each.
    pub ipi: Option<Message>,
    /// A level-triggered interrupt was ended: tell the I/O APICs this vector (SDM 3A 12.8.5).
    pub eoi_broadcast: Option<u8>,
    /// What [`Lapic::next_event`] answers may have changed.
    pub timer_changed: bool,
    /// Mode or address have changed: ask [`Lapic::mmio_base`] and [`Lapic::hardware_enabled`] (CPUID.1:EDX\[9\] follows it) again.
    pub base_changed: bool,
}

impl Effects {
    const NONE: Self = Self { ipi: None, eoi_broadcast: None, timer_changed: false, base_changed: false };
}

/// The local APIC of one processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapic {
    registers: RegisterPage,
    /// IA32_APIC_BASE.
    base: u64,
    /// The ID this processor was built with; x2APIC mode shows all of it.
    id: u32,
    /// Errors since the last write to ESR, in the layout of ESR.
    pending_errors: u32,
    timer: Timer,
    /// Whether LINT0 and LINT1 are asserted.
    pins: [bool; 2],
    /// IRR holds a vector above PPR. Follows from `registers`.
    deliverable: bool,
}

impl Lapic {
    /// The APIC of the processor with this ID, as after power-up.
    ///
    /// # Panics
    /// If `id` is 255 or more: such IDs need interrupt remapping, which this PC does not have. It is the configuration's to check.
    pub fn new(id: u32, bootstrap: bool) -> Self {
        assert!(id < 0xff, "APIC ID {id} is not below 255");
        let mut lapic = Self {
            registers: RegisterPage::new(),
            base: base::power_up(bootstrap),
            id,
            pending_errors: 0,
            timer: Timer::default(),
            pins: [false; 2],
            deliverable: false,
        };
        lapic.reset_registers();
        lapic
    }

    /// Power-up or RESET: xAPIC mode at the default address, software-disabled (SDM 3A 12.4.7.1). The pins stay as their wires are.
    pub fn power_up(&mut self) {
        self.base = base::power_up(self.is_bootstrap());
        self.reset_registers();
    }

    /// INIT: as power-up, but IA32_APIC_BASE stays, and with it mode and ID (SDM 3A 12.4.7.3 and 12.12.5.1).
    pub fn init(&mut self) {
        self.reset_registers();
    }

    fn reset_registers(&mut self) {
        self.registers = RegisterPage::new();
        self.registers.set(VERSION, VERSION_VALUE);
        self.registers.set(DFR, !0);
        self.registers.set(SVR, 0xff);
        for offset in LVT {
            self.registers.set(offset, LVT_MASKED);
        }
        self.pending_errors = 0;
        self.timer = Timer::default();
        self.derive_ids();
        self.update_priority();
    }

    /// The ID, which no reset and no mode changes.
    pub const fn apic_id(&self) -> u32 {
        self.id
    }

    /// Bit 8 of SVR, in an APIC that is not globally disabled (SDM 3A 12.4.7.2).
    pub const fn software_enabled(&self) -> bool {
        self.hardware_enabled() && self.registers.get(SVR) & SVR_ENABLE != 0
    }

    /// PPR.
    pub const fn processor_priority(&self) -> u8 {
        self.registers.get(PPR) as u8
    }

    /// Whether the processor would get a vector if it acknowledged now.
    #[inline]
    pub const fn is_interrupt_deliverable(&self) -> bool {
        self.deliverable
    }

    /// The highest request, if its class is above that of PPR (SDM 3A 12.8.3.1).
    pub fn highest_deliverable(&self) -> Option<u8> {
        self.registers.highest(IRR).filter(|&vector| vector >> 4 > self.processor_priority() >> 4)
    }

    /// Takes an interrupt request with this vector (SDM 3A 12.8.4). `false` if it was not taken: the APIC is disabled, or the vector illegal, which ESR tells.
    pub fn accept(&mut self, vector: u8, trigger: TriggerMode) -> bool {
        if !self.software_enabled() {
            return false;
        }
        if vector < 16 {
            self.log_error(ESR_RECEIVE_ILLEGAL_VECTOR);
            return false;
        }
        self.registers.set_bit(IRR, vector, true);
        self.registers.set_bit(TMR, vector, trigger == TriggerMode::Level);
        self.update_priority();
        true
    }

    /// The processor acknowledges: the highest request goes into service. Without one the spurious vector is given, and nothing is in service
    /// (SDM 3A 12.9).
    pub fn acknowledge(&mut self) -> u8 {
        let Some(vector) = self.highest_deliverable() else {
            return self.registers.get(SVR) as u8;
        };
        self.registers.set_bit(IRR, vector, false);
        self.registers.set_bit(ISR, vector, true);
        self.update_priority();
        vector
    }

    /// EOI: the highest vector in service is done (SDM 3A 12.8.5).
    fn end_of_interrupt(&mut self) -> Effects {
        let Some(vector) = self.registers.highest(ISR) else {
            return Effects::NONE;
        };
        self.registers.set_bit(ISR, vector, false);
        self.update_priority();
        let level = self.registers.bit(TMR, vector);
        if level {
            self.end_level_pin(vector);
        }
        Effects { eoi_broadcast: level.then_some(vector), ..Effects::NONE }
    }

    /// Bits 7:4 of TPR, as CR8 has them (SDM 3A 12.8.6).
    pub const fn cr8(&self) -> u8 {
        self.registers.get(TPR) as u8 >> 4
    }

    /// A write to CR8, of which bits 3:0 count; they become bits 7:4 of TPR, whose low half becomes 0.
    pub fn set_cr8(&mut self, value: u8) {
        self.set_tpr(u32::from(value & 0xf) << 4);
    }

    fn set_tpr(&mut self, value: u32) {
        self.registers.set(TPR, value & 0xff);
        self.update_priority();
    }

    /// Brings PPR and the flag in step with TPR, ISR and IRR (SDM 3A 12.8.3.1).
    fn update_priority(&mut self) {
        let tpr = self.registers.get(TPR);
        let in_service = self.registers.highest(ISR).map_or(0, u32::from);
        let ppr = if tpr & 0xf0 >= in_service & 0xf0 { tpr } else { in_service & 0xf0 };
        self.registers.set(PPR, ppr);
        self.deliverable = self.highest_deliverable().is_some();
    }

    /// Records an error. The first since the last write to ESR raises the error interrupt, whose trigger that write rearms (SDM 3A 12.5.3).
    fn log_error(&mut self, error: u32) {
        let armed = self.pending_errors == 0;
        self.pending_errors |= error;
        if armed {
            // If the vector of LVT error is itself illegal this comes back here once, with the trigger disarmed.
            self.raise_vectored(LVT_ERROR);
        }
    }
}
