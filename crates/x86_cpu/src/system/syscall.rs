//! Fast system calls, SWAPGS and the FS/GS base instructions (SDM 2B SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, RDFSBASE).

use guest_memory::GuestMemory;
use x86_defs::control::{CR4_FSGSBASE, EFER_SCE};
use x86_defs::gpr::{R11, RCX, RDX, RSP};
use x86_defs::is_canonical;
use x86_defs::rflags::{FIXED_1, IF, RF, VM};
use x86_defs::segment::Segment;
use x86_defs::segment::index::{FS, GS, SS};

use crate::Cpu;
use crate::event::InterruptShadow;
use crate::op::{Fault, Flow, Op};
use crate::system::{Then, complete};

/// Access rights of flat code: 64-bit and 32-bit, DPL 0.
const CODE64: u32 = 0xa09b;
const CODE32: u32 = 0xc09b;
/// Access rights of a flat stack, DPL 0.
const STACK: u32 = 0xc093;
/// DPL 3 in access rights.
const USER: u32 = 3 << 5;
/// Flags that SYSRET takes from R11.
const SYSRET_FLAGS: u64 = 0x003c_7fd7;

impl Cpu {
    fn enter_flat(&mut self, code: u16, code_access: u32, stack: u16, cpl: u8) {
        let user = if cpl == 3 { USER } else { 0 };
        self.segs[SS] = Segment::flat(stack, STACK | user);
        self.shadow = InterruptShadow::None;
        self.enter_code(Segment::flat(code, code_access | user), cpl);
    }
}

/// SYSCALL.
pub(super) fn syscall(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| {
        if !cpu.mode.is_64() || cpu.efer & EFER_SCE == 0 {
            return Err(cpu.ud());
        }
        let flags = cpu.rflags() & !RF;
        cpu.regs[RCX] = cpu.next_ip(op);
        cpu.regs[R11] = flags;
        let selector = (cpu.msrs.star >> 32) as u16 & 0xfffc;
        cpu.enter_flat(selector, CODE64, selector.wrapping_add(8), 0);
        cpu.load_rflags(flags & !cpu.msrs.fmask);
        Ok(Then::Go(cpu.msrs.lstar))
    })
}

/// SYSRET: `op.size` 3 returns to 64-bit mode, otherwise to compatibility mode.
pub(super) fn sysret(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| {
        if !cpu.mode.is_64() || cpu.efer & EFER_SCE == 0 {
            return Err(cpu.ud());
        }
        if cpu.cpl != 0 {
            return Err(cpu.gp0());
        }
        let stepped = cpu.system_flags & x86_defs::rflags::TF != 0;
        let selector = (cpu.msrs.star >> 48) as u16;
        let target = cpu.regs[RCX];
        let (code, access, rip) = if op.size == 3 {
            if !is_canonical(target) {
                return Err(cpu.gp0());
            }
            (selector.wrapping_add(16), CODE64, target)
        } else {
            (selector, CODE32, target & 0xffff_ffff)
        };
        let flags = (cpu.regs[R11] & SYSRET_FLAGS) | FIXED_1;
        cpu.enter_flat(code | 3, access, selector.wrapping_add(8) | 3, 3);
        cpu.load_rflags(flags);
        cpu.keep_step_trap(stepped);
        Ok(Then::Go(rip))
    })
}

/// SYSENTER.
pub(super) fn sysenter(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, _op| {
        let selector = cpu.msrs.sysenter_cs as u16 & 0xfffc;
        if !cpu.protected() || selector == 0 {
            return Err(cpu.gp0());
        }
        let long = cpu.long_mode();
        let mask = if long { u64::MAX } else { 0xffff_ffff };
        let flags = cpu.rflags() & !(VM | IF | RF);
        cpu.regs[RSP] = cpu.msrs.sysenter_esp & mask;
        cpu.enter_flat(selector, if long { CODE64 } else { CODE32 }, selector.wrapping_add(8), 0);
        cpu.load_rflags(flags);
        Ok(Then::Go(cpu.msrs.sysenter_eip & mask))
    })
}

/// SYSEXIT: `op.size` 3 returns to 64-bit mode, otherwise to 32-bit code.
pub(super) fn sysexit(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| {
        let selector = cpu.msrs.sysenter_cs as u16 & 0xfffc;
        if !cpu.protected() || selector == 0 || cpu.cpl != 0 {
            return Err(cpu.gp0());
        }
        let (rsp, rip) = (cpu.regs[RCX], cpu.regs[RDX]);
        if op.size == 3 && cpu.long_mode() {
            if !is_canonical(rsp) || !is_canonical(rip) {
                return Err(cpu.gp0());
            }
            cpu.regs[RSP] = rsp;
            cpu.enter_flat(selector.wrapping_add(32) | 3, CODE64, selector.wrapping_add(40) | 3, 3);
            return Ok(Then::Go(rip));
        }
        cpu.regs[RSP] = rsp & 0xffff_ffff;
        cpu.enter_flat(selector.wrapping_add(16) | 3, CODE32, selector.wrapping_add(24) | 3, 3);
        Ok(Then::Go(rip & 0xffff_ffff))
    })
}

/// SWAPGS.
pub(super) fn swapgs(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, _op| {
        if !cpu.mode.is_64() {
            return Err(cpu.ud());
        }
        if cpu.cpl != 0 {
            return Err(cpu.gp0());
        }
        std::mem::swap(&mut cpu.segs[GS].base, &mut cpu.msrs.kernel_gs_base);
        Ok(Then::Next)
    })
}

impl Cpu {
    fn need_fsgsbase(&mut self) -> Result<(), Fault> {
        if self.mode.is_64() && self.cr4 & CR4_FSGSBASE != 0 { Ok(()) } else { Err(self.ud()) }
    }

    fn read_base(&mut self, op: &Op, index: usize) -> Result<Then, Fault> {
        self.need_fsgsbase()?;
        self.write_gpr(op.dst, op.size, self.segs[index].base);
        Ok(Then::Next)
    }

    fn write_base(&mut self, op: &Op, index: usize) -> Result<Then, Fault> {
        self.need_fsgsbase()?;
        let mut base = self.regs[usize::from(op.dst & 15)];
        if op.size != 3 {
            base &= 0xffff_ffff;
        }
        if !is_canonical(base) {
            return Err(self.gp0());
        }
        self.segs[index].base = base;
        Ok(Then::Next)
    }
}

/// RDFSBASE.
pub(super) fn rdfsbase(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| cpu.read_base(op, FS))
}

/// RDGSBASE.
pub(super) fn rdgsbase(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| cpu.read_base(op, GS))
}

/// WRFSBASE.
pub(super) fn wrfsbase(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| cpu.write_base(op, FS))
}

/// WRGSBASE.
pub(super) fn wrgsbase(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| cpu.write_base(op, GS))
}
