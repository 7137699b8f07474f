//! A stack that is not, or not yet, SS:RSP: where far transfers and events push and pop before anything is committed.

use guest_memory::GuestMemory;
use x86_defs::gpr::RSP;
use x86_defs::is_canonical;
use x86_defs::segment::index::SS;
use x86_defs::segment::{AR_DB, Segment};
use x86_defs::{Exception, Vector};

use crate::Cpu;
use crate::access::within_limit;
use crate::op::Fault;

/// Bits of a stack pointer that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Bits16,
    Bits32,
    Bits64,
}

/// A stack pointer on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack {
    segment: Segment,
    width: Width,
    /// In whose name pushes are made.
    cpl: u8,
    /// Error code of the #SS for a stack that is too small.
    error: u32,
    /// The stack pointer so far.
    pub(super) sp: u64,
}

impl Stack {
    /// SS:RSP as it is. `error` is what #SS tells: 0, or 1 (EXT) in the delivery of an event.
    pub(super) fn current(cpu: &Cpu, error: u32) -> Self {
        let segment = cpu.segs[SS];
        let width = if cpu.mode.is_64() { Width::Bits64 } else { Self::width_of(&segment) };
        Self { segment, width, cpl: cpu.cpl, error, sp: cpu.regs[RSP] }
    }

    /// A stack of another privilege level, outside IA-32e mode.
    pub(super) fn other(segment: Segment, sp: u64, cpl: u8, error: u32) -> Self {
        Self { segment, width: Self::width_of(&segment), cpl, error, sp }
    }

    /// A 64-bit stack.
    pub(super) fn long(sp: u64, cpl: u8, error: u32) -> Self {
        Self { segment: Segment::default(), width: Width::Bits64, cpl, error, sp }
    }

    fn width_of(segment: &Segment) -> Width {
        if segment.access & AR_DB != 0 { Width::Bits32 } else { Width::Bits16 }
    }

    /// `sp` moved by `by` bytes; bits that do not count stay.
    fn moved(&self, by: u64) -> u64 {
        let new = self.sp.wrapping_add(by);
        match self.width {
            Width::Bits64 => new,
            Width::Bits32 => new & 0xffff_ffff,
            Width::Bits16 => (self.sp & !0xffff) | (new & 0xffff),
        }
    }

    /// Moves the stack pointer up.
    pub(super) fn release(&mut self, bytes: u64) {
        self.sp = self.moved(bytes);
    }

    fn linear(&self, cpu: &mut Cpu, sp: u64, bytes: u64) -> Result<u64, Fault> {
        let offset = match self.width {
            Width::Bits64 => {
                if is_canonical(sp) && is_canonical(sp.wrapping_add(bytes - 1)) {
                    return Ok(sp);
                }
                return Err(cpu.raise(Exception::new(Vector::SS, self.error)));
            }
            Width::Bits32 => sp & 0xffff_ffff,
            Width::Bits16 => sp & 0xffff,
        };
        // A null SS, which 64-bit mode can leave behind, is no stack elsewhere.
        if self.segment.unusable() || !within_limit(&self.segment, offset, bytes) {
            return Err(cpu.raise(Exception::new(Vector::SS, self.error)));
        }
        Ok(self.segment.base.wrapping_add(offset) & 0xffff_ffff)
    }

    /// Pushes the low `1 << size` bytes of `value`.
    pub(super) fn push(
        &mut self,
        cpu: &mut Cpu,
        mem: &GuestMemory,
        size: u8,
        value: u64,
    ) -> Result<(), Fault> {
        let bytes = 1_u64 << size;
        let sp = self.moved(bytes.wrapping_neg());
        let linear = self.linear(cpu, sp, bytes)?;
        // The stack of the level that runs is an ordinary access, with EFLAGS.AC and alignment checks.
        let own = self.cpl == cpu.cpl;
        match (size, own) {
            (1, true) => cpu.write(mem, linear, value as u16, SS as u8)?,
            (2, true) => cpu.write(mem, linear, value as u32, SS as u8)?,
            (_, true) => cpu.write(mem, linear, value, SS as u8)?,
            (1, false) => cpu.write_as(mem, linear, value as u16, self.cpl)?,
            (2, false) => cpu.write_as(mem, linear, value as u32, self.cpl)?,
            (_, false) => cpu.write_as(mem, linear, value, self.cpl)?,
        }
        self.sp = sp;
        Ok(())
    }

    /// Pops `1 << size` bytes.
    pub(super) fn pop(&mut self, cpu: &mut Cpu, mem: &GuestMemory, size: u8) -> Result<u64, Fault> {
        let bytes = 1_u64 << size;
        let linear = self.linear(cpu, self.sp, bytes)?;
        let value = match size {
            1 => cpu.read::<u16>(mem, linear, SS as u8)?.into(),
            2 => cpu.read::<u32>(mem, linear, SS as u8)?.into(),
            _ => cpu.read::<u64>(mem, linear, SS as u8)?,
        };
        self.sp = self.moved(bytes);
        Ok(value)
    }
}
