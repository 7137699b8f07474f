//! XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B (SDM 2A/2D). Processors of a machine run one at a time, so every one of them is
//! atomic with or without LOCK.

use guest_memory::GuestMemory;
use iced_x86::{Instruction, Mnemonic, OpKind};
use x86_defs::gpr::{RAX, RBX, RCX, RDX};

use super::Form;
use super::arith::{Add, Binary, Cmp};
use super::operand::{Int, addressed, sized, sized_memory};
use crate::Cpu;
use crate::memory::Addressing;
use crate::op::{Flow, Handler, Op, attempt, next, next_after_write};

fn xchg_register<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let (a, b) = (T::get(cpu, op.dst), T::get(cpu, op.src));
    T::set(cpu, op.dst, b);
    T::set(cpu, op.src, a);
    next!(cpu, mem, ops)
}

fn xchg_memory<T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, true));
    let exchanged = cpu.modify::<T>(mem, linear, op.seg, |cpu, old| {
        let new = T::get(cpu, op.src);
        T::set(cpu, op.src, old);
        new
    });
    attempt!(cpu, ops, exchanged);
    next_after_write!(cpu, mem, ops)
}

fn xadd_register<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let (a, b) = (T::get(cpu, op.dst), T::get(cpu, op.src));
    let sum = Add::apply(cpu, a, b);
    T::set(cpu, op.src, a);
    T::set(cpu, op.dst, sum);
    next!(cpu, mem, ops)
}

fn xadd_memory<T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, true));
    let added = cpu.modify::<T>(mem, linear, op.seg, |cpu, old| {
        let b = T::get(cpu, op.src);
        let sum = Add::apply(cpu, old, b);
        T::set(cpu, op.src, old);
        sum
    });
    attempt!(cpu, ops, added);
    next_after_write!(cpu, mem, ops)
}

fn cmpxchg_register<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let (accumulator, old) = (T::get(cpu, RAX as u8), T::get(cpu, op.dst));
    Cmp::apply(cpu, accumulator, old);
    if accumulator == old {
        let new = T::get(cpu, op.src);
        T::set(cpu, op.dst, new);
    } else {
        T::set(cpu, RAX as u8, old);
    }
    next!(cpu, mem, ops)
}

/// CMPXCHG of memory: the destination is written in any case, its old value if the comparison failed (SDM 2A CMPXCHG).
fn cmpxchg_memory<T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, true));
    let exchanged = cpu.modify::<T>(mem, linear, op.seg, |cpu, old| {
        let accumulator = T::get(cpu, RAX as u8);
        Cmp::apply(cpu, accumulator, old);
        if accumulator == old {
            T::get(cpu, op.src)
        } else {
            T::set(cpu, RAX as u8, old);
            old
        }
    });
    attempt!(cpu, ops, exchanged);
    next_after_write!(cpu, mem, ops)
}

fn cmpxchg8b<M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, 8, true));
    let exchanged = cpu.modify::<u64>(mem, linear, op.seg, |cpu, old| {
        let pair =
            |cpu: &Cpu, high: usize, low: usize| (cpu.regs[high] << 32) | (cpu.regs[low] & 0xffff_ffff);
        let equal = pair(cpu, RDX, RAX) == old;
        cpu.flags.set_zero(equal);
        if equal {
            pair(cpu, RCX, RBX)
        } else {
            u32::set(cpu, RAX as u8, old as u32);
            u32::set(cpu, RDX as u8, (old >> 32) as u32);
            old
        }
    });
    attempt!(cpu, ops, exchanged);
    next_after_write!(cpu, mem, ops)
}

/// CMPXCHG16B: the operand must be aligned to 16 bytes (#GP(0)).
fn cmpxchg16b<M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, 16, true));
    if linear % 16 != 0 {
        cpu.gp0();
        return cpu.abort(op);
    }
    let exchanged = cpu.modify::<u128>(mem, linear, op.seg, |cpu, old| {
        let pair = |cpu: &Cpu, high: usize, low: usize| {
            (u128::from(cpu.regs[high]) << 64) | u128::from(cpu.regs[low])
        };
        let equal = pair(cpu, RDX, RAX) == old;
        cpu.flags.set_zero(equal);
        if equal {
            pair(cpu, RCX, RBX)
        } else {
            cpu.regs[RAX] = old as u64;
            cpu.regs[RDX] = (old >> 64) as u64;
            old
        }
    });
    attempt!(cpu, ops, exchanged);
    next_after_write!(cpu, mem, ops)
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, form: Form) -> Option<Handler> {
    let memory = instruction.op0_kind() == OpKind::Memory;
    Some(match instruction.mnemonic() {
        Mnemonic::Xchg if memory => sized_memory!(form, op.size, xchg_memory),
        Mnemonic::Xchg if instruction.op1_kind() == OpKind::Memory => {
            op.src = op.dst;
            sized_memory!(form, op.size, xchg_memory)
        }
        Mnemonic::Xchg => sized!(op.size, xchg_register),
        Mnemonic::Xadd if memory => sized_memory!(form, op.size, xadd_memory),
        Mnemonic::Xadd => sized!(op.size, xadd_register),
        Mnemonic::Cmpxchg if memory => sized_memory!(form, op.size, cmpxchg_memory),
        Mnemonic::Cmpxchg => sized!(op.size, cmpxchg_register),
        Mnemonic::Cmpxchg8b => addressed!(form, cmpxchg8b),
        Mnemonic::Cmpxchg16b => addressed!(form, cmpxchg16b),
        _ => return None,
    })
}
