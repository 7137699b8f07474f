#![doc = include_str!("../README.md")]

pub mod acpi;
mod board;
pub mod boot;
pub mod config;
pub mod host;
mod machine;
pub mod report;
mod saved_state;

pub use config::{ClockMode, Config, ConfigError};
pub use machine::{End, Machine, PowerOnError, PoweredOff};
pub use saved_state::{MachineStateV1, SnapshotError};
