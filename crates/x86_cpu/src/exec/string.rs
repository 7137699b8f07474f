//! MOVS, STOS, LODS, SCAS, CMPS, with and without REP (SDM 2B REP). INS and OUTS belong to `system`.
//!
//! A repeated instruction works through at most [`MOST`] elements, then the run loop sees it again at the same address with
//! consistent registers, as if it had been interrupted there. The bound counts elements, whichever way they were moved, so
//! that virtual time does not depend on what the host could do quickly.

use guest_memory::GuestMemory;
use iced_x86::{Instruction, Mnemonic};
use x86_defs::gpr::{RAX, RCX, RDI, RSI};
use x86_defs::rflags::{DF, TF};
use x86_defs::segment::index::ES;

use super::Form;
use super::arith::{Binary, Cmp};
use super::operand::{Int, sized};
use crate::Cpu;
use crate::event::Pending;
use crate::memory::cut_address;
use crate::op::{Fault, Flow, Handler, Op, PREFIX_REP, PREFIX_REPNE, attempt, next_after_write};
use crate::tlb::{FAST_MASK, PAGE_MASK};

/// Most elements one execution moves.
pub(crate) const MOST: u64 = 4096;

/// What a string instruction does with one element.
trait Element {
    /// Whether REPE and REPNE look at ZF.
    const COMPARES: bool;
    /// One element; RSI and RDI move, RCX does not.
    fn step<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, op: &Op) -> Result<(), Fault>;
    /// As many of `most` elements as can be done in one go, with RSI and RDI moved; 0 if none.
    fn bulk<T: Int>(_cpu: &mut Cpu, _mem: &GuestMemory, _op: &Op, _most: u64) -> u64 {
        0
    }
}

impl Cpu {
    /// An index or count register cut to the address size of `op`.
    #[inline(always)]
    pub(crate) fn address_register(&self, op: &Op, register: usize) -> u64 {
        cut_address(op, self.regs[register])
    }

    /// Writes an index or count register at the address size of `op`.
    #[inline(always)]
    pub(crate) fn set_address_register(&mut self, op: &Op, register: usize, value: u64) {
        match op.address_size {
            3 => self.regs[register] = value,
            2 => self.regs[register] = value & 0xffff_ffff,
            _ => u16::set(self, register as u8, value as u16),
        }
    }

    /// Moves an index register by one element of `size` bytes, down if DF is set.
    #[inline(always)]
    pub(crate) fn step_index(&mut self, op: &Op, register: usize, size: u64) {
        let at = self.address_register(op, register);
        let new = if self.system_flags & DF == 0 { at.wrapping_add(size) } else { at.wrapping_sub(size) };
        self.set_address_register(op, register, new);
    }

    /// Linear address of the element at `register` in segment `seg`.
    #[inline(always)]
    pub(crate) fn string_linear(
        &mut self,
        op: &Op,
        register: usize,
        seg: u8,
        size: u64,
        write: bool,
    ) -> Result<u64, Fault> {
        let offset = self.address_register(op, register);
        self.data_linear(seg, offset, size, write)
    }

    /// Whether elements may be moved many at a time: upwards, in 64-bit mode with 64-bit addresses.
    #[inline(always)]
    fn bulk_possible(&self, op: &Op) -> bool {
        self.mode.is_64() && op.address_size == 3 && self.system_flags & DF == 0
    }

    /// Offset in RAM of `linear` if its page can be read (written) without a look at the tables.
    #[inline(always)]
    fn bulk_offset(&self, linear: u64, write: bool) -> Option<u64> {
        let entry = &self.tlb.fast[(linear >> 12) as usize & FAST_MASK];
        let tag = if write { entry.write } else { entry.read };
        (tag == (linear & PAGE_MASK) | self.tlb.context).then(|| linear.wrapping_add(entry.add))
    }
}

/// Elements of `size` bytes from `linear` to the end of its page.
#[inline(always)]
fn elements_in_page(linear: u64, size: u64) -> u64 {
    (4096 - (linear & 0xfff)) / size
}

