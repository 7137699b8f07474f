//! The compact operation: what one decoded instruction becomes, and how one operation leads to the next.
//!
//! A block is a slice of [`Op`]s. Each operation's handler does its work and then calls the handler of the operation behind
//! it ([`next!`]), as the last thing it does, with the rest of the slice: the compiler turns that into a jump, so that an
//! operation costs one indirect branch. Where it does not (a debug build), the depth is bounded by [`MAX_BLOCK_OPS`].

use guest_memory::GuestMemory;

use crate::Cpu;

/// Most operations in one block.
pub(crate) const MAX_BLOCK_OPS: usize = 48;

/// Index in `Cpu::regs` of a register that is always 0: the base or index of addresses that have none.
pub(crate) const ZERO: u8 = 16;
/// Index in `Cpu::regs` of the instruction pointer at the start of the running block: the base of RIP-relative addresses,
/// and what every operation's own position is counted from.
pub(crate) const BLOCK_RIP: u8 = 17;
/// Added to a byte register's index: bits 15:8 (AH, CH, DH, BH).
pub(crate) const HIGH_BYTE: u8 = 0x20;

/// An access or an instruction could not complete: what happened instead is in `Cpu::pending`. Handlers answer it with
/// [`Cpu::abort`] and change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault;

/// How a run of operations ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Flow {
    /// The slice ran out: go on behind its last instruction.
    End,
    /// A direct branch went to `Cpu::rip`, along the block's link `Cpu::link`. `Cpu::retired` is exact.
    Taken,
    /// `Cpu::rip` was loaded from a register or memory. `Cpu::retired` is exact.
    Indirect,
    /// The instruction at `Cpu::rip` did not complete; `Cpu::pending` says why. `Cpu::retired` is exact.
    Abort,
    /// An instruction completed and the run loop has to look before the next: mode, mapping, code or interrupts may have
    /// changed. `Cpu::rip` and `Cpu::retired` are exact.
    Stop,
}

/// What executes an operation: the first of `ops`.
pub(crate) type Handler = fn(&mut Cpu, &GuestMemory, &[Op]) -> Flow;

/// One decoded instruction (or two that were fused), 40 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Op {
    /// What executes it.
    pub(crate) run: Handler,
    /// Immediate, or the distance of a branch target from the start of the block.
    pub(crate) imm: u64,
    /// Displacement, sign-extended; for RIP-relative addresses counted from the start of the block.
    pub(crate) disp: u64,
    /// Start of the instruction in bytes from the start of the block.
    pub(crate) start: u16,
    /// End of the instruction in bytes from the start of the block.
    pub(crate) end: u16,
    /// Instructions of the block before this operation.
    pub(crate) before: u8,
    /// Instructions of the block up to and with this operation.
    pub(crate) after: u8,
    /// First register operand (destination where there is one).
    pub(crate) dst: u8,
    /// Second register operand.
    pub(crate) src: u8,
    /// Third register operand or other small number.
    pub(crate) aux: u8,
    /// Base register of the memory operand, [`ZERO`] or [`BLOCK_RIP`].
    pub(crate) base: u8,
    /// Index register of the memory operand or [`ZERO`].
    pub(crate) index: u8,
    /// log2 of the index's scale.
    pub(crate) scale: u8,
    /// Segment of the memory operand (index as encoded in instructions).
    pub(crate) seg: u8,
    /// log2 of the bytes of an address: 1, 2 or 3.
    pub(crate) address_size: u8,
    /// log2 of the operand size in bytes, for handlers that ask at run time.
    pub(crate) size: u8,
    /// Prefixes a handler may ask for ([`PREFIX_REP`] ...); of a direct branch, which of the block's links leads to its target.
    pub(crate) prefixes: u8,
}

/// F3 before a string instruction.
pub(crate) const PREFIX_REP: u8 = 1;
/// F2 before a string instruction.
pub(crate) const PREFIX_REPNE: u8 = 2;
/// LOCK.
pub(crate) const PREFIX_LOCK: u8 = 4;

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Op")
            .field("start", &self.start)
            .field("end", &self.end)
            .field("dst", &self.dst)
            .field("src", &self.src)
            .field("imm", &self.imm)
            .finish_non_exhaustive()
    }
}

/// Goes on with the operation behind the first of `$ops`. The last expression of a handler.
macro_rules! next {
    ($cpu:ident, $mem:ident, $ops:ident) => {
        match $ops.get(1..) {
            Some(rest @ [op, ..]) => (op.run)($cpu, $mem, rest),
            _ => $crate::op::Flow::End,
        }
    };
}

/// The same behind an operation that wrote memory: the write may have hit code or a device.
macro_rules! next_after_write {
    ($cpu:ident, $mem:ident, $ops:ident) => {
        if $cpu.stop_block { $cpu.stop(&$ops[0]) } else { $crate::op::next!($cpu, $mem, $ops) }
    };
}

