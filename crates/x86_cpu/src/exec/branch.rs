//! Near JMP, CALL, RET, LOOPcc and JrCXZ (SDM 2A/2B). Far transfers belong to `system`.

use guest_memory::GuestMemory;
use iced_x86::{Code, Instruction, Mnemonic, OpKind};
use x86_defs::gpr::RCX;

use super::Form;
use super::operand::Int;
use crate::Cpu;
use crate::memory::{Addressing, Flat, Segmented, cut_address};
use crate::op::{BLOCK_RIP, Fast, Fault, Flow, Handler, Op, Path, Slow, attempt, loaded, stored};

impl Cpu {
    /// Checks a near branch target: canonical in 64-bit mode, otherwise inside the limit of CS (#GP(0)).
    #[inline(always)]
    pub(crate) fn check_near_target(&mut self, target: u64) -> Result<(), Fault> {
        let good = if self.mode.is_64() {
            x86_defs::is_canonical(target)
        } else {
            target <= u64::from(self.segs[x86_defs::segment::index::CS].limit)
        };
        if good { Ok(()) } else { Err(self.gp0()) }
    }

    /// Target of a direct branch, cut to the operand size in `op.size`.
    #[inline(always)]
    fn direct_target(&self, op: &Op) -> u64 {
        let target = self.regs[BLOCK_RIP as usize].wrapping_add(op.imm);
        match op.size {
            3 => target,
            2 => target & 0xffff_ffff,
            _ => target & 0xffff,
        }
    }

    /// Takes a direct branch outside the fast form of 64-bit mode.
    pub(crate) fn jump_near_direct(&mut self, op: &Op) -> Flow {
        let target = self.direct_target(op);
        if self.check_near_target(target).is_err() {
            return self.abort(op);
        }
        self.take(op, target)
    }
}

/// JMP rel in 64-bit mode. A target that is not canonical faults at its fetch, as it can only lie 2 GiB away.
fn jump64(cpu: &mut Cpu, _mem: &GuestMemory, ops: &[Op]) -> Flow {
    let target = cpu.regs[BLOCK_RIP as usize].wrapping_add(ops[0].imm);
    cpu.take(&ops[0], target)
}

fn jump(cpu: &mut Cpu, _mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.jump_near_direct(&ops[0])
}

/// CALL rel in 64-bit mode.
#[inline(never)]
fn call64<P: Path>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let base = cpu.regs[BLOCK_RIP as usize];
    let back = base.wrapping_add(u64::from(op.end));
    let rsp = cpu.regs[x86_defs::gpr::RSP].wrapping_sub(8);
    stored!(P, cpu, mem, ops, rsp, back, x86_defs::segment::index::SS as u8, call64::<Slow>);
    cpu.regs[x86_defs::gpr::RSP] = rsp;
    cpu.take(op, base.wrapping_add(op.imm))
}

fn call<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let target = cpu.direct_target(op);
    attempt!(cpu, ops, cpu.check_near_target(target));
    attempt!(cpu, ops, cpu.push(mem, T::cut(cpu.next_ip(op))));
    cpu.take(op, target)
}

fn jump_register<T: Int>(cpu: &mut Cpu, _mem: &GuestMemory, ops: &[Op]) -> Flow {
    let target = T::get(cpu, ops[0].dst).zext();
    attempt!(cpu, ops, cpu.check_near_target(target));
    cpu.take_indirect(&ops[0], target)
}

fn jump_memory<T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, false));
    let target = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg)).zext();
    attempt!(cpu, ops, cpu.check_near_target(target));
    cpu.take_indirect(&ops[0], target)
}

fn call_register<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let target = T::get(cpu, ops[0].dst).zext();
    call_indirect::<T>(cpu, mem, ops, target)
}

fn call_memory<T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, false));
    let target = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg)).zext();
    call_indirect::<T>(cpu, mem, ops, target)
}

