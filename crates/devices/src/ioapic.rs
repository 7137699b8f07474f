//! The I/O APIC: 24 inputs, each with an entry that says which local APICs hear of it and how.
//!
//! Sources: Intel 82093AA datasheet (290566) chapter 3; ICH9 datasheet 13.5 for version 0x20 and its EOI register.
//!
//! | offset | what |
//! |---|---|
//! | 0x00 | IOREGSEL: which register IOWIN shows |
//! | 0x10 | IOWIN |
//! | 0x40 | EOI (write only): a vector |
//!
//! | register | what |
//! |---|---|
//! | 0x00, 0x02 | identification, arbitration identification |
//! | 0x01 | version: 24 inputs, 0x20 |
//! | 0x10 + 2n, 0x11 + 2n | redirection entry n |
//!
//! Messages are not sent but asked for: after anything that can cause one (an input, a write, an end of interrupt) the machine takes
//! them with [`next_message`](IoApic::next_message) until there is none. The delivery status bit is thus set only in between.
//!
//! [`set_line`](IoApic::set_line) says whether a device asserts its interrupt; the polarity bit is kept, but which voltage that is is a matter of
//! wires that are not there. An edge at a masked input is forgotten (82093AA 3.2.4).

use std::ops::Range;

use crate::isa::part_of;

pub use saved_state::IoApicStateV1;

/// Inputs.
const PINS: usize = 24;
/// Version 0x20, and the number of the last input.
const VERSION: u32 = 0x0017_0020;

const DELIVERY_STATUS: u64 = 1 << 12;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// What a write can change.
const WRITABLE: u64 = 0xff00_0000_0001_afff;

/// An interrupt message for local APICs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterruptMessage {
    /// The input it is of.
    pub pin: u8,
    /// Physical APIC ID, or logical destination.
    pub destination: u8,
    /// Whether the destination is logical.
    pub logical: bool,
    /// Delivery mode, as the three bits of the entry (SDM 3A 11.6.1): 0 fixed, 1 lowest priority, 2 SMI, 4 NMI, 5 INIT, 7 ExtINT.
    pub delivery_mode: u8,
    /// Level-triggered: the local APIC has to report the end of interrupt with [`IoApic::end_of_interrupt`].
    pub level: bool,
    /// Vector.
    pub vector: u8,
}

/// One I/O APIC.
#[derive(Debug, Clone)]
pub struct IoApic {
    id: u8,
    selected: u8,
    entries: [u64; PINS],
    /// Inputs that are asserted.
    lines: u32,
    /// Edges whose message was not taken yet.
    edges: u32,
}

impl Default for IoApic {
    fn default() -> Self {
        Self::new()
    }
}

impl IoApic {
    /// Where the first one is, by convention.
    pub const BASE: u64 = 0xfec0_0000;
    /// The offsets it answers at.
    pub const RANGE: Range<u64> = 0..0x1000;
    /// Number of inputs.
    pub const PINS: u8 = PINS as u8;

    /// At power-on: everything is masked.
    pub fn new() -> Self {
        Self { id: 0, selected: 0, entries: [MASKED; PINS], lines: 0, edges: 0 }
    }

    /// Says whether input `pin` is asserted. Inputs there are none of are ignored.
    pub fn set_line(&mut self, pin: u8, asserted: bool) {
        let Some(entry) = self.entries.get(usize::from(pin)) else { return };
        let bit = 1 << pin;
        let rises = asserted && self.lines & bit == 0;
        if asserted {
            self.lines |= bit;
        } else {
            self.lines &= !bit;
        }
        if rises && entry & (LEVEL | MASKED) == 0 {
            self.edges |= bit;
        }
    }

