//! What a machine is made of, checked before anything is allocated.

use thiserror::Error;

/// Most processors.
pub const MOST_CPUS: u32 = 16;
/// Least RAM: the first MiB and a little for a kernel.
pub const LEAST_MEMORY: u64 = 2 << 20;
/// Most RAM: what lies below the physical-address width, with room for devices.
pub const MOST_MEMORY: u64 = 1 << 44;

/// Where virtual time comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockMode {
    /// One retired instruction is one nanosecond; halted processors skip to the next event. Every run is the same.
    #[default]
    Icount,
    /// The host's clock.
    Host,
}

/// A machine's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of RAM, whole pages.
    pub memory: u64,
    /// Processors, 1 to [`MOST_CPUS`].
    pub cpus: u32,
    /// Where time comes from.
    pub clock: ClockMode,
    /// What the real-time clock shows at power-on, in seconds since 1970.
    pub start_time: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self { memory: 1 << 30, cpus: 1, clock: ClockMode::Icount, start_time: DEFAULT_START_TIME }
    }
}

/// The date a machine believes in when nobody says otherwise, so that every run is the same: 2026-01-01 00:00:00 UTC.
pub const DEFAULT_START_TIME: i64 = 1_767_225_600;

/// Why there can be no such machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Not whole pages.
    #[error(
        "{bytes} bytes of memory are not a multiple of the page size, 4096; use a size such as 512M or 1G"
    )]
    MemoryNotPages {
        /// What was asked for.
        bytes: u64,
    },
    /// Too little.
    #[error("{bytes} bytes of memory are too little for any guest; give at least 2M")]
    MemoryTooSmall {
        /// What was asked for.
        bytes: u64,
    },
    /// Too much.
    #[error("{bytes} bytes of memory are more than the processor can address; give at most 16T")]
    MemoryTooLarge {
        /// What was asked for.
        bytes: u64,
    },
    /// No processor, or too many.
    #[error("a machine has 1 to {MOST_CPUS} processors, not {cpus}")]
    Cpus {
        /// What was asked for.
        cpus: u32,
    },
}

impl Config {
    /// Whether such a machine can be.
    ///
    /// # Errors
    /// [`ConfigError`], naming what is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bytes = self.memory;
        if !bytes.is_multiple_of(guest_memory::PAGE_SIZE) {
            return Err(ConfigError::MemoryNotPages { bytes });
        }
        if bytes < LEAST_MEMORY {
            return Err(ConfigError::MemoryTooSmall { bytes });
        }
        if bytes > MOST_MEMORY {
            return Err(ConfigError::MemoryTooLarge { bytes });
        }
        if !(1..=MOST_CPUS).contains(&self.cpus) {
            return Err(ConfigError::Cpus { cpus: self.cpus });
        }
        Ok(())
    }
}
