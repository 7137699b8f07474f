//! PUSH, POP, PUSHA, POPA, ENTER, LEAVE (SDM 2A/2B). PUSHF and POPF belong to `system`.

use guest_memory::GuestMemory;
use iced_x86::{Code, Instruction, Mnemonic, OpKind};
use x86_defs::gpr::{RBP, RSP};
use x86_defs::segment::index::SS;

use super::Form;
use super::operand::Int;
use crate::Cpu;
use crate::memory::{Addressing, Flat, Segmented};
use crate::op::{
    Fast, Fault, Flow, Handler, Op, Path, Slow, attempt, loaded, next, next_after_store, next_after_write,
    stored,
};

/// PUSH r64 in 64-bit mode.
#[inline(never)]
fn push64_register<P: Path>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let value = cpu.regs[ops[0].dst as usize];
    let rsp = cpu.regs[RSP].wrapping_sub(8);
    stored!(P, cpu, mem, ops, rsp, value, SS as u8, push64_register::<Slow>);
    cpu.regs[RSP] = rsp;
    next_after_store!(P, cpu, mem, ops)
}

/// POP r64 in 64-bit mode.
#[inline(never)]
fn pop64_register<P: Path>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let rsp = cpu.regs[RSP];
    let value = loaded!(P, u64, cpu, mem, ops, rsp, SS as u8, pop64_register::<Slow>);
    cpu.regs[RSP] = rsp.wrapping_add(8);
    cpu.regs[ops[0].dst as usize] = value;
    next!(cpu, mem, ops)
}

fn push_register<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let value = T::get(cpu, ops[0].dst);
    attempt!(cpu, ops, cpu.push(mem, value));
    next_after_write!(cpu, mem, ops)
}

fn push_immediate<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    attempt!(cpu, ops, cpu.push(mem, T::cut(ops[0].imm)));
    next_after_write!(cpu, mem, ops)
}

fn push_memory<T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, false));
    let value = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg));
    attempt!(cpu, ops, cpu.push(mem, value));
    next_after_write!(cpu, mem, ops)
}

/// PUSH of a segment register: the selector, zero-extended. With a 32-bit operand only 16 bits are written, as processors
/// since the Pentium Pro do (SDM 2B PUSH).
fn push_segment<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let selector = cpu.segs[(ops[0].dst & 7) as usize].selector;
    if T::BITS == 32 {
        let rsp = cpu.regs[RSP];
        let new = cpu.wrap_stack(rsp, rsp.wrapping_sub(4));
        let linear = attempt!(cpu, ops, cpu.stack_linear(new, 2, true));
        attempt!(cpu, ops, cpu.write(mem, linear, selector, SS as u8));
        cpu.regs[RSP] = new;
    } else {
        attempt!(cpu, ops, cpu.push(mem, T::cut(u64::from(selector))));
    }
    next_after_write!(cpu, mem, ops)
}

fn pop_register<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let value = attempt!(cpu, ops, cpu.peek::<T>(mem, 0));
    cpu.release_stack(T::SIZE);
    T::set(cpu, ops[0].dst, value);
    next!(cpu, mem, ops)
}

/// POP to memory: an address that uses RSP is computed after RSP has moved (SDM 2B POP).
fn pop_memory<T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let value = attempt!(cpu, ops, cpu.peek::<T>(mem, 0));
    let rsp = cpu.regs[RSP];
    cpu.release_stack(T::SIZE);
    let stored = M::linear(cpu, op, T::SIZE, true).and_then(|linear| cpu.write(mem, linear, value, op.seg));
    if stored == Err(Fault) {
        cpu.regs[RSP] = rsp;
        return cpu.abort(op);
    }
    next_after_write!(cpu, mem, ops)
}

/// PUSHA, PUSHAD: nothing moves unless all eight stores succeed.
fn push_all<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let rsp = cpu.regs[RSP];
    // SDM 2B PUSHA: in real and virtual-8086 mode these stack pointers give #GP, where the pushes would meet a stack fault.
    let offset = if cpu.mode.0 & crate::cpu::CodeMode::STACK32 != 0 { rsp } else { rsp & 0xffff };
    if (!cpu.protected() || cpu.v86()) && matches!(offset, 7 | 9 | 11 | 13 | 15) {
        cpu.gp0();
        return cpu.abort(&ops[0]);
    }
    for register in 0..8_u8 {
        let value = if register == RSP as u8 { T::cut(rsp) } else { T::get(cpu, register) };
        if cpu.push(mem, value) == Err(Fault) {
            cpu.regs[RSP] = rsp;
            return cpu.abort(&ops[0]);
        }
    }
    next_after_write!(cpu, mem, ops)
}

/// POPA, POPAD: the stack pointer's image is skipped.
fn pop_all<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let mut values = [T::default(); 8];
    for (slot, value) in values.iter_mut().enumerate() {
        *value = attempt!(cpu, ops, cpu.peek::<T>(mem, slot as u64 * T::SIZE));
    }
    for (slot, value) in values.into_iter().enumerate() {
        let register = 7 - slot;
        if register != RSP {
            T::set(cpu, register as u8, value);
        }
    }
    cpu.release_stack(8 * T::SIZE);
    next!(cpu, mem, ops)
}

