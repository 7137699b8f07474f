//! Far JMP, CALL and RET without gates (SDM 2A JMP, CALL; SDM 2B RET; SDM 3A 5.8).

use guest_memory::GuestMemory;
use x86_defs::gpr::RSP;
use x86_defs::segment::index::{CS, DS, ES, FS, GS, SS};
use x86_defs::segment::{AR_CODE, AR_CONFORMING_DOWN, AR_L, AR_S, Segment, system_type};
use x86_defs::{Vector, is_canonical};

use crate::Cpu;
use crate::event::{Exit, Pending};
use crate::op::{Fault, Flow, Op};
use crate::system::descriptor::{Descriptor, error_of, is_null, rpl};
use crate::system::segment_load::{null_segment, null_ss, real_mode_load, v86_segment};
use crate::system::stack::Stack;
use crate::system::{Then, complete};

/// What the manual calls a task switch: no software this processor is made for uses one.
pub(super) const TASK_SWITCH: &str = "a switch of tasks through a TSS or task gate";

impl Cpu {
    /// Leaves the exit for something this processor does not have.
    #[cold]
    pub(super) fn unsupported(&mut self, what: &'static str) -> Fault {
        self.pending = Pending::Exit(Exit::Unsupported { what });
        Fault
    }

    /// Checks an instruction pointer against the code segment it is for: #GP(`ext`) outside it.
    pub(super) fn check_target(&mut self, cs: &Segment, rip: u64, ext: u32) -> Result<u64, Fault> {
        let inside = if self.long_mode() && cs.access & AR_L != 0 {
            is_canonical(rip)
        } else {
            rip <= u64::from(cs.limit)
        };
        if inside { Ok(rip) } else { Err(self.raise_code(Vector::GP, ext)) }
    }

    /// Starts to run `cs` at `cpl`.
    pub(super) fn enter_code(&mut self, cs: Segment, cpl: u8) {
        self.segs[CS] = cs;
        self.cpl = cpl;
        self.mode_changed();
    }

    /// CS as a far transfer in real or virtual-8086 mode leaves it.
    fn plain_code_segment(&self, selector: u16) -> Segment {
        if self.protected() { v86_segment(selector) } else { real_mode_load(&self.segs[CS], selector) }
    }

    fn is_plain(&self) -> bool {
        !self.protected() || self.v86()
    }

    /// Checks a code segment that JMP or CALL names directly (SDM 3A 5.8.1).
    fn check_direct_code(&mut self, descriptor: &Descriptor) -> Result<(), Fault> {
        let selector = descriptor.selector;
        let allowed = if descriptor.is_conforming_code() {
            descriptor.dpl() <= self.cpl
        } else {
            rpl(selector) <= self.cpl && descriptor.dpl() == self.cpl
        };
        if (self.long_mode() && descriptor.is_long_and_default()) || !allowed {
            return Err(self.raise_code(Vector::GP, error_of(selector)));
        }
        if !descriptor.present() {
            return Err(self.raise_code(Vector::NP, error_of(selector)));
        }
        Ok(())
    }

    fn far_jump(&mut self, mem: &GuestMemory, selector: u16, offset: u64) -> Result<u64, Fault> {
        if self.is_plain() {
            let cs = self.plain_code_segment(selector);
            let rip = self.check_target(&cs, offset, 0)?;
            self.enter_code(cs, self.cpl);
            return Ok(rip);
        }
        if is_null(selector) {
            return Err(self.gp0());
        }
        let descriptor = self.read_descriptor(mem, selector, Vector::GP, 0)?;
        if descriptor.is_code() {
            self.check_direct_code(&descriptor)?;
            let cs = descriptor.code_segment(self.cpl);
            let rip = self.check_target(&cs, offset, 0)?;
            self.mark_accessed(mem, &descriptor)?;
            self.enter_code(cs, self.cpl);
            return Ok(rip);
        }
        match self.classify_system(&descriptor)? {
            Target::CallGate => self.jump_through_gate(mem, &descriptor),
            Target::Task => Err(self.unsupported(TASK_SWITCH)),
        }
    }

    fn far_call(&mut self, mem: &GuestMemory, op: &Op, selector: u16, offset: u64) -> Result<u64, Fault> {
        let return_ip = self.next_ip(op);
        let return_cs = self.segs[CS].selector.into();
        if self.is_plain() {
            let cs = self.plain_code_segment(selector);
            let rip = self.check_target(&cs, offset, 0)?;
            let mut stack = Stack::current(self, 0);
            stack.push(self, mem, op.size, return_cs)?;
            stack.push(self, mem, op.size, return_ip)?;
            self.regs[RSP] = stack.sp;
            self.enter_code(cs, self.cpl);
            return Ok(rip);
        }
        if is_null(selector) {
            return Err(self.gp0());
        }
        let descriptor = self.read_descriptor(mem, selector, Vector::GP, 0)?;
        if descriptor.is_code() {
            self.check_direct_code(&descriptor)?;
            let cs = descriptor.code_segment(self.cpl);
            let rip = self.check_target(&cs, offset, 0)?;
            self.mark_accessed(mem, &descriptor)?;
            let mut stack = Stack::current(self, 0);
            stack.push(self, mem, op.size, return_cs)?;
            stack.push(self, mem, op.size, return_ip)?;
            self.regs[RSP] = stack.sp;
            self.enter_code(cs, self.cpl);
            return Ok(rip);
        }
        match self.classify_system(&descriptor)? {
            Target::CallGate => self.call_through_gate(mem, &descriptor, return_ip),
            Target::Task => Err(self.unsupported(TASK_SWITCH)),
        }
    }

