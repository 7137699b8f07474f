//! The 14.31818 MHz crystal of a PC (315/22 MHz exactly) and the clocks divided from it.
//!
//! Ticks are always derived from the absolute time, in whole numbers, so that no rounding adds up.

/// A clock of `ticks` per `nanoseconds`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    ticks: u32,
    nanoseconds: u32,
}

impl Clock {
    /// The PIT's: a twelfth of the crystal, 1.193182 MHz.
    pub(crate) const PIT: Self = Self { ticks: 105, nanoseconds: 88_000 };
    /// The ACPI timer's: a quarter of the crystal, 3.579545 MHz.
    pub(crate) const PM_TIMER: Self = Self { ticks: 315, nanoseconds: 88_000 };

    /// Ticks since power-on at `now`.
    pub(crate) fn ticks_at(self, now: u64) -> u64 {
        // The rate is below one tick a nanosecond, so the quotient fits.
        (u128::from(now) * u128::from(self.ticks) / u128::from(self.nanoseconds)) as u64
    }

    /// The first nanosecond at which [`ticks_at`](Self::ticks_at) is `tick`, or the end of time.
    pub(crate) fn time_of(self, tick: u64) -> u64 {
        let nanoseconds = u128::from(tick) * u128::from(self.nanoseconds);
        nanoseconds.div_ceil(self.ticks.into()).try_into().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_a_pc() {
        assert_eq!(Clock::PIT.ticks_at(1_000_000_000), 1_193_181);
        assert_eq!(Clock::PM_TIMER.ticks_at(1_000_000_000), 3_579_545);
        assert_eq!(Clock::PIT.ticks_at(88_000_000_000_000), 105_000_000_000, "no drift in a day");
    }

    #[test]
    fn the_time_of_a_tick_is_its_first_nanosecond() {
        for clock in [Clock::PIT, Clock::PM_TIMER] {
            for tick in [1, 2, 3, 104, 105, 106, 1_193_182, u64::from(u32::MAX), 1 << 50] {
                let time = clock.time_of(tick);
                assert_eq!(clock.ticks_at(time), tick);
                assert_eq!(clock.ticks_at(time - 1), tick - 1);
            }
            assert_eq!(clock.time_of(u64::MAX), u64::MAX);
            assert!(clock.ticks_at(u64::MAX) < 1 << 56);
        }
    }
}