struct Movs;
impl Element for Movs {
    const COMPARES: bool = false;
    #[inline(always)]
    fn step<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, op: &Op) -> Result<(), Fault> {
        let from = cpu.string_linear(op, RSI, op.seg, T::SIZE, false)?;
        let value = cpu.read::<T>(mem, from, op.seg)?;
        let to = cpu.string_linear(op, RDI, ES as u8, T::SIZE, true)?;
        cpu.write(mem, to, value, ES as u8)?;
        cpu.step_index(op, RSI, T::SIZE);
        cpu.step_index(op, RDI, T::SIZE);
        Ok(())
    }

    fn bulk<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, op: &Op, most: u64) -> u64 {
        if !cpu.bulk_possible(op) {
            return 0;
        }
        let base = if op.seg >= 4 { cpu.segs[(op.seg & 7) as usize].base } else { 0 };
        let (from, to) = (base.wrapping_add(cpu.regs[RSI]), cpu.regs[RDI]);
        let count = most.min(elements_in_page(from, T::SIZE)).min(elements_in_page(to, T::SIZE));
        let bytes = count * T::SIZE;
        let (Some(source), Some(destination)) = (cpu.bulk_offset(from, false), cpu.bulk_offset(to, true))
        else {
            return 0;
        };
        // Overlapping upwards, a later element reads what an earlier one wrote.
        if destination.wrapping_sub(source) < bytes {
            return 0;
        }
        mem.copy_admitted(source, destination, bytes);
        cpu.regs[RSI] = cpu.regs[RSI].wrapping_add(bytes);
        cpu.regs[RDI] = to.wrapping_add(bytes);
        count
    }
}

struct Stos;
impl Element for Stos {
    const COMPARES: bool = false;
    #[inline(always)]
    fn step<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, op: &Op) -> Result<(), Fault> {
        let to = cpu.string_linear(op, RDI, ES as u8, T::SIZE, true)?;
        cpu.write(mem, to, T::get(cpu, RAX as u8), ES as u8)?;
        cpu.step_index(op, RDI, T::SIZE);
        Ok(())
    }

    fn bulk<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, op: &Op, most: u64) -> u64 {
        if !cpu.bulk_possible(op) {
            return 0;
        }
        let to = cpu.regs[RDI];
        let count = most.min(elements_in_page(to, T::SIZE));
        let Some(destination) = cpu.bulk_offset(to, true) else { return 0 };
        mem.fill_admitted::<T>(destination, T::get(cpu, RAX as u8), count);
        cpu.regs[RDI] = to.wrapping_add(count * T::SIZE);
        count
    }
}

struct Lods;
impl Element for Lods {
    const COMPARES: bool = false;
    #[inline(always)]
    fn step<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, op: &Op) -> Result<(), Fault> {
        let from = cpu.string_linear(op, RSI, op.seg, T::SIZE, false)?;
        let value = cpu.read::<T>(mem, from, op.seg)?;
        T::set(cpu, RAX as u8, value);
        cpu.step_index(op, RSI, T::SIZE);
        Ok(())
    }
}

struct Scas;
impl Element for Scas {
    const COMPARES: bool = true;
    #[inline(always)]
    fn step<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, op: &Op) -> Result<(), Fault> {
        let at = cpu.string_linear(op, RDI, ES as u8, T::SIZE, false)?;
        let value = cpu.read::<T>(mem, at, ES as u8)?;
        let accumulator = T::get(cpu, RAX as u8);
        Cmp::apply(cpu, accumulator, value);
        cpu.step_index(op, RDI, T::SIZE);
        Ok(())
    }
}

