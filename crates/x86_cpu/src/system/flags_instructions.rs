//! CLI, STI, PUSHF, POPF, CLAC, STAC (SDM 2A/2B; SDM 3B 20.3, 20.4 for the virtual interrupt flag).

use guest_memory::GuestMemory;
use x86_defs::control::{CR4_PVI, CR4_VME};
use x86_defs::rflags::{self, AC, DF, IF, IOPL, RF, TF, VIF, VIP, VM};

use crate::Cpu;
use crate::event::InterruptShadow;
use crate::op::{Fault, Flow, Op};
use crate::system::{Then, complete};

/// Which flag CLI and STI work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InterruptFlag {
    Real,
    Virtual,
}

impl Cpu {
    /// SDM 2A CLI, table 3-7.
    fn interrupt_flag(&mut self) -> Result<InterruptFlag, Fault> {
        if !self.protected() || self.cpl <= self.iopl() {
            return Ok(InterruptFlag::Real);
        }
        let virtual_flag =
            if self.v86() { self.cr4 & CR4_VME != 0 } else { self.cpl == 3 && self.cr4 & CR4_PVI != 0 };
        if virtual_flag { Ok(InterruptFlag::Virtual) } else { Err(self.gp0()) }
    }

    /// Whether virtual-8086 code with IOPL below 3 works on VIF in its stead: with VME, and 16-bit operands only.
    fn uses_virtual_flags(&mut self, size: u8) -> Result<bool, Fault> {
        if !self.v86() || self.iopl() == 3 {
            return Ok(false);
        }
        if self.cr4 & CR4_VME != 0 && size == 1 { Ok(true) } else { Err(self.gp0()) }
    }
}

/// CLI.
pub(super) fn cli(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, _op| {
        match cpu.interrupt_flag()? {
            InterruptFlag::Real => cpu.system_flags &= !IF,
            InterruptFlag::Virtual => cpu.system_flags &= !VIF,
        }
        Ok(Then::Next)
    })
}

/// STI: interrupts stay off for one more instruction if they were.
pub(super) fn sti(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, _op| {
        match cpu.interrupt_flag()? {
            InterruptFlag::Real => {
                if cpu.system_flags & IF == 0 {
                    cpu.system_flags |= IF;
                    cpu.shadow = InterruptShadow::Sti;
                    cpu.refresh_attention();
                }
            }
            InterruptFlag::Virtual => {
                if cpu.system_flags & VIP != 0 {
                    return Err(cpu.gp0());
                }
                cpu.system_flags |= VIF;
            }
        }
        Ok(Then::Stop)
    })
}

/// CLAC: SMAP holds for accesses of the supervisor again.
pub(super) fn clac(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, _op| {
        if cpu.cpl != 0 {
            return Err(cpu.ud());
        }
        cpu.system_flags &= !AC;
        cpu.refresh_translation_context();
        Ok(Then::Next)
    })
}

/// STAC.
pub(super) fn stac(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, _op| {
        if cpu.cpl != 0 {
            return Err(cpu.ud());
        }
        cpu.system_flags |= AC;
        cpu.refresh_translation_context();
        Ok(Then::Next)
    })
}

/// PUSHF, PUSHFD, PUSHFQ: VM and RF are pushed as 0.
pub(super) fn pushf(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let mut flags = cpu.rflags() & !(VM | RF);
        if cpu.uses_virtual_flags(op.size)? {
            let interrupts = if flags & VIF != 0 { IF } else { 0 };
            flags = (flags & !IF) | interrupts | IOPL;
        }
        match op.size {
            1 => cpu.push(mem, flags as u16)?,
            2 => cpu.push(mem, flags as u32)?,
            _ => cpu.push(mem, flags)?,
        }
        Ok(Then::Next)
    })
}

/// POPF, POPFD, POPFQ (SDM 2B POPF, table 4-21).
pub(super) fn popf(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let virtual_flags = cpu.uses_virtual_flags(op.size)?;
        let popped = match op.size {
            1 => cpu.peek::<u16>(mem, 0)?.into(),
            2 => cpu.peek::<u32>(mem, 0)?.into(),
            _ => cpu.peek::<u64>(mem, 0)?,
        };
        let mut mask = rflags::DEFINED & !(VM | RF | VIF | VIP);
        if cpu.cpl > 0 {
            mask &= !IOPL;
        }
        if cpu.cpl > cpu.iopl() {
            mask &= !IF;
        }
        if op.size == 1 {
            mask &= 0xffff;
        }
        let old = cpu.rflags();
        let mut new = (old & !(mask | RF)) | (popped & mask);
        if virtual_flags {
            if popped & TF != 0 || (popped & IF != 0 && old & VIP != 0) {
                return Err(cpu.gp0());
            }
            new = (new & !VIF) | if popped & IF != 0 { VIF } else { 0 };
        }
        cpu.release_stack(1 << op.size);
        if (old ^ new) & !(rflags::STATUS | DF) == 0 {
            cpu.flags.load(new);
            cpu.system_flags = (cpu.system_flags & !DF) | (new & DF);
            return Ok(Then::Next);
        }
        cpu.load_rflags(new);
        cpu.keep_step_trap(old & TF != 0);
        Ok(Then::Stop)
    })
}
