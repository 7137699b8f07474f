//! ACPI's fixed hardware: PM1 event and control registers, and the power management timer. There are no general-purpose events.
//!
//! Source: ACPI specification 6.5, 4.8.3. The ports are where QEMU has them, and soft-off has the same sleep type 0, so that small
//! kernels which just write 0x2000 to port 0x604 find what they expect.
//!
//! | port | size | register |
//! |---|---|---|
//! | 0x600 | 2 | PM1a status: written ones clear |
//! | 0x602 | 2 | PM1a enable |
//! | 0x604 | 2 | PM1a control; SCI_EN is always set: there is no legacy mode to leave |
//! | 0x608 | 4 | timer: 24 bits at 3.579545 MHz |
//!
//! Only soft-off (S5) sleeps; other sleep types are not offered, and asking for them does nothing.

use std::ops::RangeInclusive;

use crate::crystal::Clock;
use crate::isa::{read_bytes, write_bytes};

pub use saved_state::AcpiPmStateV1;

const TIMER_STATUS: u16 = 1 << 0;
const POWER_BUTTON_STATUS: u16 = 1 << 8;
const WAKE_STATUS: u16 = 1 << 15;
/// TMR, GBL, PWRBTN, SLPBTN, RTC and WAK.
const STATUS_BITS: u16 = TIMER_STATUS | 1 << 5 | POWER_BUTTON_STATUS | 1 << 9 | 1 << 10 | WAKE_STATUS;
/// The same without WAK, which has no enable bit.
const ENABLE_BITS: u16 = STATUS_BITS & !WAKE_STATUS;

const SCI_ENABLED: u16 = 1 << 0;
const SLEEP_TYPE_SHIFT: u16 = 10;
const SLEEP_TYPE: u16 = 7 << SLEEP_TYPE_SHIFT;
const SLEEP_ENABLE: u16 = 1 << 13;
/// BM_RLD and SLP_TYP are what a write can change for good.
const CONTROL_KEPT: u16 = 1 << 1 | SLEEP_TYPE;

const TIMER_MASK: u64 = 0xff_ffff;
/// Ticks between two changes of the timer's highest bit, each of which sets the timer status.
const TIMER_HALF: u64 = 0x80_0000;

/// The registers.
#[derive(Debug, Clone)]
pub struct AcpiPm {
    status: u16,
    enable: u16,
    control: u16,
    /// Timer tick up to which time has passed.
    tick: u64,
    /// Soft-off was asked for and not taken yet.
    power_off: bool,
}

impl Default for AcpiPm {
    fn default() -> Self {
        Self::new()
    }
}

impl AcpiPm {
    /// All registers.
    pub const PORTS: RangeInclusive<u16> = 0x600..=0x60b;
    /// PM1a event block, for the FADT.
    pub const PM1A_EVENT: u16 = 0x600;
    /// PM1a control block, for the FADT.
    pub const PM1A_CONTROL: u16 = 0x604;
    /// PM timer block, for the FADT. The timer has 24 bits (TMR_VAL_EXT is clear).
    pub const PM_TIMER: u16 = 0x608;
    /// The sleep type of soft-off, for `\_S5` in the DSDT.
    pub const S5_SLEEP_TYPE: u8 = 0;

    /// At power-on.
    pub fn new() -> Self {
        Self { status: 0, enable: 0, control: SCI_ENABLED, tick: 0, power_off: false }
    }

    /// Level of the system control interrupt.
    pub fn irq_level(&self) -> bool {
        self.status & self.enable != 0
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self) {
        self.status |= POWER_BUTTON_STATUS;
    }

    /// Whether soft-off has been asked for since the last call.
    pub fn take_power_off(&mut self) -> bool {
        std::mem::take(&mut self.power_off)
    }

    /// When the interrupt may rise next.
    pub fn next_event(&self) -> Option<u64> {
        let waits = self.enable & TIMER_STATUS != 0 && self.status & TIMER_STATUS == 0;
        waits.then(|| Clock::PM_TIMER.time_of((self.tick / TIMER_HALF + 1) * TIMER_HALF))
    }