    /// The next message, input 0 first. Taking it makes a level-triggered input wait for its end of interrupt.
    pub fn next_message(&mut self) -> Option<InterruptMessage> {
        // Nothing is asserted and no edge waits most of the time.
        let candidates = self.lines | self.edges;
        if candidates == 0 {
            return None;
        }
        let pin = (0..PINS).find(|&pin| candidates & (1 << pin) != 0 && self.is_deliverable(pin))?;
        let entry = &mut self.entries[pin];
        if *entry & LEVEL != 0 {
            *entry |= REMOTE_IRR;
        } else {
            self.edges &= !(1 << pin);
        }
        Some(InterruptMessage {
            pin: pin as u8,
            destination: (*entry >> 56) as u8,
            logical: *entry & 1 << 11 != 0,
            delivery_mode: (*entry >> 8) as u8 & 7,
            level: *entry & LEVEL != 0,
            vector: *entry as u8,
        })
    }

    fn is_deliverable(&self, pin: usize) -> bool {
        let entry = self.entries[pin];
        let asks = if entry & LEVEL != 0 {
            self.lines & (1 << pin) != 0 && entry & REMOTE_IRR == 0
        } else {
            self.edges & (1 << pin) != 0
        };
        asks && entry & MASKED == 0
    }

    /// A local APIC has ended the interrupt with this vector: level-triggered inputs that are still asserted ask again.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        for entry in &mut self.entries {
            if *entry & LEVEL != 0 && *entry as u8 == vector {
                *entry &= !REMOTE_IRR;
            }
        }
    }

    /// Reads `size` bytes at `offset` from the base.
    pub fn read(&mut self, offset: u64, size: u8, _now: u64) -> u32 {
        let register = match offset & !3 {
            0x00 => self.selected.into(),
            0x10 => self.register(),
            _ => 0,
        };
        part_of(register, offset as u16 & 3, size)
    }

    /// Writes `size` bytes at `offset` from the base. Registers are written whole: a write that is not of their first byte goes nowhere,
    /// a shorter one writes zeros above.
    pub fn write(&mut self, offset: u64, _size: u8, value: u32, _now: u64) {
        match offset {
            0x00 => self.selected = value as u8,
            0x10 => self.set_register(value),
            0x40 => self.end_of_interrupt(value as u8),
            _ => {}
        }
    }

    fn register(&self) -> u32 {
        match self.selected {
            0x00 | 0x02 => u32::from(self.id) << 24,
            0x01 => VERSION,
            0x10.. => {
                let pin = usize::from(self.selected - 0x10) / 2;
                let Some(&entry) = self.entries.get(pin) else { return 0 };
                let sending = if self.is_deliverable(pin) { DELIVERY_STATUS } else { 0 };
                ((entry | sending) >> (32 * (self.selected & 1))) as u32
            }
            _ => 0,
        }
    }

    fn set_register(&mut self, value: u32) {
        match self.selected {
            0x00 => self.id = (value >> 24) as u8 & 0x0f,
            0x10.. => {
                let pin = usize::from(self.selected - 0x10) / 2;
                let Some(entry) = self.entries.get_mut(pin) else { return };
                let shift = 32 * (self.selected & 1);
                let writable = WRITABLE & 0xffff_ffff << shift;
                *entry = *entry & !writable | u64::from(value) << shift & writable;
                // Only level-triggered entries have a remote IRR. Making an entry edge-triggered for a moment is
                // how drivers end an interrupt by hand.
                if *entry & LEVEL == 0 {
                    *entry &= !REMOTE_IRR;
                }
                if *entry & (LEVEL | MASKED) != 0 {
                    self.edges &= !(1 << pin);
                }
            }
            _ => {}
        }
    }
}

mod saved_state {
    use ::saved_state::{Restore, RestoreError, Save, SavedState};
    use serde::{Deserialize, Serialize};

    use super::{IoApic, PINS, REMOTE_IRR, WRITABLE};

    /// The saved state of [`IoApic`].
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct IoApicStateV1 {
        pub(super) id: u8,
        pub(super) selected: u8,
        pub(super) entries: [u64; PINS],
        pub(super) lines: u32,
        pub(super) edges: u32,
    }

    impl SavedState for IoApicStateV1 {
        const KIND: &'static str = "ioapic";
        const VERSION: u16 = 1;
    }

