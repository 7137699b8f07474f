//! MOV, MOVZX, MOVSX, MOVSXD, LEA, XLAT, MOVBE, BSWAP, and the one-byte flag instructions.

use guest_memory::GuestMemory;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use x86_defs::gpr::{RAX, RBX};
use x86_defs::rflags::{self, DF};

use super::Form;
use super::operand::{Int, addressed, sized, sized_memory};
use crate::Cpu;
use crate::memory::Addressing;
use crate::op::{
    Fast, Flow, HIGH_BYTE, Handler, Op, Path, Slow, address, attempt, loaded, next, next_after_store,
    next_after_write, stored,
};

fn register<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    T::set(cpu, op.dst, T::get(cpu, op.src));
    next!(cpu, mem, ops)
}

fn immediate<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    T::set(cpu, op.dst, T::cut(op.imm));
    next!(cpu, mem, ops)
}

#[inline(never)]
fn load<P: Path, T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = address!(P, M, cpu, mem, ops, T::SIZE, false, load::<Slow, T, M>);
    let value = loaded!(P, T, cpu, mem, ops, linear, op.seg, load::<Slow, T, M>);
    T::set(cpu, op.dst, value);
    next!(cpu, mem, ops)
}

#[inline(never)]
fn store<P: Path, T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = address!(P, M, cpu, mem, ops, T::SIZE, true, store::<Slow, T, M>);
    let value = T::get(cpu, op.src);
    stored!(P, cpu, mem, ops, linear, value, op.seg, store::<Slow, T, M>);
    next_after_store!(P, cpu, mem, ops)
}

#[inline(never)]
fn store_immediate<P: Path, T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = address!(P, M, cpu, mem, ops, T::SIZE, true, store_immediate::<Slow, T, M>);
    let value = T::cut(op.imm);
    stored!(P, cpu, mem, ops, linear, value, op.seg, store_immediate::<Slow, T, M>);
    next_after_store!(P, cpu, mem, ops)
}

/// How a narrow value becomes a wide one.
trait Extend {
    fn extend<S: Int>(value: S) -> u64;
}
struct Zero;
impl Extend for Zero {
    #[inline(always)]
    fn extend<S: Int>(value: S) -> u64 {
        value.zext()
    }
}
struct Sign;
impl Extend for Sign {
    #[inline(always)]
    fn extend<S: Int>(value: S) -> u64 {
        value.sext()
    }
}

fn extend_register<E: Extend, S: Int, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    T::set(cpu, op.dst, T::cut(E::extend(S::get(cpu, op.src))));
    next!(cpu, mem, ops)
}

#[inline(never)]
fn extend_memory<P: Path, E: Extend, S: Int, T: Int, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let op = &ops[0];
    let linear = address!(P, M, cpu, mem, ops, S::SIZE, false, extend_memory::<Slow, E, S, T, M>);
    let value = loaded!(P, S, cpu, mem, ops, linear, op.seg, extend_memory::<Slow, E, S, T, M>);
    T::set(cpu, op.dst, T::cut(E::extend(value)));
    next!(cpu, mem, ops)
}

fn extension<E: Extend>(instruction: &Instruction, op: &Op, form: Form) -> Handler {
    let memory = instruction.op1_kind() == OpKind::Memory;
    let source = if memory {
        instruction.memory_size().size().trailing_zeros()
    } else {
        instruction.op1_register().size().trailing_zeros()
    };
    match (memory, source) {
        (false, 0) => sized!(op.size, extend_register, E, u8),
        (false, 1) => sized!(op.size, extend_register, E, u16),
        (false, _) => sized!(op.size, extend_register, E, u32),
        (true, 0) => sized_memory!(form, op.size, extend_memory, Fast, E, u8),
        (true, 1) => sized_memory!(form, op.size, extend_memory, Fast, E, u16),
        (true, _) => sized_memory!(form, op.size, extend_memory, Fast, E, u32),
    }
}

/// LEA with a 64-bit address and result.
fn lea64(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    cpu.regs[op.dst as usize] = cpu.effective_sum(op);
    next!(cpu, mem, ops)
}

fn lea<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let address = cpu.effective_address(op);
    T::set(cpu, op.dst, T::cut(address));
    next!(cpu, mem, ops)
}

/// XLAT: AL = [BX + AL]; the decoder gives the base, AL is added here.
fn xlat<M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    // The address is computed from a copy of the operation with AL as displacement.
    let mut with_al = ops[0];
    with_al.base = RBX as u8;
    with_al.index = crate::op::ZERO;
    with_al.disp = cpu.regs[RAX] & 0xff;
    let linear = attempt!(cpu, ops, M::linear(cpu, &with_al, 1, false));
    let value = attempt!(cpu, ops, cpu.read::<u8>(mem, linear, with_al.seg));
    u8::set(cpu, RAX as u8, value);
    next!(cpu, mem, ops)
}

/// Bytes in reverse.
#[inline(always)]
fn reverse<T: Int>(value: T) -> T {
    T::cut(value.zext().swap_bytes() >> (64 - T::BITS))
}

