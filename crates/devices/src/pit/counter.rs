//! One counter of the 8254.
//!
//! What the counting element holds, and the output, are functions of the mode, the count, and the ticks since the load:
//!
//! | mode | output is low | the count |
//! |---|---|---|
//! | 0 interrupt on terminal count | until the count is over | runs on below zero |
//! | 1 one-shot | from the trigger until the count is over | the same |
//! | 2 rate generator | in the last tick of each period | starts again |
//! | 3 square wave | in the second half of each period | goes down by two, starts again in each half |
//! | 4 software strobe | in the one tick when the count is over | runs on below zero |
//! | 5 hardware strobe | the same, from the trigger | the same |

pub(super) use saved_state::CounterV1;
#[cfg(test)]
pub(super) use saved_state::{NextV1, RunV1};

/// A time in ticks. It can lie before power-on: a square wave may be entered in its second half.
type Tick = i64;

/// Beyond any tick there is: see the test of [`Clock`](crate::crystal::Clock).
const END_OF_TIME: Tick = 1 << 56;

#[derive(Debug, Clone)]
pub(super) struct Counter {
    mode: u8,
    bcd: bool,
    /// Which bytes of a count are read and written: 1 low, 2 high, 3 low then high.
    access: u8,
    gate: bool,
    /// The last complete count, as it was written.
    count_register: u16,
    /// The count register holds a count, but no load of it is under way.
    unloaded: bool,
    /// A count has been written since the control word.
    written: bool,
    /// The low byte of a count whose high byte is still to come.
    low_byte: Option<u8>,
    /// The next byte read is the high one.
    high_next: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
    run: Run,
    /// Output and count as long as nothing is loaded, or up to a load that is under way.
    rest: Rest,
    /// A count that replaces a periodic one at the end of its period or half period.
    next: Option<Next>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    /// Nothing was loaded, or a gate stopped a periodic mode.
    Idle,
    /// `length` was, or will be, loaded at tick `start`.
    Counting { start: Tick, length: u32 },
    /// A gate holds the count, `elapsed` ticks after its load.
    Held { elapsed: Tick, length: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rest {
    out: bool,
    count: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Next {
    length: u32,
    at: Tick,
}

/// Where a periodic mode is in its period.
struct Position {
    /// The tick at which the period began.
    begin: Tick,
    /// Ticks since.
    passed: i64,
}

impl Counter {
    pub(super) fn new(gate: bool) -> Self {
        Self {
            mode: 0,
            bcd: false,
            access: 3,
            gate,
            count_register: 0,
            unloaded: false,
            written: false,
            low_byte: None,
            high_next: false,
            latched_count: None,
            latched_status: None,
            run: Run::Idle,
            rest: Rest { out: false, count: 0 },
            next: None,
        }
    }

    /// Carries out what was to happen up to `tick`.
    pub(super) fn settle(&mut self, tick: u64) {
        if let Some(Next { length, at }) = self.next
            && signed(tick) >= at
        {
            // A square wave that is exchanged in the middle goes on with the second half of the new one.
            let low_half = self.mode == 3 && self.out_at(at - 1);
            let start = if low_half { at - high_ticks(length) } else { at };
            self.run = Run::Counting { start, length };
            self.next = None;
        }
    }

    /// The output. [`settle`](Self::settle) comes first.
    pub(super) fn out(&self, tick: u64) -> bool {
        self.out_at(signed(tick))
    }

    fn out_at(&self, tick: Tick) -> bool {
        let (elapsed, length) = match self.run {
            Run::Counting { start, length } if tick >= start => (tick - start, length),
            Run::Held { elapsed, length } if elapsed >= 0 => (elapsed, length),
            _ => return self.rest.out,
        };
        let period = i64::from(length);
        match self.mode {
            0 | 1 => elapsed >= period,
            2 => period == 1 || elapsed % period != period - 1,
            3 => elapsed % period < high_ticks(length),
            _ => elapsed != period,
        }
    }

    /// What a read of the count shows.
    fn count(&self, tick: u64) -> u16 {
        let tick = signed(tick);
        let (elapsed, length) = match self.run {
            Run::Counting { start, length } if tick >= start => (tick - start, length),
            Run::Held { elapsed, length } if elapsed >= 0 => (elapsed, length),
            _ => return self.rest.count,
        };
        let period = i64::from(length);
        let count = match self.mode {
            2 => period - elapsed % period,
            3 => {
                let passed = elapsed % period;
                let in_half = if passed < high_ticks(length) { passed } else { passed - high_ticks(length) };
                // An odd count is loaded less one.
                (period & !1) - 2 * in_half
            }
            _ => period - elapsed,
        };
        if self.bcd { to_bcd(count.rem_euclid(10_000) as u16) } else { count as u16 }
    }

    /// The first tick after `tick` at which the output may change.
    pub(super) fn next_edge(&self, tick: u64) -> Option<u64> {
        let tick = signed(tick);
        let Run::Counting { start, length } = self.run else { return None };
        let period = i64::from(length);
        let edge = match self.mode {
            _ if tick < start => Some(start),
            2 | 3 if period == 1 => None,
            2 | 3 => {
                let Position { begin, passed } = position(start, length, tick);
                let inner = if self.mode == 2 { period - 1 } else { high_ticks(length) };
                Some(begin + if passed < inner { inner } else { period })
            }
            0 | 1 => Some(start + period),
            _ if tick < start + period => Some(start + period),
            _ => Some(start + period + 1),
        };
        let edge = edge.filter(|&edge| edge > tick);
        let edge = edge.into_iter().chain(self.next.map(|next| next.at)).min();
        edge.map(|edge| edge.max(0) as u64)
    }

    /// A control word for this counter: a counter latch command, or a new mode.
    pub(super) fn control(&mut self, word: u8, tick: u64) {
        let access = word >> 4 & 3;
        if access == 0 {
            self.latch_count(tick);
            return;
        }
        let mode = word >> 1 & 7;
        let count = self.count(tick);
        *self = Self {
            // Modes 6 and 7 are 2 and 3: bit 2 is ignored.
            mode: if mode > 5 { mode - 4 } else { mode },
            bcd: word & 1 != 0,
            access,
            unloaded: true,
            rest: Rest { out: mode != 0, count },
            ..Self::new(self.gate)
        };
    }

    pub(super) fn latch_count(&mut self, tick: u64) {
        // A second latch before the first was read is ignored.
        if self.latched_count.is_none() {
            self.latched_count = Some(self.count(tick));
        }
    }

    pub(super) fn latch_status(&mut self, tick: u64) {
        if self.latched_status.is_some() {
            return;
        }
        let pending = matches!(self.run, Run::Counting { start, .. } if signed(tick) < start);
        let null = self.unloaded || pending || self.next.is_some();
        self.latched_status = Some(
            u8::from(self.out(tick)) << 7
                | u8::from(null) << 6
                | self.access << 4
                | self.mode << 1
                | u8::from(self.bcd),
        );
    }

    pub(super) fn read(&mut self, tick: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched_count.unwrap_or_else(|| self.count(tick)).to_le_bytes();
        let (byte, last) = match (self.access, self.high_next) {
            (1, _) => (low, true),
            (2, _) => (high, true),
            (_, false) => (low, false),
            (_, true) => (high, true),
        };
        self.high_next = !last;
        if last {
            self.latched_count = None;
        }
        byte
    }

    pub(super) fn write(&mut self, byte: u8, tick: u64) {
        let count = match (self.access, self.low_byte.take()) {
            (1, _) => u16::from(byte),
            (2, _) => u16::from(byte) << 8,
            (_, Some(low)) => u16::from_le_bytes([low, byte]),
            (_, None) => {
                self.low_byte = Some(byte);
                if self.mode == 0 {
                    // The first byte stops the count and the output falls at once.
                    self.rest = Rest { out: false, count: self.count(tick) };
                    self.run = Run::Idle;
                }
                return;
            }
        };
        self.count_register = count;
        self.written = true;
        self.write_count(tick);
    }

    fn write_count(&mut self, tick: u64) {
        let length = self.length();
        match (self.mode, self.run) {
            (0, _) => {
                self.rest = Rest { out: false, count: self.count(tick) };
                self.start(tick);
            }
            (4, _) => self.start_from_now(tick),
            // A one-shot takes the new count at its next trigger.
            (1 | 5, _) => self.unloaded = true,
            (_, Run::Counting { start, .. }) if signed(tick) < start => {
                self.run = Run::Counting { start, length };
            }
            (_, Run::Counting { start, length: old }) => {
                let Position { begin, passed } = position(start, old, signed(tick));
                let in_high_half = self.mode == 3 && passed < high_ticks(old);
                let end = if in_high_half { high_ticks(old) } else { i64::from(old) };
                self.next = Some(Next { length, at: begin + end });
            }
            (_, _) if self.gate => self.start_from_now(tick),
            (_, _) => self.unloaded = true,
        }
    }

    pub(super) fn set_gate(&mut self, gate: bool, tick: u64) {
        if gate == self.gate {
            return;
        }
        self.gate = gate;
        match (self.mode, gate, self.run) {
            // A rising gate triggers what has a count.
            (1 | 2 | 3 | 5, true, _) if self.written => self.start_from_now(tick),
            (0 | 4, true, Run::Held { elapsed, length }) => {
                self.run = Run::Counting { start: signed(tick) - elapsed, length };
            }
            (0 | 4, false, Run::Counting { start, length }) => {
                // What is loaded while the gate is low starts with all of its count.
                self.run = Run::Held { elapsed: (signed(tick) - start).max(0), length };
            }
            (2 | 3, false, _) => {
                self.rest = Rest { out: true, count: self.count(tick) };
                self.run = Run::Idle;
                self.next = None;
            }
            _ => {}
        }
    }

    /// Loads the count at the next tick; up to it, output and count stay.
    fn start_from_now(&mut self, tick: u64) {
        self.rest = Rest { out: self.out(tick), count: self.count(tick) };
        self.start(tick);
    }

    fn start(&mut self, tick: u64) {
        let length = self.length();
        self.run = if self.gate || matches!(self.mode, 1 | 5) {
            Run::Counting { start: signed(tick) + 1, length }
        } else {
            // Loaded at once: should the gate rise in this very tick, the count is over one tick early.
            Run::Held { elapsed: 0, length }
        };
        self.unloaded = false;
        self.next = None;
    }

    /// The count to be loaded; zero is the largest.
    fn length(&self) -> u32 {
        let count = self.count_register;
        let length = if self.bcd { from_bcd(count) } else { count.into() };
        match (length, self.bcd) {
            (0, false) => 0x1_0000,
            (0, true) => 10_000,
            (length, _) => length,
        }
    }
}

/// Ticks fit: there are fewer than [`END_OF_TIME`].
fn signed(tick: u64) -> Tick {
    tick as Tick
}

/// How long a square wave of this period is high: the longer half, if they differ.
fn high_ticks(length: u32) -> i64 {
    (i64::from(length) + 1) / 2
}

fn position(start: Tick, length: u32, tick: Tick) -> Position {
    let passed = (tick - start).rem_euclid(length.into());
    Position { begin: tick - passed, passed }
}

/// Four decimal digits; one above nine counts as what it is worth.
fn from_bcd(value: u16) -> u32 {
    (0..4).rev().fold(0, |sum, digit| sum * 10 + u32::from(value >> (4 * digit) & 0xf))
}

fn to_bcd(value: u16) -> u16 {
    (value / 1000 % 10) << 12 | (value / 100 % 10) << 8 | (value / 10 % 10) << 4 | (value % 10)
}

mod saved_state;
