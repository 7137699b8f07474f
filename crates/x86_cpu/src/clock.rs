//! Virtual time as the processor sees it.

use std::time::Instant;

/// Where time comes from. Units are nanoseconds since power-on, which are also ticks of the 1 GHz TSC.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// Time follows retired instructions: `now = retired + offset` (wrapping).
    Retired {
        /// Added to the processor's count of retired instructions.
        offset: u64,
    },
    /// Time follows the host.
    Host {
        /// The host's clock at `virtual_start`.
        start: Instant,
        /// Virtual time at `start`.
        virtual_start: u64,
    },
}

impl Default for Clock {
    fn default() -> Self {
        Self::Retired { offset: 0 }
    }
}

impl Clock {
    /// Nanoseconds since power-on when `retired` instructions have retired.
    #[inline]
    #[must_use]
    pub fn now(&self, retired: u64) -> u64 {
        match *self {
            Self::Retired { offset } => retired.wrapping_add(offset),
            Self::Host { start, virtual_start } => {
                virtual_start.wrapping_add(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
            }
        }
    }
}
