//! Instructions that see or change the state of the system: segments, privilege, control registers, events, ports; and the
//! delivery of exceptions and interrupts.
//!
//! A handler here is a closure over [`complete`], which says what follows the instruction. Everything that can fault is done
//! into local values first, and then committed.

mod cache_hints;
mod call_gate;
mod control_registers;
mod debug;
mod delivery;
mod descriptor;
mod descriptor_checks;
mod descriptor_tables;
mod far_transfer;
mod flags_instructions;
mod io;
mod iret;
mod lower;
mod msr_instructions;
mod segment_load;
mod software_interrupt;
mod stack;
mod syscall;
#[cfg(test)]
mod tests;
mod xsave;

use guest_memory::GuestMemory;

pub(crate) use debug::{dr6_written, dr7_written};
pub(crate) use lower::lower;

use crate::Cpu;
use crate::event::Pending;
use crate::op::{Fault, Flow, Op, next_after_write};

/// `Op::aux` of an instruction whose register-or-memory operand is memory.
pub(crate) const IN_MEMORY: u8 = 1;

/// What follows an instruction that completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The next operation of the block, unless a write asked for a stop.
    Next,
    /// A look by the run loop: mode, mapping or interruptibility may have changed.
    Stop,
    /// The same, and the instruction pointer is this.
    Go(u64),
    /// One iteration of a REP instruction was done, and more are to come.
    Again,
}

/// Runs `body`, the work of the first of `ops`, and goes on as it says.
#[inline(always)]
fn complete(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
    body: impl FnOnce(&mut Cpu, &GuestMemory, &Op) -> Result<Then, Fault>,
) -> Flow {
    match body(cpu, mem, &ops[0]) {
        Ok(Then::Next) => next_after_write!(cpu, mem, ops),
        Ok(Then::Stop) => cpu.stop(&ops[0]),
        Ok(Then::Go(rip)) => cpu.stop_at(&ops[0], rip),
        Ok(Then::Again) => {
            cpu.pending = Pending::Again;
            cpu.abort(&ops[0])
        }
        Err(Fault) => cpu.abort(&ops[0]),
    }
}
