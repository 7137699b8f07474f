//! The pair of 8259A interrupt controllers, with the edge/level control registers of PCI chipsets.
//!
//! Sources: Intel 8259A datasheet (231468); Intel 82371SB (PIIX3) datasheet 2.5.3 for ELCR.
//!
//! | port | chip | registers |
//! |---|---|---|
//! | 0x20, 0x21 | master | ICW1, OCW2, OCW3; ICW2..4, OCW1 (IMR) |
//! | 0xa0, 0xa1 | slave | the same |
//! | 0x4d0, 0x4d1 | both | ELCR: a set bit makes the input level-triggered |
//!
//! As in PIIX3, ELCR replaces the LTIM bit of ICW1, and inputs 0, 1, 2, 8 and 13 are always edge-triggered. The slave hangs on
//! input 2 of the master. Only the 8086 mode exists: the INTA sequence gives one vector.
//!
//! An input must stay high until it is acknowledged (datasheet, "Edge and level triggered modes"): if it falls
//! before, the acknowledge finds nothing and gives the vector of input 7 without setting its in-service bit.

use std::ops::RangeInclusive;

use crate::isa::{read_bytes, write_bytes};

pub use saved_state::PicStateV1;

/// The input of the master that the slave hangs on.
const CASCADE: u8 = 2;
/// Inputs that ELCR can make level-triggered, by chip.
const ELCR_WRITABLE: [u8; 2] = [0xf8, 0xde];

/// Both controllers.
#[derive(Debug, Clone)]
pub struct Pic {
    master: Chip,
    slave: Chip,
}

/// What the next write to the odd port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Ocw1,
    Icw2,
    Icw3,
    Icw4,
}

#[derive(Debug, Clone)]
struct Chip {
    /// Levels of the inputs.
    lines: u8,
    /// Interrupt requests: the latched edges, and the levels of level-triggered inputs.
    irr: u8,
    isr: u8,
    imr: u8,
    elcr: u8,
    /// Inputs whose level counts whatever ELCR says: the master's cascade, since the slave's INT falls with every INTA.
    always_level: u8,
    next: Next,
    /// ICW1: the sequence has an ICW4.
    with_icw4: bool,
    /// ICW1: no cascade.
    single: bool,
    icw2: u8,
    icw3: u8,
    auto_eoi: bool,
    special_fully_nested: bool,
    special_mask: bool,
    rotate_on_auto_eoi: bool,
    read_isr: bool,
    poll: bool,
    /// The input of lowest priority; the one after it has the highest.
    lowest: u8,
}

impl Default for Pic {
    fn default() -> Self {
        Self::new()
    }
}

impl Pic {
    /// Ports of the master.
    pub const MASTER_PORTS: RangeInclusive<u16> = 0x20..=0x21;
    /// Ports of the slave.
    pub const SLAVE_PORTS: RangeInclusive<u16> = 0xa0..=0xa1;
    /// Ports of the edge/level control registers.
    pub const ELCR_PORTS: RangeInclusive<u16> = 0x4d0..=0x4d1;

    /// The pair at power-on: nothing is delivered until it is initialised, for all inputs are masked.
    pub fn new() -> Self {
        Self { master: Chip::new(1 << CASCADE), slave: Chip::new(0) }
    }

    /// Sets the level of interrupt line `irq` (0 to 15, others are ignored). Line 2 does not exist: the slave is there.
    pub fn set_line(&mut self, irq: u8, high: bool) {
        match irq {
            CASCADE => {}
            0..8 => self.master.set_line(irq, high),
            8..16 => {
                self.slave.set_line(irq - 8, high);
                self.update_cascade();
            }
            _ => {}
        }
    }

    /// Whether the master asks the processor for an interrupt.
    pub fn intr(&self) -> bool {
        self.master.request().is_some()
    }

    /// The INTA sequence: takes the most important request into service and returns its vector.
    pub fn acknowledge(&mut self) -> u8 {
        let Some(input) = self.master.request() else { return self.master.icw2 | 7 };
        self.master.take(input);
        let vector = if input == CASCADE && self.master.icw3 & (1 << CASCADE) != 0 && !self.master.single {
            let input = self.slave.request();
            if let Some(input) = input {
                self.slave.take(input);
            }
            self.slave.icw2 | input.unwrap_or(7)
        } else {
            self.master.icw2 | input
        };
        self.update_cascade();
        vector
    }

    /// Reads `size` bytes at `port`.
    pub fn read(&mut self, port: u16, size: u8, _now: u64) -> u32 {
        let value = read_bytes(port, size, |port| match port {
            0x20 | 0x21 => self.master.read(port & 1 != 0),
            0xa0 | 0xa1 => self.slave.read(port & 1 != 0),
            0x4d0 => self.master.elcr,
            0x4d1 => self.slave.elcr,
            _ => 0xff,
        });
        // A poll takes a request into service.
        self.update_cascade();
        value
    }

    /// Writes `size` bytes at `port`.
    pub fn write(&mut self, port: u16, size: u8, value: u32, _now: u64) {
        write_bytes(port, size, value, |port, byte| match port {
            0x20 | 0x21 => self.master.write(port & 1 != 0, byte),
            0xa0 | 0xa1 => self.slave.write(port & 1 != 0, byte),
            0x4d0 => self.master.set_elcr(byte & ELCR_WRITABLE[0]),
            0x4d1 => self.slave.set_elcr(byte & ELCR_WRITABLE[1]),
            _ => {}
        });
        self.update_cascade();
    }

    fn update_cascade(&mut self) {
        let high = self.slave.request().is_some();
        self.master.set_line(CASCADE, high);
    }
}

