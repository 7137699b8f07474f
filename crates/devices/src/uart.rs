//! The 16550A serial port (UART).
//!
//! Source: National Semiconductor PC16550D datasheet, chapters 8 and 9.
//!
//! | offset | read | write |
//! |---|---|---|
//! | 0 | RBR, or divisor low if DLAB | THR, or divisor low |
//! | 1 | IER, or divisor high if DLAB | the same |
//! | 2 | IIR | FCR |
//! | 3, 4 | LCR, MCR | the same |
//! | 5, 6 | LSR, MSR | nothing |
//! | 7 | scratch | the same |
//!
//! `vm-superio` has a serial port too, but not this one: it ignores FCR, has no line-status, modem-status or time-out interrupts,
//! clears a pending receive interrupt when IIR is read, and reports interrupts as events instead of the level of a line.
//!
//! A terminal is connected that is always ready: CTS, DSR and DCD are on. What is sent is out at once, so LSR always shows an empty
//! transmitter; but the interrupt that says so follows [`THRE_DELAY`] later, because interrupt controllers need to see the line
//! fall in between. What is received waits in a queue until the FIFO has room, so the terminal never causes an overrun; in loop-back a
//! guest can. Parity, framing and break errors do not occur, and a break that is sent reaches nobody.
//!
//! As in a PC, OUT2 gates the interrupt line, and loop-back turns OUT2 off.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::isa::{read_bytes, write_bytes};

pub use saved_state::UartStateV1;

/// Bytes the receiver's FIFO holds.
const FIFO: usize = 16;
/// Bytes that wait for room in the FIFO at most.
const INPUT_LIMIT: usize = 64 << 10;
/// Nanoseconds from a byte sent to the interrupt for it.
const THRE_DELAY: u64 = 1_000;
/// The clock of the baud rate generator, divided by 16 for each bit.
const CRYSTAL_HZ: u64 = 1_843_200;

const IER_RECEIVED: u8 = 0x01;
const IER_THR_EMPTY: u8 = 0x02;
const IER_LINE_STATUS: u8 = 0x04;
const IER_MODEM_STATUS: u8 = 0x08;

const IIR_MODEM_STATUS: u8 = 0x00;
const IIR_NONE: u8 = 0x01;
const IIR_THR_EMPTY: u8 = 0x02;
const IIR_RECEIVED: u8 = 0x04;
const IIR_LINE_STATUS: u8 = 0x06;
const IIR_TIME_OUT: u8 = 0x0c;
const IIR_FIFOS: u8 = 0xc0;

const LCR_STOP_BITS: u8 = 0x04;
const LCR_PARITY: u8 = 0x08;
const LCR_DLAB: u8 = 0x80;

const MCR_DTR: u8 = 0x01;
const MCR_RTS: u8 = 0x02;
const MCR_OUT1: u8 = 0x04;
const MCR_OUT2: u8 = 0x08;
const MCR_LOOP: u8 = 0x10;

const LSR_DATA_READY: u8 = 0x01;
const LSR_OVERRUN: u8 = 0x02;
/// THRE and TEMT.
const LSR_TRANSMITTER_EMPTY: u8 = 0x60;

const MSR_CTS: u8 = 0x10;
const MSR_DSR: u8 = 0x20;
const MSR_RI: u8 = 0x40;
const MSR_DCD: u8 = 0x80;

/// One serial port.
#[derive(Debug, Clone)]
pub struct Uart {
    /// Where it is. Not state: wiring.
    base: u16,
    ier: u8,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    divisor: u16,
    fifos: bool,
    /// Bytes in the FIFO that raise the received-data interrupt.
    trigger: u8,
    received: VecDeque<u8>,
    overrun: bool,
    /// The low four bits of MSR: which of its high four bits have changed.
    modem_changes: u8,
    thre_pending: bool,
    thre_at: Option<u64>,
    timed_out: bool,
    time_out_at: Option<u64>,
    /// What the terminal has sent and the FIFO has had no room for.
    input: VecDeque<u8>,
    /// What was sent and not taken yet. Not state: it has left the machine.
    output: Vec<u8>,
}

impl Uart {
    /// COM1, on interrupt line 4.
    pub const COM1_PORTS: RangeInclusive<u16> = 0x3f8..=0x3ff;
    /// COM2, on interrupt line 3.
    pub const COM2_PORTS: RangeInclusive<u16> = 0x2f8..=0x2ff;
    /// The interrupt line of COM1.
    pub const COM1_IRQ: u8 = 4;
    /// The interrupt line of COM2.
    pub const COM2_IRQ: u8 = 3;

