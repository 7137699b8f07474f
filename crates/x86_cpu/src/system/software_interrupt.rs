//! INT n, INT3, INTO, INT1 and BOUND's kin (SDM 2A INT n; SDM 3B 20.3 for virtual-8086 mode).

use guest_memory::GuestMemory;
use x86_defs::control::CR4_VME;
use x86_defs::gpr::RSP;
use x86_defs::rflags::{IF, IOPL, RF, TF, VIF};
use x86_defs::segment::index::CS;
use x86_defs::{Exception, Vector};

use crate::Cpu;
use crate::event::InterruptShadow;
use crate::op::{Fault, Flow, Op};
use crate::system::delivery::Event;
use crate::system::segment_load::v86_segment;
use crate::system::stack::Stack;
use crate::system::{Then, complete};

/// Offset of the I/O-map base in the 32-bit TSS.
const IO_MAP_BASE: u64 = 102;
/// Bytes of the interrupt redirection bitmap, which ends where the I/O map begins.
const REDIRECTION_BYTES: u64 = 32;

/// INT n: the vector is `op.imm`.
pub(super) fn int_n(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let vector = op.imm as u8;
        let return_ip = cpu.next_ip(op);
        if cpu.v86() {
            if cpu.cr4 & CR4_VME != 0 && cpu.is_redirected(mem, vector)? {
                cpu.redirect(mem, vector, return_ip)?;
                return Ok(Then::Go(cpu.rip));
            }
            if cpu.iopl() < 3 {
                return Err(cpu.gp0());
            }
        }
        cpu.software_event(mem, vector, 0, return_ip)
    })
}

/// INT3: virtual-8086 mode neither checks IOPL nor redirects it (SDM 3B 20.3).
pub(super) fn int3(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let return_ip = cpu.next_ip(op);
        cpu.software_event(mem, Vector::BP.0, 0, return_ip)
    })
}

/// INTO.
pub(super) fn into(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        if !cpu.flags.overflow() {
            return Ok(Then::Next);
        }
        let return_ip = cpu.next_ip(op);
        cpu.software_event(mem, Vector::OF.0, 0, return_ip)
    })
}

/// INT1 (ICEBP): a trap that checks no DPL and leaves DR6 alone (SDM 2A INT1).
pub(super) fn int1(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let event = Event {
            vector: Vector::DB.0,
            error_code: None,
            software: false,
            ext: 1,
            resume: false,
            return_ip: cpu.next_ip(op),
        };
        cpu.deliver(mem, event)?;
        Ok(Then::Go(cpu.rip))
    })
}

/// UD0, UD1, UD2 and everything that does not exist.
pub(super) fn undefined(cpu: &mut Cpu, _mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.raise(Exception::new(Vector::UD, 0));
    cpu.abort(&ops[0])
}

impl Cpu {
    /// Takes an event that the instruction asked for through the IDT; its gate must have a DPL that allows it.
    fn software_event(
        &mut self,
        mem: &GuestMemory,
        vector: u8,
        ext: u32,
        return_ip: u64,
    ) -> Result<Then, Fault> {
        let event = Event { vector, error_code: None, software: true, ext, resume: false, return_ip };
        self.deliver(mem, event)?;
        Ok(Then::Go(self.rip))
    }

    /// Whether the redirection bitmap sends a vector to the virtual-8086 program itself (SDM 3B 20.3.3: bit clear).
    fn is_redirected(&mut self, mem: &GuestMemory, vector: u8) -> Result<bool, Fault> {
        let limit = u64::from(self.tr.limit);
        if limit < IO_MAP_BASE + 1 {
            return Err(self.gp0());
        }
        let base = self.read_system::<u16>(mem, self.table_address(self.tr.base, IO_MAP_BASE))?;
        let at = u64::from(base).wrapping_sub(REDIRECTION_BYTES).wrapping_add(u64::from(vector) / 8);
        if at > limit {
            return Err(self.gp0());
        }
        let byte = self.read_system::<u8>(mem, self.table_address(self.tr.base, at))?;
        Ok(byte & (1 << (vector % 8)) == 0)
    }

    /// SDM 3B 20.3.3, methods 5 and 6: an interrupt handled as a real 8086 does, through the table at linear address 0.
    fn redirect(&mut self, mem: &GuestMemory, vector: u8, return_ip: u64) -> Result<(), Fault> {
        let pointer = self.read::<u32>(mem, u64::from(vector) * 4, 0)?;
        let virtual_if = self.iopl() < 3;
        let flags = self.rflags();
        let pushed = if virtual_if {
            let interrupts = if flags & VIF != 0 { IF } else { 0 };
            (flags & !IF) | interrupts | IOPL
        } else {
            flags
        };
        let cs = v86_segment((pointer >> 16) as u16);
        let mut stack = Stack::current(self, 0);
        stack.push(self, mem, 1, pushed)?;
        stack.push(self, mem, 1, self.segs[CS].selector.into())?;
        stack.push(self, mem, 1, return_ip)?;
        self.regs[RSP] = stack.sp;
        self.shadow = InterruptShadow::None;
        self.enter_code(cs, 3);
        self.load_rflags(flags & !(TF | RF | if virtual_if { VIF } else { IF }));
        self.rip = u64::from(pointer & 0xffff);
        Ok(())
    }
}