    /// Lets time pass up to `now`.
    pub fn advance(&mut self, now: u64) {
        let tick = self.tick.max(Clock::PM_TIMER.ticks_at(now));
        if tick / TIMER_HALF != self.tick / TIMER_HALF {
            self.status |= TIMER_STATUS;
        }
        self.tick = tick;
    }

    /// Reads `size` bytes at `port`.
    pub fn read(&mut self, port: u16, size: u8, now: u64) -> u32 {
        self.advance(now);
        let [status, enable, control] = [self.status, self.enable, self.control].map(u16::to_le_bytes);
        let timer = ((self.tick & TIMER_MASK) as u32).to_le_bytes();
        read_bytes(port, size, |port| match port {
            0x600..=0x601 => status[usize::from(port & 1)],
            0x602..=0x603 => enable[usize::from(port & 1)],
            0x604..=0x605 => control[usize::from(port & 1)],
            0x608..=0x60b => timer[usize::from(port & 3)],
            0x606..=0x607 => 0,
            _ => 0xff,
        })
    }

    /// Writes `size` bytes at `port`.
    pub fn write(&mut self, port: u16, size: u8, value: u32, now: u64) {
        self.advance(now);
        write_bytes(port, size, value, |port, byte| {
            let shift = 8 * (port & 1);
            let (bits, mask) = (u16::from(byte) << shift, 0xff << shift);
            match port & !1 {
                0x600 => self.status &= !bits,
                0x602 => self.enable = (self.enable & !mask | bits) & ENABLE_BITS,
                0x604 => {
                    let control = self.control & !mask | bits;
                    self.control = control & CONTROL_KEPT | SCI_ENABLED;
                    // SLP_EN is write-only; it and the sleep type are in the same byte.
                    let sleep_type = (control & SLEEP_TYPE) >> SLEEP_TYPE_SHIFT;
                    self.power_off |= control & SLEEP_ENABLE != 0 && sleep_type == Self::S5_SLEEP_TYPE.into();
                }
                _ => {}
            }
        });
    }
}

mod saved_state {
    use ::saved_state::{Restore, RestoreError, Save, SavedState};
    use serde::{Deserialize, Serialize};

    use super::{AcpiPm, CONTROL_KEPT, ENABLE_BITS, SCI_ENABLED, STATUS_BITS};

    /// The saved state of [`AcpiPm`].
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct AcpiPmStateV1 {
        pub(super) status: u16,
        pub(super) enable: u16,
        pub(super) control: u16,
        pub(super) tick: u64,
        pub(super) power_off: bool,
    }

    impl SavedState for AcpiPmStateV1 {
        const KIND: &'static str = "acpi_pm";
        const VERSION: u16 = 1;
    }

    impl Save for AcpiPm {
        type State = AcpiPmStateV1;

        fn save(&self) -> AcpiPmStateV1 {
            let &Self { status, enable, control, tick, power_off } = self;
            AcpiPmStateV1 { status, enable, control, tick, power_off }
        }
    }

