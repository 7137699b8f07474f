//! RDMSR, WRMSR, RDTSC, RDTSCP, RDPID, RDPMC, RDRAND, RDSEED.

use guest_memory::GuestMemory;
use x86_defs::control::CR4_TSD;
use x86_defs::gpr::{RAX, RCX, RDX};
use x86_defs::rflags::CF;

use crate::Cpu;
use crate::event::Exit;
use crate::msr::{MsrRefused, owned_by_l0};
use crate::op::{Fault, Flow, Op};
use crate::system::{Then, complete};

impl Cpu {
    fn set_edx_eax(&mut self, value: u64) {
        self.regs[RAX] = value & 0xffff_ffff;
        self.regs[RDX] = value >> 32;
    }

    fn checked_tsc(&mut self, op: &Op) -> Result<u64, Fault> {
        if self.cr4 & CR4_TSD != 0 && self.cpl != 0 {
            return Err(self.gp0());
        }
        Ok(self.tsc(op.before.into()))
    }
}

/// RDMSR.
pub(super) fn rdmsr(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| {
        if cpu.cpl != 0 {
            return Err(cpu.gp0());
        }
        let index = cpu.regs[RCX] as u32;
        let value = if owned_by_l0(index) {
            cpu.ask(Exit::MsrRead { index })?
        } else {
            cpu.rdmsr(index, op.before.into()).map_err(|MsrRefused| cpu.gp0())?
        };
        cpu.set_edx_eax(value);
        Ok(Then::Stop)
    })
}

/// WRMSR.
pub(super) fn wrmsr(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| {
        if cpu.cpl != 0 {
            return Err(cpu.gp0());
        }
        let index = cpu.regs[RCX] as u32;
        let value = (cpu.regs[RDX] << 32) | (cpu.regs[RAX] & 0xffff_ffff);
        if owned_by_l0(index) {
            cpu.ask(Exit::MsrWrite { index, value })?;
        } else {
            cpu.wrmsr(index, value, op.before.into()).map_err(|MsrRefused| cpu.gp0())?;
            cpu.mode_changed();
        }
        Ok(Then::Stop)
    })
}

/// RDTSC.
pub(super) fn rdtsc(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| {
        let tsc = cpu.checked_tsc(op)?;
        cpu.set_edx_eax(tsc);
        Ok(Then::Next)
    })
}

/// RDTSCP.
pub(super) fn rdtscp(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| {
        let tsc = cpu.checked_tsc(op)?;
        cpu.set_edx_eax(tsc);
        cpu.regs[RCX] = cpu.msrs.tsc_aux;
        Ok(Then::Next)
    })
}

/// RDPID.
pub(super) fn rdpid(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| {
        cpu.regs[usize::from(op.dst & 15)] = cpu.msrs.tsc_aux;
        Ok(Then::Next)
    })
}

/// RDPMC: there are no counters, so that every index is refused.
pub(super) fn rdpmc(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, _op| Err(cpu.gp0()))
}

/// RDRAND and RDSEED: always ready.
pub(super) fn random(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| {
        let value = cpu.random.next();
        cpu.write_gpr(op.dst, op.size, value);
        cpu.flags.load(CF);
        Ok(Then::Next)
    })
}
