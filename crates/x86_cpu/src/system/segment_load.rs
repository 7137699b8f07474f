//! Loading segment registers: MOV and POP of a segment register, LDS and its family (SDM 3A 3.4.2, 5.5 to 5.7).

use guest_memory::GuestMemory;
use x86_defs::Vector;
use x86_defs::segment::index::{CS, SS};
use x86_defs::segment::{AR_UNUSABLE, Segment};

use crate::Cpu;
use crate::event::InterruptShadow;
use crate::memory::{Addressing, Segmented};
use crate::op::{Fault, Flow, Op};
use crate::system::descriptor::{error_of, is_null, rpl};
use crate::system::{IN_MEMORY, Then, complete};

impl Cpu {
    /// What segment register `index` (not CS) becomes when `selector` is loaded, or the fault. Nothing but a descriptor's
    /// accessed bit is changed.
    pub(super) fn check_segment_load(
        &mut self,
        mem: &GuestMemory,
        index: usize,
        selector: u16,
    ) -> Result<Segment, Fault> {
        if !self.protected() {
            return Ok(real_mode_load(&self.segs[index], selector));
        }
        if self.v86() {
            return Ok(v86_segment(selector));
        }
        if index == SS { self.check_ss_load(mem, selector) } else { self.check_data_load(mem, selector) }
    }

    fn check_ss_load(&mut self, mem: &GuestMemory, selector: u16) -> Result<Segment, Fault> {
        if is_null(selector) {
            // SDM 3A 5.7.1: 64-bit mode runs with a null SS below level 3.
            if self.mode.is_64() && self.cpl < 3 && rpl(selector) == self.cpl {
                return Ok(null_ss(selector, self.cpl));
            }
            return Err(self.gp0());
        }
        let descriptor = self.read_descriptor(mem, selector, Vector::GP, 0)?;
        if rpl(selector) != self.cpl || !descriptor.is_writable_data() || descriptor.dpl() != self.cpl {
            return Err(self.raise_code(Vector::GP, error_of(selector)));
        }
        if !descriptor.present() {
            return Err(self.raise_code(Vector::SS, error_of(selector)));
        }
        self.mark_accessed(mem, &descriptor)?;
        Ok(descriptor.segment())
    }

    fn check_data_load(&mut self, mem: &GuestMemory, selector: u16) -> Result<Segment, Fault> {
        if is_null(selector) {
            return Ok(null_segment(selector));
        }
        let descriptor = self.read_descriptor(mem, selector, Vector::GP, 0)?;
        let privileged = rpl(selector) > descriptor.dpl() || self.cpl > descriptor.dpl();
        if !descriptor.is_readable() || (privileged && !descriptor.is_conforming_code()) {
            return Err(self.raise_code(Vector::GP, error_of(selector)));
        }
        if !descriptor.present() {
            return Err(self.raise_code(Vector::NP, error_of(selector)));
        }
        self.mark_accessed(mem, &descriptor)?;
        Ok(descriptor.segment())
    }

    /// Puts a checked segment in its register.
    fn commit_segment(&mut self, index: usize, segment: Segment) {
        self.segs[index] = segment;
        if index == SS {
            self.mode_changed();
        }
    }

    /// Inhibits interrupts and debug traps behind a load of SS by MOV or POP (SDM 3A 6.8.3).
    fn shadow_stack_load(&mut self) {
        self.shadow = InterruptShadow::MovSs;
        self.refresh_attention();
    }

    /// Reads the 16-bit operand of a system instruction: register `reg`, or memory.
    pub(super) fn read_selector_operand(
        &mut self,
        mem: &GuestMemory,
        op: &Op,
        reg: u8,
    ) -> Result<u16, Fault> {
        if op.aux == IN_MEMORY {
            let linear = Segmented::linear(self, op, 2, false)?;
            self.read(mem, linear, op.seg)
        } else {
            Ok(self.regs[usize::from(reg & 15)] as u16)
        }
    }

    /// Writes a 16-bit result to memory, or to register `reg` in the operand size.
    pub(super) fn write_selector_operand(
        &mut self,
        mem: &GuestMemory,
        op: &Op,
        reg: u8,
        value: u16,
    ) -> Result<(), Fault> {
        if op.aux == IN_MEMORY {
            let linear = Segmented::linear(self, op, 2, true)?;
            self.write(mem, linear, value, op.seg)
        } else {
            self.write_gpr(reg, op.size, value.into());
            Ok(())
        }
    }