    impl Save for IoApic {
        type State = IoApicStateV1;

        fn save(&self) -> IoApicStateV1 {
            let &Self { id, selected, entries, lines, edges } = self;
            IoApicStateV1 { id, selected, entries, lines, edges }
        }
    }

    impl Restore for IoApic {
        fn restore(&mut self, state: IoApicStateV1) -> Result<(), RestoreError> {
            let IoApicStateV1 { id, selected, entries, lines, edges } = state;
            let invalid = |field, reason: &str| Err(RestoreError::invalid::<IoApicStateV1>(field, reason));
            if id > 0x0f {
                return invalid("id", "is above 15");
            }
            if entries.iter().any(|entry| entry & !(WRITABLE | REMOTE_IRR) != 0) {
                return invalid("entries", "has reserved bits set");
            }
            if lines >> PINS != 0 {
                return invalid("lines", "has inputs above 23");
            }
            if edges >> PINS != 0 {
                return invalid("edges", "has inputs above 23");
            }
            *self = Self { id, selected, entries, lines, edges };
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use ::saved_state::{Restore, Save};

    use super::saved_state::IoApicStateV1;
    use super::*;

    fn set(apic: &mut IoApic, register: u32, value: u32) {
        apic.write(0, 4, register, 0);
        apic.write(0x10, 4, value, 0);
    }

    fn get(apic: &mut IoApic, register: u32) -> u32 {
        apic.write(0, 4, register, 0);
        apic.read(0x10, 4, 0)
    }

    #[test]
    fn registers() {
        // Register, what is written, what is read.
        for (register, written, read) in [
            (0x00, 0xffff_ffff, 0x0f00_0000),
            (0x01, 0xffff_ffff, 0x0017_0020),
            (0x02, 0xffff_ffff, 0x0000_0000),
            (0x03, 0xffff_ffff, 0x0000_0000),
            (0x10, 0xffff_ffff, 0x0001_afff),
            (0x11, 0xffff_ffff, 0xff00_0000),
            (0x3e, 0x0000_0000, 0x0000_0000),
            (0x3f, 0x1234_5678, 0x1200_0000),
            (0x40, 0xffff_ffff, 0x0000_0000),
            (0xff, 0xffff_ffff, 0x0000_0000),
        ] {
            let mut apic = IoApic::new();
            set(&mut apic, register, written);
            assert_eq!(get(&mut apic, register), read, "register {register:#x}");
        }
        let mut apic = IoApic::new();
        assert_eq!(get(&mut apic, 0x20), 0x0001_0000, "masked at power-on");
        assert_eq!(apic.read(0, 4, 0), 0x20);
        assert_eq!(apic.read(0x12, 2, 0), 1);
        assert_eq!(apic.read(0x20, 4, 0), 0);
        set(&mut apic, 0, 0x0500_0000);
        assert_eq!(get(&mut apic, 2), 0x0500_0000, "arbitration follows identification");
    }

    #[test]
    fn messages_say_what_the_entry_says() {
        for (low, high, expected) in [
            (0x0000_0031, 0x0300_0000, (3, false, 0, false, 0x31)),
            (0x0000_0931, 0xff00_0000, (0xff, true, 1, false, 0x31)),
            (0x0000_a054, 0x0000_0000, (0, false, 0, true, 0x54)),
            (0x0000_0400, 0x0100_0000, (1, false, 4, false, 0)),
            (0x0000_0700, 0x0000_0000, (0, false, 7, false, 0)),
        ] {
            let mut apic = IoApic::new();
            set(&mut apic, 0x10 + 2 * 9, low);
            set(&mut apic, 0x11 + 2 * 9, high);
            assert_eq!(apic.next_message(), None);
            apic.set_line(9, true);
            let (destination, logical, delivery_mode, level, vector) = expected;
            let message = InterruptMessage { pin: 9, destination, logical, delivery_mode, level, vector };
            assert_eq!(apic.next_message(), Some(message), "{low:#x}");
            assert_eq!(apic.next_message(), None, "once");
        }
    }

    #[test]
    fn edges() {
        let mut apic = IoApic::new();
        apic.set_line(4, true);
        set(&mut apic, 0x18, 0x30);
        assert_eq!(apic.next_message(), None, "an edge while masked is forgotten");
        apic.set_line(4, true);
        assert_eq!(apic.next_message(), None, "no edge");
        apic.set_line(4, false);
        apic.set_line(4, true);
        apic.set_line(4, false);
        assert_eq!(get(&mut apic, 0x18) & 0x1000, 0x1000, "delivery status");
        assert!(apic.next_message().is_some(), "an edge is remembered when the line has fallen");
        assert_eq!(get(&mut apic, 0x18) & 0x1000, 0);
        apic.set_line(4, true);
        assert!(apic.next_message().is_some(), "needs no end of interrupt");
        apic.set_line(4, false);
        apic.set_line(4, true);
        set(&mut apic, 0x18, 0x0001_0030);
        set(&mut apic, 0x18, 0x30);
        assert_eq!(apic.next_message(), None, "masking drops what was not sent");
    }

    #[test]
    fn levels_and_remote_irr() {
        let mut apic = IoApic::new();
        set(&mut apic, 0x30, 0x0001_8055);
        apic.set_line(16, true);
        assert_eq!(apic.next_message(), None, "masked");
        set(&mut apic, 0x30, 0x8055);
        assert!(apic.next_message().is_some(), "but not forgotten");
        assert_eq!(get(&mut apic, 0x30), 0xc055, "remote IRR");
        set(&mut apic, 0x30, 0x8055);
        assert_eq!(get(&mut apic, 0x30), 0xc055, "which a write does not clear");
        assert_eq!(apic.next_message(), None);
        apic.end_of_interrupt(0x54);
        assert_eq!(apic.next_message(), None, "another vector");
        apic.end_of_interrupt(0x55);
        assert!(apic.next_message().is_some(), "still asserted");
        apic.set_line(16, false);
        apic.write(0x40, 4, 0x55, 0);
        assert_eq!(get(&mut apic, 0x30), 0x8055, "the EOI register ends it too");
        assert_eq!(apic.next_message(), None);
        apic.set_line(16, true);
        apic.next_message().unwrap();
        set(&mut apic, 0x30, 0x0001_0055);
        set(&mut apic, 0x30, 0x8055);
        assert!(apic.next_message().is_some(), "edge and back ends it by hand");
    }

    #[test]
    fn pins_go_in_order_and_there_are_24() {
        let mut apic = IoApic::new();
        for pin in 0..24_u8 {
            set(&mut apic, 0x10 + 2 * u32::from(pin), 0x40 + u32::from(pin));
        }
        for pin in (0..=255).rev() {
            apic.set_line(pin, true);
        }
        for pin in 0..24 {
            assert_eq!(apic.next_message().map(|message| message.vector), Some(0x40 + pin));
        }
        assert_eq!(apic.next_message(), None);
    }

    fn unique() -> IoApicStateV1 {
        IoApicStateV1 {
            id: 5,
            selected: 0x77,
            entries: std::array::from_fn(|n| 0xa500_0000_0000_c040 + n as u64 + ((n as u64) << 56)),
            lines: 0x0012_3456,
            edges: 0x0065_4321,
        }
    }

    #[test]
    fn every_field_is_saved() {
        let mut apic = IoApic::new();
        apic.restore(unique()).unwrap();
        assert_eq!(apic.save(), unique());
    }

    #[test]
    fn impossible_states_are_refused() {
        let spoil: [fn(&mut IoApicStateV1); 4] = [
            |state| state.id = 16,
            |state| state.entries[3] |= 1 << 17,
            |state| state.lines = 1 << 24,
            |state| state.edges = 1 << 31,
        ];
        for spoil in spoil {
            let mut state = unique();
            spoil(&mut state);
            let mut apic = IoApic::new();
            let before = apic.save();
            apic.restore(state).unwrap_err();
            assert_eq!(apic.save(), before);
        }
    }
}
