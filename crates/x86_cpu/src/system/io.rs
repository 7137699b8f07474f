//! IN, OUT, INS, OUTS, HLT (SDM 2A IN, OUT; SDM 1 18.5 for the permissions).
//!
//! A repeated INS or OUTS moves one element each time the run loop sees it, with consistent registers in between.

use guest_memory::GuestMemory;
use x86_defs::gpr::{RAX, RCX, RDI, RDX, RSI};
use x86_defs::segment::index::ES;
use x86_defs::segment::{AR_TYPE, system_type};

use crate::Cpu;
use crate::event::Exit;
use crate::op::{Fault, Flow, Op, PREFIX_REP, PREFIX_REPNE};
use crate::system::{Then, complete};

/// `Op::aux` of IN and OUT whose port is an immediate.
pub(super) const IMMEDIATE_PORT: u8 = 1;
/// Offset of the I/O-map base in the TSS.
const IO_MAP_BASE: u64 = 102;

impl Cpu {
    /// Whether a port may be accessed: by privilege, or by the I/O permission bitmap of the TSS.
    fn check_port(&mut self, mem: &GuestMemory, port: u16, bytes: u16) -> Result<(), Fault> {
        if !self.protected() || (!self.v86() && self.cpl <= self.iopl()) {
            return Ok(());
        }
        let limit = u64::from(self.tr.limit);
        let wide = matches!(self.tr.access & AR_TYPE, system_type::TSS_AVAILABLE | system_type::TSS_BUSY);
        if self.tr.unusable() || !wide || limit < IO_MAP_BASE + 1 {
            return Err(self.gp0());
        }
        let base = self.read_system::<u16>(mem, self.table_address(self.tr.base, IO_MAP_BASE))?;
        // Two bytes are always read, for accesses that cross a byte of the map.
        let at = u64::from(base) + u64::from(port / 8);
        if at + 1 > limit {
            return Err(self.gp0());
        }
        let bits = self.read_system::<u16>(mem, self.table_address(self.tr.base, at))?;
        let wanted = ((1_u16 << bytes) - 1) << (port % 8);
        if bits & wanted == 0 { Ok(()) } else { Err(self.gp0()) }
    }

    fn port_operand(&self, op: &Op) -> u16 {
        if op.aux == IMMEDIATE_PORT { u16::from(op.imm as u8) } else { self.regs[RDX] as u16 }
    }

    /// Runs one element of INS or OUTS, under REP as often as RCX says.
    fn repeated(
        &mut self,
        op: &Op,
        element: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<Then, Fault> {
        if op.prefixes & (PREFIX_REP | PREFIX_REPNE) == 0 {
            element(self)?;
            return Ok(Then::Stop);
        }
        let left = self.address_register(op, RCX);
        if left == 0 {
            return Ok(Then::Next);
        }
        element(self)?;
        self.set_address_register(op, RCX, left - 1);
        Ok(if left == 1 { Then::Stop } else { Then::Again })
    }
}

/// IN.
pub(super) fn input(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let port = cpu.port_operand(op);
        cpu.check_port(mem, port, 1 << op.size)?;
        let value = cpu.ask(Exit::IoRead { port, size: 1 << op.size })?;
        if op.size == 0 {
            cpu.regs[RAX] = (cpu.regs[RAX] & !0xff) | (value & 0xff);
        } else {
            cpu.write_gpr(RAX as u8, op.size, value);
        }
        cpu.note_port_access(port, 1 << op.size);
        Ok(Then::Stop)
    })
}

/// OUT.
pub(super) fn output(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let port = cpu.port_operand(op);
        cpu.check_port(mem, port, 1 << op.size)?;
        let value = cpu.regs[RAX] as u32 & mask_of(op.size);
        cpu.post(Exit::IoWrite { port, size: 1 << op.size, value });
        cpu.note_port_access(port, 1 << op.size);
        Ok(Then::Stop)
    })
}

/// INS: the destination is checked before the port is read, whose read may have effects.
pub(super) fn input_string(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.repeated(op, |cpu| {
            let port = cpu.regs[RDX] as u16;
            let bytes = 1_u64 << op.size;
            cpu.check_port(mem, port, 1 << op.size)?;
            let linear = cpu.string_linear(op, RDI, ES as u8, bytes, true)?;
            cpu.probe_write(mem, linear, bytes, ES as u8)?;
            let value = cpu.ask(Exit::IoRead { port, size: 1 << op.size })?;
            match op.size {
                0 => cpu.write(mem, linear, value as u8, ES as u8)?,
                1 => cpu.write(mem, linear, value as u16, ES as u8)?,
                _ => cpu.write(mem, linear, value as u32, ES as u8)?,
            }
            cpu.step_index(op, RDI, bytes);
            cpu.note_port_access(port, bytes);
            Ok(())
        })
    })
}

/// OUTS.
pub(super) fn output_string(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.repeated(op, |cpu| {
            let port = cpu.regs[RDX] as u16;
            let bytes = 1_u64 << op.size;
            cpu.check_port(mem, port, 1 << op.size)?;
            let linear = cpu.string_linear(op, RSI, op.seg, bytes, false)?;
            let value = match op.size {
                0 => cpu.read::<u8>(mem, linear, op.seg)?.into(),
                1 => cpu.read::<u16>(mem, linear, op.seg)?.into(),
                _ => cpu.read::<u32>(mem, linear, op.seg)?,
            };
            cpu.post(Exit::IoWrite { port, size: 1 << op.size, value });
            cpu.step_index(op, RSI, bytes);
            cpu.note_port_access(port, bytes);
            Ok(())
        })
    })
}

const fn mask_of(size: u8) -> u32 {
    match size {
        0 => 0xff,
        1 => 0xffff,
        _ => 0xffff_ffff,
    }
}

/// HLT: complete, and L0 is told.
pub(super) fn halt(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, _op| {
        if cpu.cpl != 0 {
            return Err(cpu.gp0());
        }
        cpu.post(Exit::Halt);
        Ok(Then::Stop)
    })
}
