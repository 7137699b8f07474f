//! Debug exceptions around an instruction, and the debug registers (SDM 3B chapter 18; SDM 3A 6.9 for the order).
//!
//! The run loop executes instructions one by one while TF or RF is set, an instruction breakpoint is armed or a shadow is on.
//! For each it does, in this order: [`Cpu::take_debug_trap`] for the instruction before; interrupts;
//! [`Cpu::check_instruction_breakpoint`]; the instruction; [`Cpu::instruction_completed`].

use guest_memory::GuestMemory;
use x86_defs::control::{CR4_DE, DR6_BD, DR6_BS, DR6_BT, DR6_FIXED_1, DR7_FIXED_1, DR7_GD};
use x86_defs::rflags::{RF, TF};
use x86_defs::{Exception, Vector};

use crate::Cpu;
use crate::event::{Exit, Pending};
use crate::op::{Fault, Flow, Op};
use crate::system::{Then, complete};

/// Bits of DR6 that software can write.
const DR6_WRITABLE: u64 = 0xf | DR6_BD | DR6_BS | DR6_BT;
/// Bits of DR7 that software can write; RTM (bit 11) is not among them.
const DR7_WRITABLE: u64 = 0xffff_23ff;

impl Cpu {
    /// Before an instruction that is run alone: leaves the #DB fault of an instruction breakpoint and returns true, unless RF
    /// says that it was taken already. RF ends here; if the instruction faults, it is set in the pushed flags
    /// (SDM 3B 18.3.1.1).
    pub(crate) fn check_instruction_breakpoint(&mut self) -> bool {
        // An instruction that waits for L0's answer has passed.
        if !self.replay.answers.is_empty() {
            return false;
        }
        let resumed = self.system_flags & RF != 0;
        self.system_flags &= !RF;
        if resumed || !self.instruction_breakpoints_armed() {
            return false;
        }
        let hits = self.instruction_breakpoints_at(self.wrap_linear(self.code_base.wrapping_add(self.rip)));
        if hits == 0 {
            return false;
        }
        self.raise(Exception { vector: Vector::DB, error_code: 0, payload: hits });
        true
    }

    /// Behind an instruction that was run alone and is complete, or one iteration of a REP instruction is. `traced` is TF as it
    /// was before.
    pub(crate) fn instruction_completed(&mut self, traced: bool) {
        if self.pending == Pending::Again {
            // It goes on without another breakpoint, and an event that comes between pushes RF.
            self.system_flags |= RF;
        }
        // INT n and SYSCALL that have cleared TF do not trap; POPF and IRET that have, do, and see to that themselves
        // (SDM 3B 18.3.1.4).
        if traced && self.system_flags & TF != 0 {
            self.debug_pending |= DR6_BS;
        }
    }

    /// Delivers the #DB trap that is due at this boundary: data breakpoints and the single step of the instruction before. The
    /// run loop holds it back for one instruction behind a load of SS (SDM 3A 6.8.3).
    ///
    /// # Errors
    /// As [`Self::deliver_exception`].
    pub(crate) fn take_debug_trap(&mut self, mem: &GuestMemory) -> Result<(), Exit> {
        let payload = std::mem::take(&mut self.debug_pending);
        if payload == 0 {
            return Ok(());
        }
        self.deliver_exception(mem, Exception { vector: Vector::DB, error_code: 0, payload })
    }

    /// Records the I/O breakpoints that an access of `bytes` ports from `port` on hits; they trap when the instruction is done
    /// (SDM 3B 18.2.4: R/W is 2, with CR4.DE).
    pub(super) fn note_port_access(&mut self, port: u16, bytes: u64) {
        if self.dr7 & 0xff == 0 || self.cr4 & CR4_DE == 0 {
            return;
        }
        let port = u64::from(port);
        for index in 0..4 {
            let control = self.dr7 >> (16 + 4 * index);
            let len = match control >> 2 & 3 {
                0 => 1,
                1 => 2,
                2 => 8,
                _ => 4,
            };
            let start = self.dr[index] & !(len - 1);
            let enabled = self.dr7 >> (2 * index) & 3 != 0;
            // Two ranges meet if one starts in the other.
            let meets = start.wrapping_sub(port) < bytes || port.wrapping_sub(start) < len;
            if enabled && control & 3 == 2 && meets {
                self.debug_pending |= 1 << index;
            }
        }
        self.refresh_attention();
    }

    /// The checks of MOV to and from a debug register; `number` with DR4 and DR5 resolved.
    fn check_debug_access(&mut self, number: u8) -> Result<u8, Fault> {
        let number = match number & 15 {
            4 | 5 if self.cr4 & CR4_DE != 0 => return Err(self.ud()),
            // SDM 3B 18.2.2: aliases.
            4 => 6,
            5 => 7,
            number @ (0..=3 | 6 | 7) => number,
            _ => return Err(self.ud()),
        };
        if self.cpl != 0 {
            return Err(self.gp0());
        }
        if self.dr7 & DR7_GD != 0 {
            return Err(self.raise(Exception { vector: Vector::DB, error_code: 0, payload: DR6_BD }));
        }
        Ok(number)
    }
}

/// DR6 as it reads when `value` is written.
pub(crate) const fn dr6_written(value: u64) -> u64 {
    (value & DR6_WRITABLE) | DR6_FIXED_1
}

/// DR7 as it reads when `value` is written.
pub(crate) const fn dr7_written(value: u64) -> u64 {
    (value & DR7_WRITABLE) | DR7_FIXED_1
}

/// MOV r, DRn.
pub(super) fn mov_from_debug(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| {
        let value = match cpu.check_debug_access(op.src)? {
            6 => cpu.dr6,
            7 => cpu.dr7,
            number => cpu.dr[usize::from(number)],
        };
        let size = if cpu.mode.is_64() { 3 } else { 2 };
        cpu.write_gpr(op.dst, size, value);
        Ok(Then::Next)
    })
}

/// MOV DRn, r.
pub(super) fn mov_to_debug(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| {
        let number = cpu.check_debug_access(op.dst)?;
        let mut value = cpu.regs[usize::from(op.src & 15)];
        if !cpu.mode.is_64() {
            value &= 0xffff_ffff;
        }
        // SDM 3B 18.2.6: the upper halves of DR6 and DR7 must be written with zeros.
        if number >= 6 && value >> 32 != 0 {
            return Err(cpu.gp0());
        }
        match number {
            6 => cpu.dr6 = dr6_written(value),
            7 => cpu.dr7 = dr7_written(value),
            number => cpu.dr[usize::from(number)] = value,
        }
        cpu.refresh_translation_context();
        cpu.refresh_attention();
        Ok(Then::Stop)
    })
}