    /// What a descriptor that is not code leads to (SDM 2A JMP, "type not code, call gate, task gate or TSS").
    fn classify_system(&mut self, descriptor: &Descriptor) -> Result<Target, Fault> {
        let selector = descriptor.selector;
        let target = match (descriptor.is_system(), descriptor.kind()) {
            (true, system_type::CALL_GATE) => Target::CallGate,
            (true, system_type::CALL_GATE16) if !self.long_mode() => Target::CallGate,
            (true, system_type::TASK_GATE | system_type::TSS_AVAILABLE | system_type::TSS16_AVAILABLE)
                if !self.long_mode() =>
            {
                Target::Task
            }
            _ => return Err(self.raise_code(Vector::GP, error_of(selector))),
        };
        if descriptor.dpl() < self.cpl || descriptor.dpl() < rpl(selector) {
            return Err(self.raise_code(Vector::GP, error_of(selector)));
        }
        if !descriptor.present() {
            return Err(self.raise_code(Vector::NP, error_of(selector)));
        }
        Ok(target)
    }

    /// Checks the code segment that RET or IRET goes back to (SDM 2B RET, SDM 2A IRET).
    pub(super) fn check_return_code(
        &mut self,
        mem: &GuestMemory,
        selector: u16,
    ) -> Result<Descriptor, Fault> {
        if is_null(selector) {
            return Err(self.gp0());
        }
        let descriptor = self.read_descriptor(mem, selector, Vector::GP, 0)?;
        let level = rpl(selector);
        let level_fits = if descriptor.is_conforming_code() {
            descriptor.dpl() <= level
        } else {
            descriptor.dpl() == level
        };
        if !descriptor.is_code()
            || level < self.cpl
            || !level_fits
            || (self.long_mode() && descriptor.is_long_and_default())
        {
            return Err(self.raise_code(Vector::GP, error_of(selector)));
        }
        if !descriptor.present() {
            return Err(self.raise_code(Vector::NP, error_of(selector)));
        }
        Ok(descriptor)
    }

    /// Checks the stack segment that RET or IRET goes back to at level `level`.
    pub(super) fn check_return_stack(
        &mut self,
        mem: &GuestMemory,
        selector: u16,
        level: u8,
        to_long_code: bool,
    ) -> Result<Segment, Fault> {
        if is_null(selector) {
            // A null SS is allowed below level 3 where 64-bit code goes on.
            if self.long_mode() && to_long_code && level < 3 && rpl(selector) == level {
                return Ok(null_ss(selector, level));
            }
            return Err(self.gp0());
        }
        let descriptor = self.read_descriptor(mem, selector, Vector::GP, 0)?;
        if rpl(selector) != level || !descriptor.is_writable_data() || descriptor.dpl() != level {
            return Err(self.raise_code(Vector::GP, error_of(selector)));
        }
        if !descriptor.present() {
            return Err(self.raise_code(Vector::SS, error_of(selector)));
        }
        self.mark_accessed(mem, &descriptor)?;
        Ok(descriptor.segment())
    }

    /// Empties the data segment registers that the outer level may not have (SDM 3A 5.8.6, end).
    pub(super) fn drop_inner_segments(&mut self) {
        for index in [ES, DS, FS, GS] {
            let segment = &self.segs[index];
            let conforming =
                segment.access & (AR_S | AR_CODE | AR_CONFORMING_DOWN) == AR_S | AR_CODE | AR_CONFORMING_DOWN;
            if !segment.unusable() && segment.dpl() < self.cpl && !conforming {
                self.segs[index] = null_segment(0);
            }
        }
    }

    /// Loads a stack pointer popped with `size` by a return: a 16-bit stack takes 16 bits of it.
    pub(super) fn returned_stack_pointer(&self, ss: &Segment, popped: u64, to_long_code: bool) -> u64 {
        if to_long_code || ss.access & x86_defs::segment::AR_DB != 0 {
            popped
        } else {
            (self.regs[RSP] & !0xffff) | (popped & 0xffff)
        }
    }