/// LEAVE: RSP = RBP, then RBP is popped; nothing moves if that faults.
fn leave<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let rsp = cpu.regs[RSP];
    cpu.regs[RSP] = cpu.wrap_stack(rsp, cpu.regs[RBP]);
    match cpu.peek::<T>(mem, 0) {
        Ok(value) => {
            cpu.release_stack(T::SIZE);
            T::set(cpu, RBP as u8, value);
            next!(cpu, mem, ops)
        }
        Err(Fault) => {
            cpu.regs[RSP] = rsp;
            cpu.abort(&ops[0])
        }
    }
}

/// ENTER: `imm` bits 15:0 are the frame size, `aux` the nesting level.
fn enter<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let (rsp, rbp) = (cpu.regs[RSP], cpu.regs[RBP]);
    match enter_frame::<T>(cpu, mem, (op.imm & 0xffff, op.aux & 31)) {
        Ok(()) => next_after_write!(cpu, mem, ops),
        Err(Fault) => {
            cpu.regs[RSP] = rsp;
            cpu.regs[RBP] = rbp;
            cpu.abort(op)
        }
    }
}

fn enter_frame<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, (size, level): (u64, u8)) -> Result<(), Fault> {
    cpu.push(mem, T::get(cpu, RBP as u8))?;
    let frame = cpu.regs[RSP];
    if level > 0 {
        for _ in 1..level {
            let rbp = cpu.regs[RBP];
            cpu.regs[RBP] = cpu.wrap_stack(rbp, rbp.wrapping_sub(T::SIZE));
            let linear = cpu.stack_linear(cpu.regs[RBP], T::SIZE, false)?;
            let value = cpu.read::<T>(mem, linear, SS as u8)?;
            cpu.push(mem, value)?;
        }
        cpu.push(mem, T::cut(frame))?;
    }
    // The frame's last byte must be writable (SDM 2A ENTER: the stack is checked as if by a write).
    let rsp = cpu.regs[RSP];
    let new = cpu.wrap_stack(rsp, rsp.wrapping_sub(size));
    let linear = cpu.stack_linear(new, T::SIZE, true)?;
    cpu.probe_write(mem, linear, T::SIZE, SS as u8)?;
    cpu.regs[RSP] = new;
    match T::BITS {
        16 => u16::set(cpu, RBP as u8, frame as u16),
        32 => u32::set(cpu, RBP as u8, frame as u32),
        _ => cpu.regs[RBP] = frame,
    }
    Ok(())
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, form: Form) -> Option<Handler> {
    let segment = instruction.op0_register().is_segment_register();
    // Width of the value: iced knows it from the code, whatever the operand kind is.
    let width = instruction.stack_pointer_increment().unsigned_abs();
    macro_rules! by_width {
        ($f:ident $(, $arg:ty)*) => {
            match width {
                2 => $f::<u16 $(, $arg)*> as Handler,
                4 => $f::<u32 $(, $arg)*>,
                _ => $f::<u64 $(, $arg)*>,
            }
        };
    }
    let fast = form.mode.is_64() && width == 8;
    Some(match (instruction.mnemonic(), instruction.op0_kind()) {
        (Mnemonic::Push, OpKind::Register) if segment => by_width!(push_segment),
        (Mnemonic::Push, OpKind::Register) if fast => push64_register::<Fast>,
        (Mnemonic::Push, OpKind::Register) => by_width!(push_register),
        (Mnemonic::Push, OpKind::Memory) if form.flat => by_width!(push_memory, Flat),
        (Mnemonic::Push, OpKind::Memory) => by_width!(push_memory, Segmented),
        (Mnemonic::Push, _) => by_width!(push_immediate),
        (Mnemonic::Pop, OpKind::Register) if segment => return None,
        (Mnemonic::Pop, OpKind::Register) if fast => pop64_register::<Fast>,
        (Mnemonic::Pop, OpKind::Register) => by_width!(pop_register),
        (Mnemonic::Pop, _) if form.flat => by_width!(pop_memory, Flat),
        (Mnemonic::Pop, _) => by_width!(pop_memory, Segmented),
        (Mnemonic::Pusha, _) => push_all::<u16>,
        (Mnemonic::Pushad, _) => push_all::<u32>,
        (Mnemonic::Popa, _) => pop_all::<u16>,
        (Mnemonic::Popad, _) => pop_all::<u32>,
        (Mnemonic::Leave, _) => match instruction.code() {
            Code::Leavew => leave::<u16>,
            Code::Leaved => leave::<u32>,
            _ => leave::<u64>,
        },
        (Mnemonic::Enter, _) => {
            op.imm = u64::from(instruction.immediate16());
            op.aux = instruction.immediate8_2nd();
            match instruction.code() {
                Code::Enterw_imm16_imm8 => enter::<u16>,
                Code::Enterd_imm16_imm8 => enter::<u32>,
                _ => enter::<u64>,
            }
        }
        _ => return None,
    })
}
