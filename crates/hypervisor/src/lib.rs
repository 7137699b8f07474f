#![doc = include_str!("../README.md")]

mod exit;
pub mod lapic;
mod saved_state;
mod vcpu;
mod vm;

pub use exit::{Activity, RunExit};
pub use saved_state::VcpuStateV1;
pub use vm::{TimeSource, Vm};
pub use x86_cpu::{DebugRegisters, MsrRefused, Registers, SpecialRegisters};