struct Cmps;
impl Element for Cmps {
    const COMPARES: bool = true;
    #[inline(always)]
    fn step<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, op: &Op) -> Result<(), Fault> {
        let first = cpu.string_linear(op, RSI, op.seg, T::SIZE, false)?;
        let a = cpu.read::<T>(mem, first, op.seg)?;
        let second = cpu.string_linear(op, RDI, ES as u8, T::SIZE, false)?;
        let b = cpu.read::<T>(mem, second, ES as u8)?;
        Cmp::apply(cpu, a, b);
        cpu.step_index(op, RSI, T::SIZE);
        cpu.step_index(op, RDI, T::SIZE);
        Ok(())
    }
}

fn once<E: Element, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    attempt!(cpu, ops, E::step::<T>(cpu, mem, &ops[0]));
    next_after_write!(cpu, mem, ops)
}

fn repeated<E: Element, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    // Single steps and breakpoints are taken after each element.
    let most = if cpu.system_flags & TF != 0 || cpu.data_breakpoints_armed() { 1 } else { MOST };
    let mut done = 0;
    loop {
        let left = cpu.address_register(op, RCX);
        if left == 0 {
            return next_after_write!(cpu, mem, ops);
        }
        // A device must see each write before the next. That code was overwritten waits until the end: what was decoded is no
        // state, and whether it was must not show in when the instruction ends.
        // What L0 answered is for one element, and is forgotten with it.
        if done >= most || !cpu.posted.is_empty() || cpu.replay.cursor != 0 {
            cpu.pending = Pending::Again;
            return cpu.abort(op);
        }
        let moved = E::bulk::<T>(cpu, mem, op, left.min(most - done));
        if moved != 0 {
            done += moved;
            cpu.set_address_register(op, RCX, left.wrapping_sub(moved));
            continue;
        }
        attempt!(cpu, ops, E::step::<T>(cpu, mem, op));
        done += 1;
        cpu.set_address_register(op, RCX, left.wrapping_sub(1));
        if E::COMPARES && cpu.flags.zero() != (op.prefixes & PREFIX_REP != 0) {
            return next_after_write!(cpu, mem, ops);
        }
    }
}

fn string<E: Element>(op: &Op) -> Handler {
    if op.prefixes & (PREFIX_REP | PREFIX_REPNE) != 0 {
        match op.size {
            0 => repeated::<E, u8> as Handler,
            1 => repeated::<E, u16>,
            2 => repeated::<E, u32>,
            _ => repeated::<E, u64>,
        }
    } else {
        sized!(op.size, once, E)
    }
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, _form: Form) -> Option<Handler> {
    if !instruction.is_string_instruction() {
        return None;
    }
    let (handler, size) = match instruction.mnemonic() {
        Mnemonic::Movsb => (string::<Movs> as fn(&Op) -> Handler, 0),
        Mnemonic::Movsw => (string::<Movs> as _, 1),
        Mnemonic::Movsd => (string::<Movs> as _, 2),
        Mnemonic::Movsq => (string::<Movs> as _, 3),
        Mnemonic::Stosb => (string::<Stos> as _, 0),
        Mnemonic::Stosw => (string::<Stos> as _, 1),
        Mnemonic::Stosd => (string::<Stos> as _, 2),
        Mnemonic::Stosq => (string::<Stos> as _, 3),
        Mnemonic::Lodsb => (string::<Lods> as _, 0),
        Mnemonic::Lodsw => (string::<Lods> as _, 1),
        Mnemonic::Lodsd => (string::<Lods> as _, 2),
        Mnemonic::Lodsq => (string::<Lods> as _, 3),
        Mnemonic::Scasb => (string::<Scas> as _, 0),
        Mnemonic::Scasw => (string::<Scas> as _, 1),
        Mnemonic::Scasd => (string::<Scas> as _, 2),
        Mnemonic::Scasq => (string::<Scas> as _, 3),
        Mnemonic::Cmpsb => (string::<Cmps> as _, 0),
        Mnemonic::Cmpsw => (string::<Cmps> as _, 1),
        Mnemonic::Cmpsd => (string::<Cmps> as _, 2),
        Mnemonic::Cmpsq => (string::<Cmps> as _, 3),
        _ => return None,
    };
    op.size = size;
    Some(handler(op))
}
