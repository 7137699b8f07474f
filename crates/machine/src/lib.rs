//! One PC: configuration, wiring, boot protocols, run loop, saved state.

pub mod acpi;
