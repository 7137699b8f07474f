//! L0: virtual machines and virtual processors, in the shape of KVM's API.
//!
//! A [`Vm`] owns guest memory, decoded code and the processors with their local APICs. [`Vm::run`] runs one of them until
//! something needs the machine around it: a port, an address that is not RAM, a halt. What a machine of real chips would wire
//! (IPIs, the timer of the local APIC, its registers, INIT and start-up) is done here.

mod exit;
pub mod lapic;
mod saved_state;
mod vcpu;
mod vm;

pub use exit::{Activity, RunExit};
pub use saved_state::VcpuStateV1;
pub use vm::{TimeSource, Vm};
pub use x86_cpu::{DebugRegisters, MsrRefused, Registers, SpecialRegisters};
