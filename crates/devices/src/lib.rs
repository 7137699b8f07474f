#![doc = include_str!("../README.md")]

mod acpi_pm;
mod crystal;
mod debug_console;
mod debug_exit;
mod fw_cfg;
mod i8042;
mod ioapic;
mod isa;
mod pci_config;
mod pic;
mod pit;
mod post_port;
mod reset_control;
mod rtc;
mod uart;

pub use acpi_pm::{AcpiPm, AcpiPmStateV1};
pub use debug_console::DebugConsole;
pub use debug_exit::{DebugExit, DebugExitStateV1};
pub use fw_cfg::{DmaMemory, FileError, FwCfg, FwCfgStateV1};
pub use i8042::{I8042, I8042StateV1};
pub use ioapic::{InterruptMessage, IoApic, IoApicStateV1};
pub use isa::open_bus;
pub use pci_config::{PciConfig, PciConfigStateV1};
pub use pic::{Pic, PicStateV1};
pub use pit::{Pit, PitStateV1};
pub use post_port::{PostPort, PostPortStateV1};
pub use reset_control::{ResetControl, ResetControlStateV1};
pub use rtc::{Rtc, RtcStateV1};
pub use uart::{Uart, UartStateV1};
