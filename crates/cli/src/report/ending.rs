//! How a run ended, in words.

use std::io::{Error, ErrorKind};

use hypervisor::RunExit;
use machine::End;

/// The name of an end in reports for programs.
pub(super) const fn name(end: &End) -> &'static str {
    match end {
        End::PowerOff => "power-off",
        End::Exit { .. } => "guest-exit",
        End::Reset => "reset",
        End::TripleFault { .. } => "triple-fault",
        End::InstructionLimit => "instruction-limit",
        End::Stuck => "stuck",
        End::Stopped => "stopped",
        End::Unsupported { .. } => "unsupported",
        End::OutputFailed { .. } => "output-failed",
    }
}

/// An end as a sentence.
pub(super) fn sentence(end: &End) -> String {
    match end {
        End::PowerOff => "the guest powered the machine off".to_owned(),
        End::Exit { status } => format!("the guest ended the run through isa-debug-exit with {status}"),
        End::Reset => "the guest reset the machine".to_owned(),
        End::TripleFault { vcpu } => format!("processor {vcpu} had a triple fault"),
        End::InstructionLimit => "the instruction limit was reached".to_owned(),
        End::Stuck => "every processor waits for something that cannot come".to_owned(),
        End::Stopped => "the user stopped the machine".to_owned(),
        End::Unsupported { what } => format!("the guest used something that is not implemented: {what}"),
        End::OutputFailed { kind } => format!("output could not be kept: {}", describe(*kind)),
    }
}

fn describe(kind: ErrorKind) -> String {
    Error::from(kind).to_string()
}

/// Whether somebody will want to know where the processors were.
pub(super) const fn is_bad(end: &End) -> bool {
    match end {
        End::TripleFault { .. } | End::Unsupported { .. } | End::Stuck | End::Reset => true,
        End::PowerOff
        | End::Exit { .. }
        | End::InstructionLimit
        | End::Stopped
        | End::OutputFailed { .. } => false,
    }
}

/// An exit, with what it was about.
pub(super) fn exit(exit: &RunExit) -> String {
    match *exit {
        RunExit::Budget => "its slice ended".to_owned(),
        RunExit::Idle => "idle".to_owned(),
        RunExit::Pause => "gave way while spinning".to_owned(),
        RunExit::IoRead { port, size } => format!("read {size} from port {port:#x}"),
        RunExit::IoWrite { port, size, value } => format!("write {size} to port {port:#x}: {value:#x}"),
        RunExit::MmioRead { address, size } => format!("read {size} from {address:#x}"),
        RunExit::MmioWrite { address, size, value } => format!("write {size} to {address:#x}: {value:#x}"),
        RunExit::IoapicEoi { vector } => format!("end of interrupt {vector:#x}"),
        RunExit::InterruptAcknowledge => "took an interrupt of the 8259".to_owned(),
        RunExit::Shutdown => "triple fault".to_owned(),
        RunExit::Unsupported { what } => format!("unsupported: {what}"),
    }
}
