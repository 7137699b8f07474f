//! Memory as instructions see it: effective addresses, segments, and the fast path through the TLB.
//!
//! A hit costs one compare and one add: the tag of an entry holds the linear page and, in its low 12 bits, the translation
//! context (address space and privilege), see [`crate::tlb`]. Everything else (a miss, a page crossing, a device, a
//! breakpoint, an alignment check) is in [`crate::access`].

use guest_memory::{GuestMemory, Word};
use x86_defs::segment::index::SS;
use x86_defs::segment::{AR_CODE, AR_CONFORMING_DOWN, AR_P, AR_READ_WRITE, AR_S, AR_UNUSABLE};

use crate::Cpu;
use crate::op::{Fault, Op};
use crate::tlb::{FAST_MASK, PAGE_MASK};

/// How an operation's memory operand becomes a linear address; chosen when the instruction is decoded.
pub(crate) trait Addressing {
    /// The linear address of the operand, if it needs no check beyond a hit in the TLB.
    fn hit(cpu: &Cpu, op: &Op) -> Option<u64>;
    /// The linear address of the operand, checked for `size` bytes.
    fn linear(cpu: &mut Cpu, op: &Op, size: u64, write: bool) -> Result<u64, Fault>;
}

/// 64-bit mode, 64-bit address, a segment whose base is 0. Non-canonical addresses are never in the TLB.
#[derive(Debug)]
pub(crate) struct Flat;

impl Addressing for Flat {
    #[inline(always)]
    fn hit(cpu: &Cpu, op: &Op) -> Option<u64> {
        Some(cpu.effective_sum(op))
    }

    #[inline(always)]
    fn linear(cpu: &mut Cpu, op: &Op, _size: u64, _write: bool) -> Result<u64, Fault> {
        Ok(cpu.effective_sum(op))
    }
}

/// Everything else.
#[derive(Debug)]
pub(crate) struct Segmented;

impl Addressing for Segmented {
    #[inline(always)]
    fn hit(cpu: &Cpu, op: &Op) -> Option<u64> {
        let offset = cpu.effective_address(op);
        let segment = &cpu.segs[(op.seg & 7) as usize];
        if cpu.mode.is_64() {
            let base = if op.seg >= 4 { segment.base } else { 0 };
            return Some(base.wrapping_add(offset));
        }
        // A present 4 GiB data segment that can be written and does not expand down: nothing is left to check.
        const CHECKED: u32 = AR_UNUSABLE | AR_P | AR_S | AR_CODE | AR_CONFORMING_DOWN | AR_READ_WRITE;
        const FREE: u32 = AR_P | AR_S | AR_READ_WRITE;
        let free = segment.limit == u32::MAX && segment.access & CHECKED == FREE && offset < 0xffff_fff0;
        free.then(|| segment.base.wrapping_add(offset) & 0xffff_ffff)
    }

    #[inline(always)]
    fn linear(cpu: &mut Cpu, op: &Op, size: u64, write: bool) -> Result<u64, Fault> {
        let offset = cpu.effective_address(op);
        cpu.data_linear(op.seg, offset, size, write)
    }
}

/// `address` cut to the address size of `op`.
#[inline(always)]
pub(crate) const fn cut_address(op: &Op, address: u64) -> u64 {
    match op.address_size {
        3 => address,
        2 => address & 0xffff_ffff,
        _ => address & 0xffff,
    }
}

impl Cpu {
    /// Base + index * scale + displacement, 64 bits wide.
    #[inline(always)]
    pub(crate) fn effective_sum(&self, op: &Op) -> u64 {
        self.regs[op.base as usize]
            .wrapping_add(self.regs[op.index as usize].wrapping_shl(u32::from(op.scale)))
            .wrapping_add(op.disp)
    }

    /// The effective address, cut to the instruction's address size.
    #[inline(always)]
    pub(crate) fn effective_address(&self, op: &Op) -> u64 {
        cut_address(op, self.effective_sum(op))
    }

    /// Linear address of an offset in a data segment, in any mode.
    #[inline(always)]
    pub(crate) fn data_linear(&mut self, seg: u8, offset: u64, size: u64, write: bool) -> Result<u64, Fault> {
        if self.mode.is_64() {
            // Only FS and GS have a base in 64-bit mode (SDM 3A 3.4.4).
            let base = if seg >= 4 { self.segs[(seg & 7) as usize].base } else { 0 };
            Ok(base.wrapping_add(offset))
        } else {
            self.segment_linear(seg, offset, size, write)
        }
    }

    /// Loads from a linear address if a hit in the TLB is all it needs. A handler that leaves everything else to a cold copy of
    /// itself, as its last call, has no call to come back from and needs no stack frame.
    #[inline(always)]
    pub(crate) fn read_hit<T: Word>(&self, mem: &GuestMemory, linear: u64) -> Option<T> {
        let entry = &self.tlb.fast[(linear >> 12) as usize & FAST_MASK];
        if entry.read == (linear.wrapping_add(T::SIZE - 1) & PAGE_MASK) | self.tlb.context {
            mem.get(linear.wrapping_add(entry.add))
        } else {
            None
        }
    }