    /// A port after master reset, whose eight registers begin at `base`.
    pub fn new(base: u16) -> Self {
        Self {
            base,
            ier: 0,
            lcr: 0,
            mcr: 0,
            scratch: 0,
            // The datasheet leaves the divisor undefined; 9600 baud is what firmware would leave.
            divisor: 12,
            fifos: false,
            trigger: 1,
            received: VecDeque::new(),
            overrun: false,
            modem_changes: 0,
            thre_pending: false,
            thre_at: None,
            timed_out: false,
            time_out_at: None,
            input: VecDeque::new(),
            output: Vec::new(),
        }
    }

    /// Level of the interrupt line.
    pub fn irq_level(&self) -> bool {
        self.mcr & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2 && self.identification() != IIR_NONE
    }

    /// When the interrupt line may change next.
    pub fn next_event(&self) -> Option<u64> {
        let empty = self.thre_at.filter(|_| self.ier & IER_THR_EMPTY != 0);
        let time_out = self.time_out_at.filter(|_| self.ier & IER_RECEIVED != 0);
        empty.into_iter().chain(time_out).min()
    }

    /// Lets time pass up to `now`.
    pub fn advance(&mut self, now: u64) {
        if self.thre_at.is_some_and(|at| now >= at) {
            self.thre_at = None;
            self.thre_pending = true;
        }
        if self.time_out_at.is_some_and(|at| now >= at) {
            self.time_out_at = None;
            self.timed_out = true;
        }
    }

    /// Lets the terminal send `bytes`; returns how many of them there was room for.
    pub fn receive(&mut self, bytes: &[u8], now: u64) -> usize {
        self.advance(now);
        let taken = bytes.len().min(INPUT_LIMIT.saturating_sub(self.input.len()));
        self.input.extend(&bytes[..taken]);
        self.refill(now);
        taken
    }

    /// How many bytes [`receive`](Self::receive) has room for.
    pub fn room(&self) -> usize {
        INPUT_LIMIT.saturating_sub(self.input.len())
    }

    /// Whether there is something for [`take_output`](Self::take_output).
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Appends what was sent since the last call to `sink`. The machine does so after every write, and before it saves.
    pub fn take_output(&mut self, sink: &mut Vec<u8>) {
        sink.append(&mut self.output);
    }

    /// Reads `size` bytes at `port`.
    pub fn read(&mut self, port: u16, size: u8, now: u64) -> u32 {
        self.advance(now);
        read_bytes(port, size, |port| self.read_register(port.wrapping_sub(self.base), now))
    }

    /// Writes `size` bytes at `port`.
    pub fn write(&mut self, port: u16, size: u8, value: u32, now: u64) {
        self.advance(now);
        write_bytes(port, size, value, |port, byte| {
            self.write_register(port.wrapping_sub(self.base), byte, now);
        });
    }

    fn read_register(&mut self, offset: u16, now: u64) -> u8 {
        match offset {
            0 if self.lcr & LCR_DLAB != 0 => self.divisor.to_le_bytes()[0],
            0 => {
                let byte = self.received.pop_front().unwrap_or(0);
                self.refill(now);
                self.restart_time_out(now);
                byte
            }
            1 if self.lcr & LCR_DLAB != 0 => self.divisor.to_le_bytes()[1],
            1 => self.ier,
            2 => {
                let identification = self.identification();
                // Reading IIR answers this interrupt, if it is the one shown.
                if identification == IIR_THR_EMPTY {
                    self.thre_pending = false;
                }
                identification | if self.fifos { IIR_FIFOS } else { 0 }
            }
            3 => self.lcr,
            4 => self.mcr,
            5 => {
                let data_ready = if self.received.is_empty() { 0 } else { LSR_DATA_READY };
                let overrun = if std::mem::take(&mut self.overrun) { LSR_OVERRUN } else { 0 };
                LSR_TRANSMITTER_EMPTY | data_ready | overrun
            }
            6 => self.modem_lines() | std::mem::take(&mut self.modem_changes),
            7 => self.scratch,
            _ => 0xff,
        }
    }

    fn write_register(&mut self, offset: u16, value: u8, now: u64) {
        match offset {
            0 if self.lcr & LCR_DLAB != 0 => self.divisor = self.divisor & 0xff00 | u16::from(value),
            0 => self.send(value, now),
            1 if self.lcr & LCR_DLAB != 0 => self.divisor = self.divisor & 0x00ff | u16::from(value) << 8,
            1 => {
                // The transmitter is empty: to allow its interrupt is to have it. To forbid it is to forget it.
                let rises = value & !self.ier & IER_THR_EMPTY != 0;
                let stays = value & IER_THR_EMPTY != 0 && self.thre_pending;
                self.thre_pending = rises || stays;
                if rises {
                    self.thre_at = None;
                }
                self.ier = value & 0x0f;
            }
            2 => self.control_fifos(value, now),
            3 => self.lcr = value,
            4 => self.control_modem(value & 0x1f, now),
            7 => self.scratch = value,
            _ => {}
        }
    }

