//! LAR, LSL, VERR, VERW, ARPL: what a program may ask about selectors (SDM 3A 5.10).

use guest_memory::GuestMemory;
use x86_defs::segment::system_type;

use crate::Cpu;
use crate::op::{Fault, Flow, Op};
use crate::system::descriptor::{Descriptor, is_null, rpl, with_rpl};
use crate::system::{Then, complete};

/// Second double word of a descriptor without base and limit: what LAR shows.
const RIGHTS: u64 = 0x00f0_ff00;

impl Cpu {
    /// The descriptor that the operand names, if it is inside its table and visible at CPL and RPL.
    fn visible_descriptor(&mut self, mem: &GuestMemory, selector: u16) -> Result<Option<Descriptor>, Fault> {
        if is_null(selector) {
            return Ok(None);
        }
        let Some(descriptor) = self.find_descriptor(mem, selector)? else { return Ok(None) };
        let hidden = self.cpl > descriptor.dpl() || rpl(selector) > descriptor.dpl();
        Ok((descriptor.is_conforming_code() || !hidden).then_some(descriptor))
    }

    /// System descriptors of IA-32e mode have 16 bytes, which must be inside the table.
    fn is_whole(&self, descriptor: &Descriptor) -> bool {
        !self.long_mode()
            || !descriptor.is_system()
            || self.descriptor_address(descriptor.selector, 16).is_some()
    }

    fn need_selectors(&mut self) -> Result<(), Fault> {
        if self.protected() && !self.v86() { Ok(()) } else { Err(self.ud()) }
    }
}

/// Whether LSL has a limit to tell: segments, LDTs and TSSs.
fn has_limit(descriptor: &Descriptor, long: bool) -> bool {
    use system_type::{LDT, TSS_AVAILABLE, TSS_BUSY, TSS16_AVAILABLE, TSS16_BUSY};
    if !descriptor.is_system() {
        return true;
    }
    match descriptor.kind() {
        LDT | TSS_AVAILABLE | TSS_BUSY => true,
        TSS16_AVAILABLE | TSS16_BUSY => !long,
        _ => false,
    }
}

/// Whether LAR has rights to tell: beside those of LSL, call gates and task gates.
fn has_rights(descriptor: &Descriptor, long: bool) -> bool {
    use system_type::{CALL_GATE, CALL_GATE16, TASK_GATE};
    has_limit(descriptor, long)
        || match descriptor.kind() {
            CALL_GATE => true,
            CALL_GATE16 | TASK_GATE => !long,
            _ => false,
        }
}

/// LAR.
pub(super) fn lar(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_selectors()?;
        let selector = cpu.read_selector_operand(mem, op, op.src)?;
        let found = cpu.visible_descriptor(mem, selector)?;
        let long = cpu.long_mode();
        let found = found.filter(|descriptor| has_rights(descriptor, long) && cpu.is_whole(descriptor));
        if let Some(descriptor) = found {
            cpu.write_gpr(op.dst, op.size, (descriptor.raw >> 32) & RIGHTS);
        }
        cpu.flags.set_zero(found.is_some());
        Ok(Then::Next)
    })
}

/// LSL.
pub(super) fn lsl(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_selectors()?;
        let selector = cpu.read_selector_operand(mem, op, op.src)?;
        let found = cpu.visible_descriptor(mem, selector)?;
        let long = cpu.long_mode();
        let found = found.filter(|descriptor| has_limit(descriptor, long) && cpu.is_whole(descriptor));
        if let Some(descriptor) = found {
            cpu.write_gpr(op.dst, op.size, descriptor.segment().limit.into());
        }
        cpu.flags.set_zero(found.is_some());
        Ok(Then::Next)
    })
}

/// VERR.
pub(super) fn verr(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_selectors()?;
        let selector = cpu.read_selector_operand(mem, op, op.dst)?;
        let found = cpu.visible_descriptor(mem, selector)?;
        cpu.flags.set_zero(found.is_some_and(|descriptor| descriptor.is_readable()));
        Ok(Then::Next)
    })
}

/// VERW.
pub(super) fn verw(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_selectors()?;
        let selector = cpu.read_selector_operand(mem, op, op.dst)?;
        let found = cpu.visible_descriptor(mem, selector)?;
        cpu.flags.set_zero(found.is_some_and(|descriptor| descriptor.is_writable_data()));
        Ok(Then::Next)
    })
}

/// ARPL: raises the RPL of the operand to that of `op.src`.
pub(super) fn arpl(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    use crate::memory::{Addressing, Segmented};
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_selectors()?;
        let wanted = rpl(cpu.regs[usize::from(op.src & 15)] as u16);
        let raised = if op.aux == crate::system::IN_MEMORY {
            // SDM 2A ARPL: the operand is written only if its RPL is raised.
            let linear = Segmented::linear(cpu, op, 2, false)?;
            let selector = cpu.read::<u16>(mem, linear, op.seg)?;
            let raised = rpl(selector) < wanted;
            if raised {
                let linear = Segmented::linear(cpu, op, 2, true)?;
                cpu.write(mem, linear, with_rpl(selector, wanted), op.seg)?;
            }
            raised
        } else {
            let selector = cpu.regs[usize::from(op.dst & 15)] as u16;
            let raised = rpl(selector) < wanted;
            if raised {
                cpu.write_gpr(op.dst, 1, with_rpl(selector, wanted).into());
            }
            raised
        };
        cpu.flags.set_zero(raised);
        Ok(Then::Next)
    })
}
