//! IRET, IRETD, IRETQ (SDM 2A IRET/IRETD/IRETQ; SDM 3B 20.2.5, 20.3 for virtual-8086 mode).

use guest_memory::GuestMemory;
use x86_defs::control::{CR4_VME, DR6_BS};
use x86_defs::gpr::RSP;
use x86_defs::rflags::{self, AC, ID, IF, IOPL, NT, RF, TF, VIF, VIP, VM};
use x86_defs::segment::index::{CS, DS, ES, FS, GS, SS};

use crate::Cpu;
use crate::op::{Fault, Flow, Op};
use crate::system::descriptor::rpl;
use crate::system::far_transfer::TASK_SWITCH;
use crate::system::segment_load::{real_mode_load, v86_segment};
use crate::system::stack::Stack;
use crate::system::{Then, complete};

/// Flags that every IRET in protected mode loads.
const ALWAYS: u64 = rflags::STATUS | TF | rflags::DF | NT;

/// IRET, IRETD, IRETQ: `op.size` is the operand size.
pub(super) fn iret(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        // SDM 3C 26.3: NMIs are unblocked even if the instruction faults.
        cpu.nmi_blocked = false;
        let stepped = cpu.system_flags & TF != 0;
        let rip = if !cpu.protected() {
            cpu.iret_real(mem, op.size)?
        } else if cpu.v86() {
            cpu.iret_v86(mem, op.size)?
        } else {
            cpu.iret_protected(mem, op.size)?
        };
        cpu.keep_step_trap(stepped);
        Ok(Then::Go(rip))
    })
}

impl Cpu {
    /// An instruction that was single-stepped still traps when it has cleared TF itself; where TF is still set, the run loop
    /// sees that.
    pub(super) fn keep_step_trap(&mut self, stepped: bool) {
        if stepped && self.system_flags & TF == 0 {
            self.debug_pending |= DR6_BS;
            self.refresh_attention();
        }
    }

    /// Replaces the flags in `mask`, 16 of them only with a 16-bit operand.
    fn load_flags_masked(&mut self, popped: u64, mask: u64, size: u8) {
        let mask = if size == 1 { mask & 0xffff } else { mask };
        self.load_rflags((self.rflags() & !mask) | (popped & mask));
    }

    fn iret_real(&mut self, mem: &GuestMemory, size: u8) -> Result<u64, Fault> {
        let mut stack = Stack::current(self, 0);
        let rip = stack.pop(self, mem, size)?;
        let selector = stack.pop(self, mem, size)? as u16;
        let popped = stack.pop(self, mem, size)?;
        let cs = real_mode_load(&self.segs[CS], selector);
        let rip = self.check_target(&cs, rip, 0)?;
        self.regs[RSP] = stack.sp;
        self.enter_code(cs, 0);
        self.load_flags_masked(popped, rflags::DEFINED & !(VM | VIF | VIP), size);
        Ok(rip)
    }

    fn iret_v86(&mut self, mem: &GuestMemory, size: u8) -> Result<u64, Fault> {
        let extended = self.cr4 & CR4_VME != 0 && size == 1;
        if self.iopl() < 3 && !extended {
            return Err(self.gp0());
        }
        let mut stack = Stack::current(self, 0);
        let rip = stack.pop(self, mem, size)?;
        let selector = stack.pop(self, mem, size)? as u16;
        let popped = stack.pop(self, mem, size)?;
        let cs = v86_segment(selector);
        let rip = self.check_target(&cs, rip, 0)?;
        let mut mask = rflags::DEFINED & !(VM | IOPL | VIF | VIP);
        if self.iopl() < 3 {
            // SDM 3B 20.3: IF becomes VIF, unless that would have to deliver an interrupt.
            if popped & TF != 0 || (popped & IF != 0 && self.system_flags & VIP != 0) {
                return Err(self.gp0());
            }
            mask &= !IF;
        }
        self.regs[RSP] = stack.sp;
        self.enter_code(cs, 3);
        self.load_flags_masked(popped, mask, size);
        if self.iopl() < 3 {
            let vif = if popped & IF != 0 { VIF } else { 0 };
            self.load_rflags((self.rflags() & !VIF) | vif);
        }
        Ok(rip)
    }

    fn iret_protected(&mut self, mem: &GuestMemory, size: u8) -> Result<u64, Fault> {
        let long = self.long_mode();
        if self.system_flags & NT != 0 {
            return Err(if long { self.gp0() } else { self.unsupported(TASK_SWITCH) });
        }
        let mut stack = Stack::current(self, 0);
        let rip = stack.pop(self, mem, size)?;
        let selector = stack.pop(self, mem, size)? as u16;
        let popped = stack.pop(self, mem, size)?;
        if popped & VM != 0 && size == 2 && self.cpl == 0 && !long {
            return self.iret_to_v86(mem, rip, selector, popped, stack);
        }
        let descriptor = self.check_return_code(mem, selector)?;
        let level = rpl(selector);
        let cs = descriptor.code_segment(level);
        let to_long_code = long && descriptor.is_long();
        let outer = level > self.cpl;
        let new_stack = if outer || self.mode.is_64() {
            let popped_sp = stack.pop(self, mem, size)?;
            let ss_selector = stack.pop(self, mem, size)? as u16;
            let ss = self.check_return_stack(mem, ss_selector, level, to_long_code)?;
            Some((ss, self.returned_stack_pointer(&ss, popped_sp, to_long_code)))
        } else {
            None
        };
        let rip = self.check_target(&cs, rip, 0)?;
        self.mark_accessed(mem, &descriptor)?;

        // The level before the return decides what may change.
        let mut mask = ALWAYS | RF | AC | ID;
        if self.cpl <= self.iopl() {
            mask |= IF;
        }
        if self.cpl == 0 {
            mask |= IOPL | VIF | VIP;
        }
        match new_stack {
            Some((ss, sp)) => {
                self.segs[SS] = ss;
                self.regs[RSP] = sp;
            }
            None => self.regs[RSP] = stack.sp,
        }
        self.enter_code(cs, level);
        if outer {
            self.drop_inner_segments();
        }
        self.load_flags_masked(popped, mask, size);
        Ok(rip)
    }

    fn iret_to_v86(
        &mut self,
        mem: &GuestMemory,
        rip: u64,
        selector: u16,
        popped: u64,
        mut stack: Stack,
    ) -> Result<u64, Fault> {
        let sp = stack.pop(self, mem, 2)?;
        let mut selectors = [0; 5];
        for slot in &mut selectors {
            *slot = stack.pop(self, mem, 2)? as u16;
        }
        let cs = v86_segment(selector);
        let rip = self.check_target(&cs, rip, 0)?;
        let [ss, es, ds, fs, gs] = selectors;
        for (index, selector) in [(SS, ss), (ES, es), (DS, ds), (FS, fs), (GS, gs)] {
            self.segs[index] = v86_segment(selector);
        }
        self.regs[RSP] = sp;
        self.load_rflags(popped);
        self.enter_code(cs, 3);
        Ok(rip)
    }
}