    fn send(&mut self, value: u8, now: u64) {
        self.thre_pending = false;
        self.thre_at = Some(now.saturating_add(THRE_DELAY));
        // Words of five to eight bits.
        let word = value & 0xff >> (3 - (self.lcr & 3));
        if self.mcr & MCR_LOOP == 0 {
            self.output.push(word);
        } else if self.received.len() < self.depth() {
            self.received.push_back(word);
            self.restart_time_out(now);
        } else {
            self.overrun = true;
            // With FIFOs the byte in the shift register is lost, without them the one that was not read.
            if !self.fifos {
                self.received.clear();
                self.received.push_back(word);
            }
        }
    }

    fn control_fifos(&mut self, value: u8, now: u64) {
        let fifos = value & 1 != 0;
        // Changing the mode, or bit 1, clears the receiver's FIFO. The transmitter's is always empty.
        if fifos != self.fifos || value & 2 != 0 {
            self.received.clear();
        }
        self.fifos = fifos;
        self.trigger = match value >> 6 {
            _ if !fifos => 1,
            0 => 1,
            1 => 4,
            2 => 8,
            _ => 14,
        };
        self.refill(now);
        self.restart_time_out(now);
    }

    fn control_modem(&mut self, value: u8, now: u64) {
        let before = self.modem_lines();
        self.mcr = value;
        let after = self.modem_lines();
        let changed = before ^ after;
        // A ring indicator counts when it ends.
        let counted = changed & (MSR_CTS | MSR_DSR | MSR_DCD) | before & !after & MSR_RI;
        self.modem_changes |= counted >> 4;
        self.refill(now);
    }

    /// The high four bits of MSR.
    fn modem_lines(&self) -> u8 {
        if self.mcr & MCR_LOOP == 0 {
            return MSR_CTS | MSR_DSR | MSR_DCD;
        }
        [(MCR_RTS, MSR_CTS), (MCR_DTR, MSR_DSR), (MCR_OUT1, MSR_RI), (MCR_OUT2, MSR_DCD)]
            .into_iter()
            .filter(|&(output, _)| self.mcr & output != 0)
            .fold(0, |lines, (_, input)| lines | input)
    }

    /// The most important pending interrupt, as the low four bits of IIR (datasheet, table IV).
    fn identification(&self) -> u8 {
        let received = self.received.len();
        let enabled = |bit| self.ier & bit != 0;
        if enabled(IER_LINE_STATUS) && self.overrun {
            IIR_LINE_STATUS
        } else if enabled(IER_RECEIVED) && received >= usize::from(self.trigger) {
            IIR_RECEIVED
        } else if enabled(IER_RECEIVED) && self.timed_out {
            IIR_TIME_OUT
        } else if enabled(IER_THR_EMPTY) && self.thre_pending {
            IIR_THR_EMPTY
        } else if enabled(IER_MODEM_STATUS) && self.modem_changes != 0 {
            IIR_MODEM_STATUS
        } else {
            IIR_NONE
        }
    }

    /// How many bytes the receiver holds.
    fn depth(&self) -> usize {
        if self.fifos { FIFO } else { 1 }
    }

    /// Lets the receiver have what waits. In loop-back the terminal is cut off.
    fn refill(&mut self, now: u64) {
        if self.mcr & MCR_LOOP != 0 {
            return;
        }
        let before = self.received.len();
        while self.received.len() < self.depth() {
            let Some(byte) = self.input.pop_front() else { break };
            self.received.push_back(byte);
        }
        if self.received.len() > before {
            self.restart_time_out(now);
        }
    }

    /// Four characters' time after the last byte came or went, what is left below the trigger level interrupts.
    fn restart_time_out(&mut self, now: u64) {
        self.timed_out = false;
        let waits = self.fifos && !self.received.is_empty();
        self.time_out_at = waits.then(|| now.saturating_add(4 * self.character_time()));
    }

    /// Nanoseconds for a start bit, the word, parity, and stop bits.
    fn character_time(&self) -> u64 {
        let word = 5 + u64::from(self.lcr & 3);
        let parity = u64::from(self.lcr & LCR_PARITY != 0);
        let stop = if self.lcr & LCR_STOP_BITS != 0 { 2 } else { 1 };
        let ticks = 16 * u64::from(self.divisor.max(1)) * (1 + word + parity + stop);
        ticks * 1_000_000_000 / CRYSTAL_HZ
    }
}

mod saved_state;

#[cfg(test)]
mod tests;