    /// Writes a register: 16 bits keep the rest, 32 bits clear the upper half.
    #[inline]
    pub(super) fn write_gpr(&mut self, reg: u8, size: u8, value: u64) {
        let register = &mut self.regs[usize::from(reg & 15)];
        *register = match size {
            1 => (*register & !0xffff) | (value & 0xffff),
            2 => value & 0xffff_ffff,
            _ => value,
        };
    }
}

/// A segment register behind a load in real mode: limit and rights stay ("big real mode"), unless there were none.
pub(super) fn real_mode_load(old: &Segment, selector: u16) -> Segment {
    if old.unusable() {
        return Segment::real_mode(selector);
    }
    Segment { selector, base: u64::from(selector) << 4, ..*old }
}

/// A segment register in virtual-8086 mode (SDM 3A 20.2.1): 64 KiB, writable, DPL 3.
pub(super) const fn v86_segment(selector: u16) -> Segment {
    Segment { selector, base: (selector as u64) << 4, limit: 0xffff, access: 0xf3 }
}

/// A register with a null selector.
pub(super) const fn null_segment(selector: u16) -> Segment {
    Segment { selector, base: 0, limit: 0, access: AR_UNUSABLE }
}

/// SS with a null selector, whose DPL still tells the privilege level.
pub(super) const fn null_ss(selector: u16, cpl: u8) -> Segment {
    Segment { selector, base: 0, limit: 0, access: AR_UNUSABLE | (cpl as u32) << 5 }
}

/// MOV Sreg, r/m16.
pub(super) fn mov_to_segment(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let index = usize::from(op.dst & 7);
        if index == CS {
            return Err(cpu.ud());
        }
        let selector = cpu.read_selector_operand(mem, op, op.src)?;
        let segment = cpu.check_segment_load(mem, index, selector)?;
        cpu.commit_segment(index, segment);
        if index == SS {
            cpu.shadow_stack_load();
        }
        Ok(Then::Stop)
    })
}

/// MOV r/m, Sreg.
pub(super) fn mov_from_segment(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let selector = cpu.segs[usize::from(op.src & 7)].selector;
        cpu.write_selector_operand(mem, op, op.dst, selector)?;
        Ok(Then::Next)
    })
}

/// POP Sreg.
pub(super) fn pop_segment(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let index = usize::from(op.dst & 7);
        let selector = match op.size {
            1 => cpu.peek::<u16>(mem, 0)?,
            2 => cpu.peek::<u32>(mem, 0)? as u16,
            _ => cpu.peek::<u64>(mem, 0)? as u16,
        };
        let segment = cpu.check_segment_load(mem, index, selector)?;
        // The stack pointer moves by the width of the stack that was popped from.
        cpu.release_stack(1 << op.size);
        cpu.commit_segment(index, segment);
        if index == SS {
            cpu.shadow_stack_load();
        }
        Ok(Then::Stop)
    })
}

/// LDS, LES, LFS, LGS, LSS: `op.src` is the segment register.
pub(super) fn load_far_pointer(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let (offset, selector) = cpu.read_far_pointer(mem, op)?;
        let index = usize::from(op.src & 7);
        let segment = cpu.check_segment_load(mem, index, selector)?;
        cpu.write_gpr(op.dst, op.size, offset);
        cpu.commit_segment(index, segment);
        Ok(Then::Stop)
    })
}

impl Cpu {
    /// Reads an offset of the operand size and the selector behind it.
    pub(super) fn read_far_pointer(&mut self, mem: &GuestMemory, op: &Op) -> Result<(u64, u16), Fault> {
        let bytes = 1_u64 << op.size;
        let linear = Segmented::linear(self, op, bytes + 2, false)?;
        let offset = match op.size {
            1 => self.read::<u16>(mem, linear, op.seg)?.into(),
            2 => self.read::<u32>(mem, linear, op.seg)?.into(),
            _ => self.read::<u64>(mem, linear, op.seg)?,
        };
        let mut behind = linear.wrapping_add(bytes);
        if !self.mode.is_64() {
            behind &= 0xffff_ffff;
        }
        Ok((offset, self.read(mem, behind, op.seg)?))
    }
}