#[inline(always)]
fn call_indirect<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op], target: u64) -> Flow {
    attempt!(cpu, ops, cpu.check_near_target(target));
    let back = T::cut(cpu.next_ip(&ops[0]));
    attempt!(cpu, ops, cpu.push(mem, back));
    cpu.take_indirect(&ops[0], target)
}

/// RET, RET imm16: `imm` bytes are released beyond the return address.
fn ret<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let target = attempt!(cpu, ops, cpu.peek::<T>(mem, 0)).zext();
    attempt!(cpu, ops, cpu.check_near_target(target));
    cpu.release_stack(T::SIZE + (ops[0].imm & 0xffff));
    cpu.take_indirect(&ops[0], target)
}

/// RET in 64-bit mode.
#[inline(never)]
fn ret64<P: Path>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let rsp = cpu.regs[x86_defs::gpr::RSP];
    let target = loaded!(P, u64, cpu, mem, ops, rsp, x86_defs::segment::index::SS as u8, ret64::<Slow>);
    if P::SLOW {
        attempt!(cpu, ops, cpu.check_near_target(target));
    } else if !x86_defs::is_canonical(target) {
        return ret64::<Slow>(cpu, mem, ops);
    }
    cpu.regs[x86_defs::gpr::RSP] = rsp.wrapping_add(8);
    cpu.take_indirect(&ops[0], target)
}

/// LOOP (aux 0), LOOPE (aux 1), LOOPNE (aux 2).
fn loop_count(cpu: &mut Cpu, _mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let left = cut_address(op, cpu.address_register(op, RCX).wrapping_sub(1));
    let taken = left != 0
        && match op.aux {
            1 => cpu.flags.zero(),
            2 => !cpu.flags.zero(),
            _ => true,
        };
    let flow = if taken { cpu.jump_near_direct(op) } else { Flow::End };
    // The count changes only if the branch does not fault.
    if flow != Flow::Abort {
        cpu.set_address_register(op, RCX, left);
    }
    flow
}

fn jump_if_count_zero(cpu: &mut Cpu, _mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    if cpu.address_register(op, RCX) == 0 { cpu.jump_near_direct(op) } else { Flow::End }
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, form: Form) -> Option<Handler> {
    macro_rules! indirect {
        ($register:ident, $memory:ident) => {
            match (instruction.op0_kind(), op.size, form.flat) {
                (OpKind::Register, 1, _) => $register::<u16> as Handler,
                (OpKind::Register, 2, _) => $register::<u32>,
                (OpKind::Register, _, _) => $register::<u64>,
                (_, 1, _) => $memory::<u16, Segmented>,
                (_, 2, _) => $memory::<u32, Segmented>,
                (_, _, true) => $memory::<u64, Flat>,
                (_, _, false) => $memory::<u64, Segmented>,
            }
        };
    }
    Some(match instruction.mnemonic() {
        Mnemonic::Jmp if instruction.is_jmp_short_or_near() => {
            if op.size == 3 {
                jump64
            } else {
                jump
            }
        }
        Mnemonic::Jmp if instruction.is_jmp_near_indirect() => indirect!(jump_register, jump_memory),
        Mnemonic::Call if instruction.is_call_near() => match op.size {
            3 => call64::<Fast>,
            2 => call::<u32>,
            _ => call::<u16>,
        },
        Mnemonic::Call if instruction.is_call_near_indirect() => indirect!(call_register, call_memory),
        Mnemonic::Ret => match instruction.code() {
            Code::Retnq => ret64::<Fast>,
            Code::Retnq_imm16 => ret::<u64>,
            Code::Retnd | Code::Retnd_imm16 => ret::<u32>,
            _ => ret::<u16>,
        },
        Mnemonic::Loop => loop_count,
        Mnemonic::Loope => {
            op.aux = 1;
            loop_count
        }
        Mnemonic::Loopne => {
            op.aux = 2;
            loop_count
        }
        Mnemonic::Jcxz | Mnemonic::Jecxz | Mnemonic::Jrcxz => jump_if_count_zero,
        _ => return None,
    })
}