    fn far_return(&mut self, mem: &GuestMemory, size: u8, release: u64) -> Result<u64, Fault> {
        let mut stack = Stack::current(self, 0);
        let rip = stack.pop(self, mem, size)?;
        let selector = stack.pop(self, mem, size)? as u16;
        if self.is_plain() {
            let cs = self.plain_code_segment(selector);
            let rip = self.check_target(&cs, rip, 0)?;
            stack.release(release);
            self.regs[RSP] = stack.sp;
            self.enter_code(cs, self.cpl);
            return Ok(rip);
        }
        let descriptor = self.check_return_code(mem, selector)?;
        let level = rpl(selector);
        let cs = descriptor.code_segment(level);
        if level == self.cpl {
            let rip = self.check_target(&cs, rip, 0)?;
            self.mark_accessed(mem, &descriptor)?;
            stack.release(release);
            self.regs[RSP] = stack.sp;
            self.enter_code(cs, level);
            return Ok(rip);
        }
        stack.release(release);
        let popped = stack.pop(self, mem, size)?;
        let ss_selector = stack.pop(self, mem, size)? as u16;
        let to_long_code = self.long_mode() && descriptor.is_long();
        let ss = self.check_return_stack(mem, ss_selector, level, to_long_code)?;
        let rip = self.check_target(&cs, rip, 0)?;
        self.mark_accessed(mem, &descriptor)?;
        self.regs[RSP] = self.returned_stack_pointer(&ss, popped, to_long_code);
        self.segs[SS] = ss;
        self.enter_code(cs, level);
        self.drop_inner_segments();
        // The caller's parameters lie on its own stack too.
        self.release_stack(release);
        Ok(rip)
    }
}

/// Where a system descriptor leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    CallGate,
    Task,
}

/// The operand of a direct far JMP or CALL: selector above offset in `op.imm`.
fn direct_operand(op: &Op) -> (u16, u64) {
    ((op.imm >> 32) as u16, op.imm & 0xffff_ffff)
}

/// JMP ptr16:16, ptr16:32.
pub(super) fn jmp_far_direct(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let (selector, offset) = direct_operand(op);
        Ok(Then::Go(cpu.far_jump(mem, selector, offset)?))
    })
}

/// JMP m16:16, m16:32, m16:64.
pub(super) fn jmp_far_memory(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let (offset, selector) = cpu.read_far_pointer(mem, op)?;
        Ok(Then::Go(cpu.far_jump(mem, selector, offset)?))
    })
}

/// CALL ptr16:16, ptr16:32.
pub(super) fn call_far_direct(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let (selector, offset) = direct_operand(op);
        Ok(Then::Go(cpu.far_call(mem, op, selector, offset)?))
    })
}

/// CALL m16:16, m16:32, m16:64.
pub(super) fn call_far_memory(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let (offset, selector) = cpu.read_far_pointer(mem, op)?;
        Ok(Then::Go(cpu.far_call(mem, op, selector, offset)?))
    })
}

/// RETF, RETF imm16.
pub(super) fn ret_far(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| Ok(Then::Go(cpu.far_return(mem, op.size, op.imm & 0xffff)?)))
}

impl Cpu {
    /// The code segment behind a call gate, with its checks: (descriptor, target offset).
    pub(super) fn gate_target(
        &mut self,
        mem: &GuestMemory,
        gate: &Descriptor,
    ) -> Result<(Descriptor, u64), Fault> {
        let mut offset = u64::from(gate.gate_offset());
        if gate.kind() == system_type::CALL_GATE16 {
            offset &= 0xffff;
        }
        if self.long_mode() {
            // SDM 3A 5.8.3.1: 16 bytes, and a type of zeros in the upper half.
            let upper = self.read_upper_half(mem, gate)?;
            if upper & (0x1f << 40) != 0 {
                return Err(self.raise_code(Vector::GP, error_of(gate.selector)));
            }
            offset |= upper << 32;
        }
        let selector = gate.gate_selector();
        if is_null(selector) {
            return Err(self.gp0());
        }
        let code = self.read_descriptor(mem, selector, Vector::GP, 0)?;
        let wrong_width = self.long_mode() && (!code.is_long() || code.is_long_and_default());
        if !code.is_code() || code.dpl() > self.cpl || wrong_width {
            return Err(self.raise_code(Vector::GP, error_of(selector)));
        }
        if !code.present() {
            return Err(self.raise_code(Vector::NP, error_of(selector)));
        }
        Ok((code, offset))
    }

    /// JMP through a call gate: to conforming code, or to code of the same level.
    fn jump_through_gate(&mut self, mem: &GuestMemory, gate: &Descriptor) -> Result<u64, Fault> {
        let (code, offset) = self.gate_target(mem, gate)?;
        if !code.is_conforming_code() && code.dpl() != self.cpl {
            return Err(self.raise_code(Vector::GP, error_of(code.selector)));
        }
        let cs = code.code_segment(self.cpl);
        let rip = self.check_target(&cs, offset, 0)?;
        self.mark_accessed(mem, &code)?;
        self.enter_code(cs, self.cpl);
        Ok(rip)
    }
}
