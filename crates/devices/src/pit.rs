//! The 8254 programmable interval timer, and port 0x61 that gates its counter 2 and shows its output.
//!
//! Source: Intel 8254 datasheet (231164), "Operational description", "Mode definitions"; port 0x61: 82371SB (PIIX3) 2.5.4.
//!
//! | port | what |
//! |---|---|
//! | 0x40, 0x41, 0x42 | counters 0 to 2 |
//! | 0x43 | control word (write only) |
//! | 0x61 | bit 0 gate 2, 1 speaker, 2..3 parity and channel check off, 4 refresh (toggles), 5 output 2 |
//!
//! Counter 0 drives interrupt line 0. The gates of counters 0 and 1 are always high. Counter 1 refreshed the memory of a PC; nothing
//! hangs on it, and the refresh bit of port 0x61 toggles every 18 ticks whatever is programmed.
//!
//! The clock is [`Clock::PIT`]. A counter never runs: what it holds and what its output is are computed from the tick at which it was loaded.
//! Output 0 is shown as of the last access or [`advance`](Pit::advance); to see every edge, advance to each
//! [`next_event`](Pit::next_event) in turn.

mod counter;

use std::ops::RangeInclusive;

use crate::crystal::Clock;
use crate::isa::{read_bytes, write_bytes};
use counter::Counter;

pub use saved_state::PitStateV1;

/// Ticks between two refreshes of memory: 15 microseconds.
const REFRESH_TICKS: u64 = 18;
/// The bits of port 0x61 that are kept.
const PORT_61_KEPT: u8 = 0x0f;

/// The timer and its port 0x61.
#[derive(Debug, Clone)]
pub struct Pit {
    counters: [Counter; 3],
    /// The low four bits of port 0x61.
    port_61: u8,
    /// The tick up to which time has passed.
    tick: u64,
}

impl Default for Pit {
    fn default() -> Self {
        Self::new()
    }
}

impl Pit {
    /// Counters and control word.
    pub const PORTS: RangeInclusive<u16> = 0x40..=0x43;
    /// Gate and output of counter 2.
    pub const SPEAKER_PORT: u16 = 0x61;

    /// A timer at power-on: no counter counts before it is programmed.
    pub fn new() -> Self {
        Self { counters: [Counter::new(true), Counter::new(true), Counter::new(false)], port_61: 0, tick: 0 }
    }

    /// Output of counter 0: interrupt line 0.
    pub fn irq_level(&self) -> bool {
        self.counters[0].out(self.tick)
    }

    /// Whether the speaker hears counter 2, and its output.
    pub fn speaker(&self) -> bool {
        self.port_61 & 2 != 0 && self.counters[2].out(self.tick)
    }

    /// When output 0 may change next.
    pub fn next_event(&self) -> Option<u64> {
        self.counters[0].next_edge(self.tick).map(|tick| Clock::PIT.time_of(tick))
    }

    /// Lets time pass up to `now`.
    pub fn advance(&mut self, now: u64) {
        self.tick = self.tick.max(Clock::PIT.ticks_at(now));
        for counter in &mut self.counters {
            counter.settle(self.tick);
        }
    }

    /// Reads `size` bytes at `port`.
    pub fn read(&mut self, port: u16, size: u8, now: u64) -> u32 {
        self.advance(now);
        read_bytes(port, size, |port| match port {
            0x40..=0x42 => self.counters[usize::from(port - 0x40)].read(self.tick),
            Self::SPEAKER_PORT => {
                let refresh = (self.tick / REFRESH_TICKS) as u8 & 1;
                self.port_61 | refresh << 4 | u8::from(self.counters[2].out(self.tick)) << 5
            }
            _ => 0xff,
        })
    }

    /// Writes `size` bytes at `port`.
    pub fn write(&mut self, port: u16, size: u8, value: u32, now: u64) {
        self.advance(now);
        write_bytes(port, size, value, |port, byte| match port {
            0x40..=0x42 => self.counters[usize::from(port - 0x40)].write(byte, self.tick),
            0x43 => self.control(byte),
            Self::SPEAKER_PORT => {
                self.port_61 = byte & PORT_61_KEPT;
                self.counters[2].set_gate(byte & 1 != 0, self.tick);
            }
            _ => {}
        });
    }

    fn control(&mut self, word: u8) {
        let which = usize::from(word >> 6);
        if let Some(counter) = self.counters.get_mut(which) {
            counter.control(word, self.tick);
            return;
        }
        // The read-back command: bits 1 to 3 choose counters, bits 4 and 5 are low for what is to be latched.
        for (n, counter) in self.counters.iter_mut().enumerate() {
            if word & (2 << n) != 0 {
                if word & 0x20 == 0 {
                    counter.latch_count(self.tick);
                }
                if word & 0x10 == 0 {
                    counter.latch_status(self.tick);
                }
            }
        }
    }
}

mod saved_state {
    use ::saved_state::{Restore, RestoreError, Save, SavedState};
    use serde::{Deserialize, Serialize};

    use super::counter::{Counter, CounterV1};
    use super::{PORT_61_KEPT, Pit};

    /// The saved state of [`Pit`].
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct PitStateV1 {
        pub(super) counters: [CounterV1; 3],
        pub(super) port_61: u8,
        pub(super) tick: u64,
    }

    impl SavedState for PitStateV1 {
        const KIND: &'static str = "pit";
        const VERSION: u16 = 1;
    }

    impl Save for Pit {
        type State = PitStateV1;

        fn save(&self) -> PitStateV1 {
            let Self { counters, port_61, tick } = self;
            PitStateV1 { counters: counters.each_ref().map(Counter::save), port_61: *port_61, tick: *tick }
        }
    }

    impl Restore for Pit {
        fn restore(&mut self, state: PitStateV1) -> Result<(), RestoreError> {
            let PitStateV1 { counters: [zero, one, two], port_61, tick } = state;
            if port_61 & !PORT_61_KEPT != 0 {
                return Err(RestoreError::invalid::<PitStateV1>("port_61", "has bits that are not kept"));
            }
            if tick >= 1 << 56 {
                return Err(RestoreError::invalid::<PitStateV1>("tick", "is past the end of time"));
            }
            let counters = [Counter::restored(zero)?, Counter::restored(one)?, Counter::restored(two)?];
            *self = Self { counters, port_61, tick };
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