impl Chip {
    fn new(always_level: u8) -> Self {
        Self {
            lines: 0,
            irr: 0,
            isr: 0,
            imr: 0xff,
            elcr: 0,
            always_level,
            next: Next::Ocw1,
            with_icw4: false,
            single: false,
            icw2: 0,
            icw3: 0,
            auto_eoi: false,
            special_fully_nested: false,
            special_mask: false,
            rotate_on_auto_eoi: false,
            read_isr: false,
            poll: false,
            lowest: 7,
        }
    }

    fn set_line(&mut self, input: u8, high: bool) {
        let bit = 1 << input;
        if !high {
            self.lines &= !bit;
            self.irr &= !bit;
        } else if self.lines & bit == 0 || (self.elcr | self.always_level) & bit != 0 {
            self.lines |= bit;
            self.irr |= bit;
        }
    }

    fn set_elcr(&mut self, elcr: u8) {
        self.elcr = elcr;
        self.irr |= self.lines & elcr;
    }

    /// 0 for the highest priority, 7 for the lowest.
    fn priority(&self, input: u8) -> u8 {
        input.wrapping_sub(self.lowest).wrapping_sub(1) & 7
    }

    /// The most important of `inputs`.
    fn most_important(&self, inputs: u8) -> Option<u8> {
        (0..8).filter(|&input| inputs & (1 << input) != 0).min_by_key(|&input| self.priority(input))
    }

    /// The input that makes INT high.
    fn request(&self) -> Option<u8> {
        let input = self.most_important(self.irr & !self.imr)?;
        // Special mask mode: levels in service that are masked hold nobody back.
        let holding = if self.special_mask { self.isr & !self.imr } else { self.isr };
        let Some(serving) = self.most_important(holding) else { return Some(input) };
        let before = self.priority(input) < self.priority(serving);
        // Special fully nested mode: the slave may interrupt its own service.
        let nested = self.special_fully_nested && input == serving && self.always_level & (1 << input) != 0;
        (before || nested).then_some(input)
    }

    /// What INTA does to the chip.
    fn take(&mut self, input: u8) {
        let bit = 1 << input;
        if (self.elcr | self.always_level) & bit == 0 {
            self.irr &= !bit;
        }
        if !self.auto_eoi {
            self.isr |= bit;
        } else if self.rotate_on_auto_eoi {
            self.lowest = input;
        }
    }

    fn read(&mut self, odd: bool) -> u8 {
        if self.poll {
            self.poll = false;
            let Some(input) = self.request() else { return 0 };
            self.take(input);
            return 0x80 | input;
        }
        match (odd, self.read_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr,
        }
    }

    fn write(&mut self, odd: bool, value: u8) {
        match (odd, self.next) {
            (false, _) if value & 0x10 != 0 => self.icw1(value),
            (false, _) if value & 0x08 != 0 => self.ocw3(value),
            (false, _) => self.ocw2(value),
            (true, Next::Ocw1) => self.imr = value,
            (true, Next::Icw2) => {
                self.icw2 = value & 0xf8;
                self.next = match (self.single, self.with_icw4) {
                    (false, _) => Next::Icw3,
                    (true, true) => Next::Icw4,
                    (true, false) => Next::Ocw1,
                };
            }
            (true, Next::Icw3) => {
                self.icw3 = value;
                self.next = if self.with_icw4 { Next::Icw4 } else { Next::Ocw1 };
            }
            (true, Next::Icw4) => {
                self.special_fully_nested = value & 0x10 != 0;
                self.auto_eoi = value & 0x02 != 0;
                self.next = Next::Ocw1;
            }
        }
    }

    /// Begins an initialisation. Datasheet, "Initialization command words 1 and 2": what it resets by itself.
    fn icw1(&mut self, value: u8) {
        self.irr = self.lines & (self.elcr | self.always_level);
        self.isr = 0;
        self.imr = 0;
        self.lowest = 7;
        self.special_mask = false;
        self.read_isr = false;
        self.poll = false;
        self.auto_eoi = false;
        self.special_fully_nested = false;
        self.rotate_on_auto_eoi = false;
        self.with_icw4 = value & 0x01 != 0;
        self.single = value & 0x02 != 0;
        self.next = Next::Icw2;
    }

    fn ocw2(&mut self, value: u8) {
        let named = value & 7;
        match value >> 5 {
            0b000 => self.rotate_on_auto_eoi = false,
            0b100 => self.rotate_on_auto_eoi = true,
            0b001 => drop(self.end_most_important()),
            0b101 => {
                if let Some(input) = self.end_most_important() {
                    self.lowest = input;
                }
            }
            0b011 => self.isr &= !(1 << named),
            0b111 => {
                self.isr &= !(1 << named);
                self.lowest = named;
            }
            0b110 => self.lowest = named,
            // 0b010 is no operation.
            _ => {}
        }
    }

    /// The non-specific end of interrupt. In special mask mode it passes over masked levels.
    fn end_most_important(&mut self) -> Option<u8> {
        let ended = if self.special_mask { self.isr & !self.imr } else { self.isr };
        let input = self.most_important(ended)?;
        self.isr &= !(1 << input);
        Some(input)
    }

    fn ocw3(&mut self, value: u8) {
        if value & 0x40 != 0 {
            self.special_mask = value & 0x20 != 0;
        }
        // A poll comes before the choice of a register.
        if value & 0x04 != 0 {
            self.poll = true;
        } else if value & 0x02 != 0 {
            self.read_isr = value & 0x01 != 0;
        }
    }
}

mod saved_state;

#[cfg(test)]
mod tests;
