//! CALL through a call gate (SDM 3A 5.8.3 to 5.8.5.1).

use guest_memory::GuestMemory;
use x86_defs::gpr::RSP;
use x86_defs::segment::index::{CS, SS};
use x86_defs::segment::system_type;

use crate::Cpu;
use crate::op::Fault;
use crate::system::descriptor::Descriptor;
use crate::system::segment_load::null_ss;
use crate::system::stack::Stack;

impl Cpu {
    /// Calls the code behind `gate`, whose DPL and presence were checked; returns the new instruction pointer.
    pub(super) fn call_through_gate(
        &mut self,
        mem: &GuestMemory,
        gate: &Descriptor,
        return_ip: u64,
    ) -> Result<u64, Fault> {
        let (code, offset) = self.gate_target(mem, gate)?;
        let long = self.long_mode();
        let size = if long {
            3
        } else if gate.kind() == system_type::CALL_GATE16 {
            1
        } else {
            2
        };
        let old_cs = u64::from(self.segs[CS].selector);
        if code.is_conforming_code() || code.dpl() == self.cpl {
            let cs = code.code_segment(self.cpl);
            let rip = self.check_target(&cs, offset, 0)?;
            // From compatibility mode too the return address goes onto a 64-bit stack.
            let mut stack =
                if long { Stack::long(self.regs[RSP], self.cpl, 0) } else { Stack::current(self, 0) };
            stack.push(self, mem, size, old_cs)?;
            stack.push(self, mem, size, return_ip)?;
            self.mark_accessed(mem, &code)?;
            self.regs[RSP] = stack.sp;
            self.enter_code(cs, self.cpl);
            return Ok(rip);
        }
        let level = code.dpl();
        let cs = code.code_segment(level);
        let old_ss = u64::from(self.segs[SS].selector);
        let old_sp = self.regs[RSP];
        let (ss, mut stack) = if long {
            let sp = self.read_long_tss_stack(mem, level.into(), 0)?;
            (null_ss(level.into(), level), Stack::long(sp, level, 0))
        } else {
            let (ss, sp) = self.read_inner_stack(mem, level, 0)?;
            // SDM 2A CALL: a new stack that is too small is #SS with its selector.
            (ss, Stack::other(ss, sp, level, (ss.selector & !3).into()))
        };
        let rip = self.check_target(&cs, offset, 0)?;
        stack.push(self, mem, size, old_ss)?;
        stack.push(self, mem, size, old_sp)?;
        if !long {
            self.copy_parameters(mem, gate, size, &mut stack)?;
        }
        stack.push(self, mem, size, old_cs)?;
        stack.push(self, mem, size, return_ip)?;
        self.mark_accessed(mem, &code)?;
        self.segs[SS] = ss;
        self.regs[RSP] = stack.sp;
        self.enter_code(cs, level);
        Ok(rip)
    }

    /// Copies the parameters that the gate asks for from the caller's stack, the last one first.
    fn copy_parameters(
        &mut self,
        mem: &GuestMemory,
        gate: &Descriptor,
        size: u8,
        to: &mut Stack,
    ) -> Result<(), Fault> {
        let count = ((gate.raw >> 32) & 0x1f) as usize;
        let mut parameters = [0; 32];
        let mut from = Stack::current(self, 0);
        for parameter in &mut parameters[..count] {
            *parameter = from.pop(self, mem, size)?;
        }
        for &parameter in parameters[..count].iter().rev() {
            to.push(self, mem, size, parameter)?;
        }
        Ok(())
    }
}