    /// The offset a store of a `T` to a linear address goes to, if a hit in the TLB is all it needs.
    #[inline(always)]
    pub(crate) fn write_hit<T: Word>(&self, linear: u64) -> Option<u64> {
        let entry = &self.tlb.fast[(linear >> 12) as usize & FAST_MASK];
        (entry.write == (linear.wrapping_add(T::SIZE - 1) & PAGE_MASK) | self.tlb.context)
            .then(|| linear.wrapping_add(entry.add))
    }

    /// As [`Self::write_hit`], for a store of `value`.
    #[inline(always)]
    pub(crate) fn write_hit_of<T: Word>(&self, linear: u64, _value: T) -> Option<u64> {
        self.write_hit::<T>(linear)
    }

    /// Loads from a linear address. `seg` decides between #SS and #GP for a non-canonical address.
    #[inline(always)]
    pub(crate) fn read<T: Word>(&mut self, mem: &GuestMemory, linear: u64, seg: u8) -> Result<T, Fault> {
        let entry = &self.tlb.fast[(linear >> 12) as usize & FAST_MASK];
        if entry.read == (linear.wrapping_add(T::SIZE - 1) & PAGE_MASK) | self.tlb.context {
            Ok(mem.load(linear.wrapping_add(entry.add)))
        } else {
            self.read_slow(mem, linear, seg)
        }
    }

    /// Stores to a linear address.
    #[inline(always)]
    pub(crate) fn write<T: Word>(
        &mut self,
        mem: &GuestMemory,
        linear: u64,
        value: T,
        seg: u8,
    ) -> Result<(), Fault> {
        let entry = &self.tlb.fast[(linear >> 12) as usize & FAST_MASK];
        if entry.write == (linear.wrapping_add(T::SIZE - 1) & PAGE_MASK) | self.tlb.context {
            mem.store(linear.wrapping_add(entry.add), value);
            Ok(())
        } else {
            self.write_slow(mem, linear, value, seg)
        }
    }

    /// Reads, computes and writes one operand. The access is checked as a write before `compute` runs, so that `compute` may
    /// change registers and flags: the store behind it cannot fault.
    #[inline(always)]
    pub(crate) fn modify<T: Word>(
        &mut self,
        mem: &GuestMemory,
        linear: u64,
        seg: u8,
        compute: impl FnOnce(&mut Self, T) -> T,
    ) -> Result<(), Fault> {
        let entry = &self.tlb.fast[(linear >> 12) as usize & FAST_MASK];
        if entry.write == (linear.wrapping_add(T::SIZE - 1) & PAGE_MASK) | self.tlb.context {
            let offset = linear.wrapping_add(entry.add);
            let value = compute(self, mem.load(offset));
            mem.store(offset, value);
            Ok(())
        } else {
            let old = self.read_to_modify_slow::<T>(mem, linear, seg)?;
            let value = compute(self, old);
            self.write_slow(mem, linear, value, seg)
        }
    }

    /// Pushes `value` with the given stack-address width; RSP moves only if the store succeeded.
    #[inline(always)]
    pub(crate) fn push<T: Word>(&mut self, mem: &GuestMemory, value: T) -> Result<(), Fault> {
        let rsp = self.regs[x86_defs::gpr::RSP];
        let new = self.wrap_stack(rsp, rsp.wrapping_sub(T::SIZE));
        let linear = self.stack_linear(new, T::SIZE, true)?;
        self.write(mem, linear, value, SS as u8)?;
        self.regs[x86_defs::gpr::RSP] = new;
        Ok(())
    }

    /// Reads what is `skip` bytes above the stack pointer without moving it.
    #[inline(always)]
    pub(crate) fn peek<T: Word>(&mut self, mem: &GuestMemory, skip: u64) -> Result<T, Fault> {
        let rsp = self.regs[x86_defs::gpr::RSP];
        let at = self.wrap_stack(rsp, rsp.wrapping_add(skip));
        let linear = self.stack_linear(at, T::SIZE, false)?;
        self.read(mem, linear, SS as u8)
    }

    /// Moves the stack pointer up by `bytes`.
    #[inline(always)]
    pub(crate) fn release_stack(&mut self, bytes: u64) {
        let rsp = self.regs[x86_defs::gpr::RSP];
        self.regs[x86_defs::gpr::RSP] = self.wrap_stack(rsp, rsp.wrapping_add(bytes));
    }

    /// `new` cut to the stack's address width; the rest of the register keeps `old`'s bits.
    #[inline(always)]
    pub(crate) fn wrap_stack(&self, old: u64, new: u64) -> u64 {
        if self.mode.is_64() {
            new
        } else if self.mode.0 & crate::cpu::CodeMode::STACK32 != 0 {
            // A 32-bit result clears the upper half, as every 32-bit write of a register does.
            new & 0xffff_ffff
        } else {
            (old & !0xffff) | (new & 0xffff)
        }
    }

    /// Linear address of a stack offset.
    #[inline(always)]
    pub(crate) fn stack_linear(&mut self, rsp: u64, size: u64, write: bool) -> Result<u64, Fault> {
        if self.mode.is_64() {
            Ok(rsp)
        } else {
            let offset = if self.mode.0 & crate::cpu::CodeMode::STACK32 != 0 { rsp } else { rsp & 0xffff };
            self.segment_linear(SS as u8, offset, size, write)
        }
    }
}