    impl Restore for AcpiPm {
        fn restore(&mut self, state: AcpiPmStateV1) -> Result<(), RestoreError> {
            let AcpiPmStateV1 { status, enable, control, tick, power_off } = state;
            let invalid = |field, reason: &str| Err(RestoreError::invalid::<AcpiPmStateV1>(field, reason));
            if status & !STATUS_BITS != 0 {
                return invalid("status", "has reserved bits set");
            }
            if enable & !ENABLE_BITS != 0 {
                return invalid("enable", "has reserved bits set");
            }
            if control & !CONTROL_KEPT != SCI_ENABLED {
                return invalid("control", "has reserved bits set, or SCI_EN clear");
            }
            if tick >= 1 << 56 {
                return invalid("tick", "is past the end of time");
            }
            *self = Self { status, enable, control, tick, power_off };
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use ::saved_state::{Restore, Save};

    use super::saved_state::AcpiPmStateV1;
    use super::*;

    #[test]
    fn registers_at_power_on() {
        let mut pm = AcpiPm::new();
        for (port, size, expected) in [
            (0x600, 4, 0),
            (0x604, 2, 1),
            (0x604, 4, 1),
            (0x608, 4, 0),
            (0x60a, 4, 0xffff_0000),
            (0x60c, 1, 0xff),
        ] {
            assert_eq!(pm.read(port, size, 0), expected, "port {port:#x}");
        }
    }

    #[test]
    fn what_registers_keep() {
        for (port, size, written, read) in [
            (0x602, 2, 0xffff, 0x0721),
            (0x603, 1, 0xff, 0x0700),
            (0x604, 2, 0xdfff, 0x1c03),
            (0x604, 2, 0x0000, 0x0001),
        ] {
            let mut pm = AcpiPm::new();
            pm.write(port, size, written, 0);
            assert_eq!(pm.read(port & !1, 2, 0), read, "port {port:#x} {written:#x}");
        }
    }

    #[test]
    fn soft_off_needs_its_sleep_type_and_the_enable_bit() {
        for (port, size, written, off) in [
            (0x604, 2, 0x2000, true),
            (0x604, 2, 0x2001, true),
            (0x605, 1, 0x20, true),
            (0x604, 4, 0x2000, true),
            (0x604, 2, 0x0001, false),
            (0x604, 2, 0x3400, false),
            (0x604, 1, 0x20, false),
        ] {
            let mut pm = AcpiPm::new();
            pm.write(port, size, written, 0);
            assert_eq!(pm.take_power_off(), off, "{written:#x} at {port:#x}");
            assert!(!pm.take_power_off(), "once");
        }
    }

    #[test]
    fn the_timer_counts_and_interrupts_when_its_highest_bit_changes() {
        let mut pm = AcpiPm::new();
        assert_eq!(pm.read(0x608, 4, 1_000_000_000), 3_579_545);
        assert_eq!(pm.read(0x608, 4, 5_000_000_000), 17_897_727 - 0x100_0000, "24 bits");
        assert_eq!(pm.read(0x600, 2, 5_000_000_000), 1);
        pm.write(0x600, 2, 0xffff, 5_000_000_000);
        assert_eq!(pm.next_event(), None, "not enabled");
        pm.write(0x602, 2, 1, 5_000_000_000);
        let event = pm.next_event().unwrap();
        assert_eq!(event, Clock::PM_TIMER.time_of(0x180_0000));
        pm.advance(event - 1);
        assert!(!pm.irq_level());
        pm.advance(event);
        assert!(pm.irq_level());
        assert_eq!(pm.next_event(), None, "it is high already");
        pm.write(0x600, 1, 1, event);
        assert!(!pm.irq_level());
    }

    #[test]
    fn the_power_button_interrupts_if_allowed() {
        let mut pm = AcpiPm::new();
        pm.press_power_button();
        assert!(!pm.irq_level());
        pm.write(0x602, 2, 0x100, 0);
        assert!(pm.irq_level());
        pm.write(0x600, 2, 0x0fe, 0);
        assert!(pm.irq_level(), "zeros clear nothing");
        pm.write(0x600, 2, 0x100, 0);
        assert!(!pm.irq_level());
    }

    #[test]
    fn every_field_is_saved() {
        for power_off in [false, true] {
            let state =
                AcpiPmStateV1 { status: 0x8120, enable: 0x0221, control: 0x1403, tick: 0x1234, power_off };
            let mut pm = AcpiPm::new();
            pm.restore(state.clone()).unwrap();
            assert_eq!(pm.save(), state);
        }
    }

    #[test]
    fn impossible_states_are_refused() {
        let spoil: [fn(&mut AcpiPmStateV1); 4] = [
            |state| state.status = 2,
            |state| state.enable = 0x8000,
            |state| state.control = 0,
            |state| state.tick = u64::MAX,
        ];
        for spoil in spoil {
            let mut pm = AcpiPm::new();
            let mut state = pm.save();
            spoil(&mut state);
            pm.restore(state).unwrap_err();
            assert_eq!(pm.save(), AcpiPm::new().save());
        }
    }
}