/// BSWAP; of a 16-bit register, where the manual leaves the result undefined, it gives 0 as processors do.
fn bswap<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let value = if T::BITS == 16 { T::cut(0) } else { reverse(T::get(cpu, op.dst)) };
    T::set(cpu, op.dst, value);
    next!(cpu, mem, ops)
}

fn movbe_load<T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, false));
    let value = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg));
    T::set(cpu, op.dst, reverse(value));
    next!(cpu, mem, ops)
}

fn movbe_store<T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, true));
    attempt!(cpu, ops, cpu.write(mem, linear, reverse(T::get(cpu, op.src)), op.seg));
    next_after_write!(cpu, mem, ops)
}

fn nop(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    next!(cpu, mem, ops)
}

/// PAUSE: a processor that spins gives way if L0 asks for it.
fn pause(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    if cpu.controls.pause_exits() {
        cpu.post(crate::Exit::Pause);
        return cpu.stop(&ops[0]);
    }
    next!(cpu, mem, ops)
}

fn clc(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.flags.set_carry(false);
    next!(cpu, mem, ops)
}

fn stc(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.flags.set_carry(true);
    next!(cpu, mem, ops)
}

fn cmc(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let carry = cpu.flags.carry();
    cpu.flags.set_carry(!carry);
    next!(cpu, mem, ops)
}

fn cld(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.system_flags &= !DF;
    next!(cpu, mem, ops)
}

fn std(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.system_flags |= DF;
    next!(cpu, mem, ops)
}

fn lahf(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let ah = (cpu.flags.bits() | rflags::FIXED_1) as u8;
    u8::set(cpu, RAX as u8 | HIGH_BYTE, ah);
    next!(cpu, mem, ops)
}

fn sahf(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let ah = u64::from(u8::get(cpu, RAX as u8 | HIGH_BYTE));
    let kept = cpu.flags.bits() & rflags::OF;
    cpu.flags.load((ah & rflags::STATUS & !rflags::OF) | kept);
    next!(cpu, mem, ops)
}

/// SALC (undocumented, D6): AL = CF ? 0xff : 0.
fn salc(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let value = if cpu.flags.carry() { 0xff } else { 0 };
    u8::set(cpu, RAX as u8, value);
    next!(cpu, mem, ops)
}

/// The handlers of this family. MOV of segment, control and debug registers belongs to `system`.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, form: Form) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        Mnemonic::Mov => {
            let general = |register: Register| register.is_gpr() || register == Register::None;
            if !general(instruction.op0_register()) || !general(instruction.op1_register()) {
                return None;
            }
            match (instruction.op0_kind(), instruction.op1_kind()) {
                (OpKind::Register, OpKind::Register) => sized!(op.size, register),
                (OpKind::Register, OpKind::Memory) => sized_memory!(form, op.size, load, Fast),
                (OpKind::Memory, OpKind::Register) => sized_memory!(form, op.size, store, Fast),
                (OpKind::Memory, _) => sized_memory!(form, op.size, store_immediate, Fast),
                _ => sized!(op.size, immediate),
            }
        }
        // There are no caches past which a non-temporal store could go.
        Mnemonic::Movnti => sized_memory!(form, op.size, store, Fast),
        Mnemonic::Movzx => extension::<Zero>(instruction, op, form),
        Mnemonic::Movsx | Mnemonic::Movsxd => {
            // MOVSXD without REX.W moves 32 (or 16) bits without extending anything.
            let source = match instruction.op1_kind() {
                OpKind::Memory => instruction.memory_size().size(),
                _ => instruction.op1_register().size(),
            };
            match (source >= 1 << op.size, instruction.op1_kind()) {
                (false, _) => extension::<Sign>(instruction, op, form),
                (true, OpKind::Memory) => sized_memory!(form, op.size, load, Fast),
                (true, _) => sized!(op.size, register),
            }
        }
        Mnemonic::Lea => {
            if op.size == 3 && op.address_size == 3 {
                lea64
            } else {
                sized!(op.size, lea)
            }
        }
        Mnemonic::Xlatb => {
            let form = Form { flat: form.flat && op.address_size == 3, ..form };
            addressed!(form, xlat)
        }
        Mnemonic::Bswap => sized!(op.size, bswap),
        Mnemonic::Movbe => {
            if instruction.op1_kind() == OpKind::Memory {
                sized_memory!(form, op.size, movbe_load)
            } else {
                sized_memory!(form, op.size, movbe_store)
            }
        }
        Mnemonic::Nop | Mnemonic::Reservednop | Mnemonic::Endbr64 | Mnemonic::Endbr32 => nop,
        Mnemonic::Pause => pause,
        Mnemonic::Clc => clc,
        Mnemonic::Stc => stc,
        Mnemonic::Cmc => cmc,
        Mnemonic::Cld => cld,
        Mnemonic::Std => std,
        Mnemonic::Lahf => lahf,
        Mnemonic::Sahf => sahf,
        Mnemonic::Salc => salc,
        _ => return None,
    })
}
