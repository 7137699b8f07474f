//! The local vector table and its sources: timer, errors, the pins LINT0 and LINT1 (SDM 3A 12.5.1).

use super::message::DeliveryMode;
use super::registers::*;
use super::{ApicMode, Effects, Lapic, Now, TriggerMode};

/// An interrupt input of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalPin {
    /// LINT0, wired to INTR of the 8259.
    Lint0,
    /// LINT1, wired to NMI.
    Lint1,
}

impl LocalPin {
    const fn lvt(self) -> u16 {
        match self {
            Self::Lint0 => LVT_LINT0,
            Self::Lint1 => LVT_LINT1,
        }
    }
}

/// What a pin has brought the processor directly. Vectors go through IRR, and a vector of the 8259 is asked for with [`Lapic::extint_pending`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalEvent {
    /// Nothing.
    None,
    /// A non-maskable interrupt.
    Nmi,
    /// A system-management interrupt.
    Smi,
    /// INIT.
    Init,
}

impl Lapic {
    /// A write to an LVT entry. While the APIC is software-disabled the mask stays set (SDM 3A 12.4.7.2).
    pub(super) fn set_lvt(&mut self, offset: u16, value: u32, now: Now) -> Effects {
        if offset == LVT_TIMER {
            // What expired under the old entry happened under it.
            self.advance(now);
        }
        let old = self.registers.get(offset);
        let mut new = value & lvt_writable(offset) | old & LVT_REMOTE_IRR;
        if !self.software_enabled() {
            new |= LVT_MASKED;
        }
        self.registers.set(offset, new);
        if offset == LVT_TIMER {
            self.timer_mode_changed(old, new);
        }
        Effects { timer_changed: offset == LVT_TIMER, ..Effects::NONE }
    }

    /// A write to SVR. Software-disabling masks all of the LVT; enabling unmasks nothing.
    pub(super) fn set_svr(&mut self, value: u32, now: Now) -> Effects {
        self.advance(now);
        self.registers.set(SVR, value & SVR_WRITABLE);
        if value & SVR_ENABLE == 0 {
            for offset in LVT {
                self.registers.set(offset, self.registers.get(offset) | LVT_MASKED);
            }
        }
        Effects { timer_changed: true, ..Effects::NONE }
    }

    /// An LVT entry without a delivery mode, timer or error, has its event.
    pub(super) fn raise_vectored(&mut self, offset: u16) {
        let entry = self.registers.get(offset);
        if entry & LVT_MASKED == 0 {
            self.accept(entry as u8, TriggerMode::Edge);
        }
    }

    /// A pin is asserted or deasserted.
    #[must_use = "the processor has to be told"]
    pub fn set_pin(&mut self, pin: LocalPin, asserted: bool) -> LocalEvent {
        let was_asserted = std::mem::replace(&mut self.pins[pin as usize], asserted);
        let rising = asserted && !was_asserted;
        if self.mode() == ApicMode::Disabled {
            // SDM 3A 12.4.3: the pins are INTR and NMI again.
            return if rising && pin == LocalPin::Lint1 { LocalEvent::Nmi } else { LocalEvent::None };
        }
        let entry = self.registers.get(pin.lvt());
        if entry & LVT_MASKED != 0 {
            return LocalEvent::None;
        }
        match DeliveryMode::from_bits(entry >> 8) {
            Some(DeliveryMode::Fixed) if is_level(pin, entry) => self.raise_level_pin(),
            Some(DeliveryMode::Fixed) if rising => {
                self.accept(entry as u8, TriggerMode::Edge);
            }
            Some(DeliveryMode::Nmi) if rising => return LocalEvent::Nmi,
            Some(DeliveryMode::Smi) if rising => return LocalEvent::Smi,
            Some(DeliveryMode::Init) if rising => return LocalEvent::Init,
            // ExtINT is a level that `extint_pending` reads; the other modes are reserved.
            _ => {}
        }
        LocalEvent::None
    }

    /// LINT0 passes the 8259's INTR on to the processor: its LVT entry is ExtINT and not masked, or there is no APIC.
    pub const fn lint0_is_extint(&self) -> bool {
        let entry = self.registers.get(LVT_LINT0);
        !self.hardware_enabled() || entry & (LVT_MASKED | 0x700) == 0x700
    }

    /// The processor has an interrupt from the 8259 pending.
    pub const fn extint_pending(&self) -> bool {
        self.pins[LocalPin::Lint0 as usize] && self.lint0_is_extint()
    }

    /// LINT0 as a level: a request whenever it is asserted and the last one has had its EOI, which remote IRR tells.
    fn raise_level_pin(&mut self) {
        let entry = self.registers.get(LVT_LINT0);
        let asserted = self.pins[LocalPin::Lint0 as usize];
        if asserted && entry & LVT_REMOTE_IRR == 0 && self.accept(entry as u8, TriggerMode::Level) {
            self.registers.set(LVT_LINT0, entry | LVT_REMOTE_IRR);
        }
    }

    /// A level-triggered vector had its EOI: if it was that of LINT0, the pin may ask again.
    pub(super) fn end_level_pin(&mut self, vector: u8) {
        let entry = self.registers.get(LVT_LINT0);
        if entry & LVT_REMOTE_IRR == 0 || entry as u8 != vector {
            return;
        }
        self.registers.set(LVT_LINT0, entry & !LVT_REMOTE_IRR);
        if entry & (LVT_MASKED | 0x700) == 0 && is_level(LocalPin::Lint0, entry) {
            self.raise_level_pin();
        }
    }
}

/// Level sensitivity exists on LINT0 alone (SDM 3A 12.5.1, trigger mode).
fn is_level(pin: LocalPin, entry: u32) -> bool {
    pin == LocalPin::Lint0 && entry & LVT_LEVEL != 0
}