/// The value of a `Result<_, Fault>`, or the end of the handler.
macro_rules! attempt {
    ($cpu:ident, $ops:ident, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err($crate::op::Fault) => return $cpu.abort(&$ops[0]),
        }
    };
}

/// Which of the two twins of a handler that accesses memory this is.
///
/// The fast twin knows hits in the TLB only. For everything else it goes to the slow twin with a jump, so that it calls nothing
/// and needs no stack frame.
pub(crate) trait Path {
    /// Whether this is the slow twin.
    const SLOW: bool;
}

/// The fast twin.
#[derive(Debug)]
pub(crate) struct Fast;
impl Path for Fast {
    const SLOW: bool = false;
}

/// The slow twin.
#[derive(Debug)]
pub(crate) struct Slow;
impl Path for Slow {
    const SLOW: bool = true;
}

/// The linear address of the memory operand, or the slow twin, or the end of the handler.
macro_rules! address {
    ($path:ty, $addressing:ty, $cpu:ident, $mem:ident, $ops:ident, $size:expr, $write:expr, $slow:expr) => {
        if <$path>::SLOW {
            $crate::op::attempt!($cpu, $ops, <$addressing>::linear($cpu, &$ops[0], $size, $write))
        } else {
            match <$addressing>::hit($cpu, &$ops[0]) {
                Some(linear) => linear,
                None => return $slow($cpu, $mem, $ops),
            }
        }
    };
}

/// What a load from `$linear` gives, or the slow twin, or the end of the handler.
macro_rules! loaded {
    ($path:ty, $word:ty, $cpu:ident, $mem:ident, $ops:ident, $linear:expr, $seg:expr, $slow:expr) => {
        if <$path>::SLOW {
            $crate::op::attempt!($cpu, $ops, $cpu.read::<$word>($mem, $linear, $seg))
        } else {
            match $cpu.read_hit::<$word>($mem, $linear) {
                Some(value) => value,
                None => return $slow($cpu, $mem, $ops),
            }
        }
    };
}

/// Stores to `$linear`, or the slow twin, or the end of the handler.
macro_rules! stored {
    ($path:ty, $cpu:ident, $mem:ident, $ops:ident, $linear:expr, $value:expr, $seg:expr, $slow:expr) => {
        if <$path>::SLOW {
            $crate::op::attempt!($cpu, $ops, $cpu.write($mem, $linear, $value, $seg));
        } else {
            match $cpu.write_hit_of($linear, $value) {
                Some(offset) => $mem.store(offset, $value),
                None => return $slow($cpu, $mem, $ops),
            }
        }
    };
}

/// Goes on behind a store: after a hit there is nothing to look at.
macro_rules! next_after_store {
    ($path:ty, $cpu:ident, $mem:ident, $ops:ident) => {
        if <$path>::SLOW {
            $crate::op::next_after_write!($cpu, $mem, $ops)
        } else {
            $crate::op::next!($cpu, $mem, $ops)
        }
    };
}

pub(crate) use {address, attempt, loaded, next, next_after_store, next_after_write, stored};

impl Cpu {
    /// Ends the block because the instruction of `op` did not complete.
    #[cold]
    #[inline(never)]
    pub(crate) fn abort(&mut self, op: &Op) -> Flow {
        self.rip = self.wrap_ip(self.regs[BLOCK_RIP as usize].wrapping_add(u64::from(op.start)));
        self.retired += u64::from(op.before);
        Flow::Abort
    }

    /// Ends the block behind the completed instruction of `op`.
    #[cold]
    #[inline(never)]
    pub(crate) fn stop(&mut self, op: &Op) -> Flow {
        self.rip = self.next_ip(op);
        self.retired += u64::from(op.after);
        Flow::Stop
    }

    /// Ends the block with a direct branch to `target`.
    #[inline(always)]
    pub(crate) fn take(&mut self, op: &Op, target: u64) -> Flow {
        self.rip = target;
        self.retired += u64::from(op.after);
        self.link = op.prefixes;
        Flow::Taken
    }

    /// Ends the block with a branch to a `target` that is known only now.
    #[inline(always)]
    pub(crate) fn take_indirect(&mut self, op: &Op, target: u64) -> Flow {
        self.rip = target;
        self.retired += u64::from(op.after);
        Flow::Indirect
    }

    /// Ends the block behind a completed instruction that has set `rip` itself.
    #[inline]
    pub(crate) fn stop_at(&mut self, op: &Op, rip: u64) -> Flow {
        self.rip = rip;
        self.retired += u64::from(op.after);
        Flow::Stop
    }

    /// Instruction pointer behind the instruction of `op`.
    #[inline(always)]
    pub(crate) fn next_ip(&self, op: &Op) -> u64 {
        self.wrap_ip(self.regs[BLOCK_RIP as usize].wrapping_add(u64::from(op.end)))
    }

    /// Instruction pointer of the instruction of `op`.
    #[inline(always)]
    pub(crate) fn this_ip(&self, op: &Op) -> u64 {
        self.wrap_ip(self.regs[BLOCK_RIP as usize].wrapping_add(u64::from(op.start)))
    }
}
