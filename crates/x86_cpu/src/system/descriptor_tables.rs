//! LGDT, LIDT, SGDT, SIDT, LLDT, SLDT, LTR, STR (SDM 2A/2B).

use guest_memory::GuestMemory;
use x86_defs::segment::{Segment, TableRegister, system_type};
use x86_defs::{Vector, is_canonical};

use crate::Cpu;
use crate::memory::{Addressing, Segmented};
use crate::op::{Fault, Flow, Op};
use crate::system::descriptor::{Descriptor, error_of, is_null};
use crate::system::segment_load::null_segment;
use crate::system::{Then, complete};

impl Cpu {
    /// Reads limit and base; `op.size` 1 takes 24 bits of the base, 2 takes 32, 3 takes 64.
    fn read_table_register(&mut self, mem: &GuestMemory, op: &Op) -> Result<TableRegister, Fault> {
        if self.cpl != 0 {
            return Err(self.gp0());
        }
        let base_bytes = if op.size == 3 { 8 } else { 4 };
        let linear = Segmented::linear(self, op, 2 + base_bytes, false)?;
        let limit = self.read::<u16>(mem, linear, op.seg)?;
        let at = self.wrap_linear(linear.wrapping_add(2));
        let base = match op.size {
            3 => self.read::<u64>(mem, at, op.seg)?,
            2 => self.read::<u32>(mem, at, op.seg)?.into(),
            _ => (self.read::<u32>(mem, at, op.seg)? & 0xff_ffff).into(),
        };
        if !is_canonical(base) {
            return Err(self.gp0());
        }
        Ok(TableRegister { base, limit })
    }

    fn write_table_register(
        &mut self,
        mem: &GuestMemory,
        op: &Op,
        register: TableRegister,
    ) -> Result<Then, Fault> {
        self.check_umip()?;
        let base_bytes = if op.size == 3 { 8 } else { 4 };
        let linear = Segmented::linear(self, op, 2 + base_bytes, true)?;
        let at = self.wrap_linear(linear.wrapping_add(2));
        // Limit and base may lie on two pages: nothing is written if the second cannot be.
        self.probe_write(mem, at, base_bytes, op.seg)?;
        self.write(mem, linear, register.limit, op.seg)?;
        if op.size == 3 {
            self.write(mem, at, register.base, op.seg)?;
        } else {
            self.write(mem, at, register.base as u32, op.seg)?;
        }
        Ok(Then::Next)
    }

    fn need_protected_mode(&mut self) -> Result<(), Fault> {
        if self.protected() && !self.v86() { Ok(()) } else { Err(self.ud()) }
    }

    /// The descriptor of an LDT or TSS, which must be in the GDT.
    fn read_system_segment(
        &mut self,
        mem: &GuestMemory,
        selector: u16,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<(Descriptor, Segment), Fault> {
        if selector & 4 != 0 {
            return Err(self.raise_code(Vector::GP, error_of(selector)));
        }
        let descriptor = self.read_descriptor(mem, selector, Vector::GP, 0)?;
        if !descriptor.is_system() || !wanted(descriptor.kind()) {
            return Err(self.raise_code(Vector::GP, error_of(selector)));
        }
        if !descriptor.present() {
            return Err(self.raise_code(Vector::NP, error_of(selector)));
        }
        let mut segment = descriptor.segment();
        if self.long_mode() {
            // SDM 3A 3.5.2, 7.2.3: 16 bytes, with the upper half of the base and zeros where another type would be.
            let upper = self.read_upper_half(mem, &descriptor)?;
            segment.base |= upper << 32;
            if upper & (0x1f << 40) != 0 || !is_canonical(segment.base) {
                return Err(self.raise_code(Vector::GP, error_of(selector)));
            }
        }
        Ok((descriptor, segment))
    }
}

/// LGDT.
pub(super) fn lgdt(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.gdtr = cpu.read_table_register(mem, op)?;
        Ok(Then::Stop)
    })
}

/// LIDT.
pub(super) fn lidt(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.idtr = cpu.read_table_register(mem, op)?;
        Ok(Then::Stop)
    })
}

/// SGDT.
pub(super) fn sgdt(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| cpu.write_table_register(mem, op, cpu.gdtr))
}

/// SIDT.
pub(super) fn sidt(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| cpu.write_table_register(mem, op, cpu.idtr))
}

/// LLDT.
pub(super) fn lldt(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_protected_mode()?;
        if cpu.cpl != 0 {
            return Err(cpu.gp0());
        }
        let selector = cpu.read_selector_operand(mem, op, op.dst)?;
        cpu.ldtr = if is_null(selector) {
            null_segment(selector)
        } else {
            cpu.read_system_segment(mem, selector, |kind| kind == system_type::LDT)?.1
        };
        Ok(Then::Stop)
    })
}

/// LTR: the TSS becomes busy, in the GDT too.
pub(super) fn ltr(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_protected_mode()?;
        if cpu.cpl != 0 {
            return Err(cpu.gp0());
        }
        let selector = cpu.read_selector_operand(mem, op, op.dst)?;
        if is_null(selector) {
            return Err(cpu.gp0());
        }
        let long = cpu.long_mode();
        let (descriptor, mut segment) = cpu.read_system_segment(mem, selector, |kind| {
            kind == system_type::TSS_AVAILABLE || (kind == system_type::TSS16_AVAILABLE && !long)
        })?;
        segment.access |= 2;
        cpu.write_access_byte(mem, &descriptor, segment.access)?;
        cpu.tr = segment;
        Ok(Then::Stop)
    })
}

/// SLDT.
pub(super) fn sldt(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_protected_mode()?;
        cpu.check_umip()?;
        cpu.write_selector_operand(mem, op, op.dst, cpu.ldtr.selector)?;
        Ok(Then::Next)
    })
}

/// STR.
pub(super) fn str(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_protected_mode()?;
        cpu.check_umip()?;
        cpu.write_selector_operand(mem, op, op.dst, cpu.tr.selector)?;
        Ok(Then::Next)
    })
}
