//! SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD, SHRD (SDM 2B). The count is masked to 5 bits, 6 with a 64-bit operand; a count
//! of 0 changes no flag.
//!
//! Where the manual leaves a flag undefined: OF of a count above 1 is computed as for 1; AF is cleared by shifts.

use guest_memory::GuestMemory;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use x86_defs::gpr::RCX;

use super::Form;
use super::operand::{Int, sized, sized_memory};
use crate::Cpu;
use crate::memory::Addressing;
use crate::op::{Flow, Handler, Op, attempt, next, next_after_write};

/// A shift or rotation by a count that is already masked and not 0.
trait Shift {
    fn apply<T: Int>(cpu: &mut Cpu, a: T, count: u32) -> T;
}

macro_rules! shift {
    ($name:ident, |$cpu:ident, $a:ident, $count:ident, $T:ident| $body:block) => {
        struct $name;
        impl Shift for $name {
            #[inline(always)]
            fn apply<$T: Int>($cpu: &mut Cpu, $a: $T, $count: u32) -> $T $body
        }
    };
}

shift!(Shl, |cpu, a, count, T| {
    let wide = u128::from(a.zext()) << count;
    let result = T::cut(wide as u64);
    let carry = (wide >> T::BITS) & 1 != 0;
    cpu.flags.set_result_carry_overflow(result.sext(), carry, result.negative() != carry);
    result
});
shift!(Shr, |cpu, a, count, T| {
    let value = a.zext();
    let result = T::cut(value.checked_shr(count).unwrap_or(0));
    let carry = value.checked_shr(count - 1).unwrap_or(0) & 1 != 0;
    cpu.flags.set_result_carry_overflow(result.sext(), carry, a.negative());
    result
});
shift!(Sar, |cpu, a, count, T| {
    let value = a.sext().cast_signed();
    let result = T::cut((value >> count.min(63)).cast_unsigned());
    let carry = (value >> (count - 1).min(63)) & 1 != 0;
    cpu.flags.set_result_carry_overflow(result.sext(), carry, false);
    result
});
shift!(Rol, |cpu, a, count, T| {
    let by = count % T::BITS;
    let value = a.zext();
    let result = if by == 0 { a } else { T::cut((value << by) | (value >> (T::BITS - by))) };
    let carry = result.zext() & 1 != 0;
    cpu.flags.set_carry_and_overflow(carry, result.negative() != carry);
    result
});
shift!(Ror, |cpu, a, count, T| {
    let by = count % T::BITS;
    let value = a.zext();
    let result = if by == 0 { a } else { T::cut((value >> by) | (value << (T::BITS - by))) };
    let carry = result.negative();
    let below = (result.zext() >> (T::BITS - 2)) & 1 != 0;
    cpu.flags.set_carry_and_overflow(carry, carry != below);
    result
});
shift!(Rcl, |cpu, a, count, T| {
    let by = count % (T::BITS + 1);
    let mut wide = u128::from(a.zext()) | (u128::from(cpu.flags.carry()) << T::BITS);
    let mask = (1_u128 << (T::BITS + 1)) - 1;
    if by != 0 {
        wide = ((wide << by) | (wide >> (T::BITS + 1 - by))) & mask;
    }
    let result = T::cut(wide as u64);
    let carry = (wide >> T::BITS) & 1 != 0;
    cpu.flags.set_carry_and_overflow(carry, result.negative() != carry);
    result
});
shift!(Rcr, |cpu, a, count, T| {
    let by = count % (T::BITS + 1);
    let mut wide = u128::from(a.zext()) | (u128::from(cpu.flags.carry()) << T::BITS);
    let mask = (1_u128 << (T::BITS + 1)) - 1;
    if by != 0 {
        wide = ((wide >> by) | (wide << (T::BITS + 1 - by))) & mask;
    }
    let result = T::cut(wide as u64);
    let carry = (wide >> T::BITS) & 1 != 0;
    let below = (result.zext() >> (T::BITS - 2)) & 1 != 0;
    cpu.flags.set_carry_and_overflow(carry, result.negative() != below);
    result
});

/// The count, masked for the operand size.
#[inline(always)]
fn masked<T: Int>(count: u64) -> u32 {
    count as u32 & if T::BITS == 64 { 63 } else { 31 }
}

fn register_immediate<S: Shift, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let count = masked::<T>(op.imm);
    let a = T::get(cpu, op.dst);
    let result = if count == 0 { a } else { S::apply(cpu, a, count) };
    T::set(cpu, op.dst, result);
    next!(cpu, mem, ops)
}

fn register_cl<S: Shift, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let count = masked::<T>(cpu.regs[RCX]);
    let a = T::get(cpu, op.dst);
    let result = if count == 0 { a } else { S::apply(cpu, a, count) };
    T::set(cpu, op.dst, result);
    next!(cpu, mem, ops)
}

/// A memory operand is written back even if the count is 0, as processors do.
#[inline(always)]
fn memory_by<S: Shift, T: Int, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
    count: u32,
) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, true));
    let shifted =
        cpu.modify::<T>(mem, linear, op.seg, |cpu, a| if count == 0 { a } else { S::apply(cpu, a, count) });
    attempt!(cpu, ops, shifted);
    next_after_write!(cpu, mem, ops)
}

fn memory_immediate<S: Shift, T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let count = masked::<T>(ops[0].imm);
    memory_by::<S, T, M>(cpu, mem, ops, count)
}

fn memory_cl<S: Shift, T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let count = masked::<T>(cpu.regs[RCX]);
    memory_by::<S, T, M>(cpu, mem, ops, count)
}

/// SHLD of `a` by `count` with bits from `b`. With a 16-bit operand and a count above 16, where the manual leaves the result
/// undefined, the bits of `b` and then of `a` follow again.
#[inline(always)]
fn double_left<T: Int>(cpu: &mut Cpu, a: T, b: T, count: u32) -> T {
    let (high, low) = (u128::from(a.zext()), u128::from(b.zext()));
    let bits = T::BITS;
    // a : b : a, so that counts up to 31 have bits to bring in with a 16-bit operand.
    let wide = if bits == 16 { (high << 32) | (low << 16) | high } else { (high << bits) | low };
    let top = if bits == 16 { 48 } else { 2 * bits };
    let result = T::cut(((wide << count) >> (top - bits)) as u64);
    let carry = (wide >> (top - count)) & 1 != 0;
    cpu.flags.set_result_carry_overflow(result.sext(), carry, result.negative() != a.negative());
    result
}

/// SHRD, likewise.
#[inline(always)]
fn double_right<T: Int>(cpu: &mut Cpu, a: T, b: T, count: u32) -> T {
    let (low, high) = (u128::from(a.zext()), u128::from(b.zext()));
    let bits = T::BITS;
    let wide = if bits == 16 { (low << 32) | (high << 16) | low } else { (high << bits) | low };
    let result = T::cut((wide >> count) as u64);
    let carry = (wide >> (count - 1)) & 1 != 0;
    cpu.flags.set_result_carry_overflow(result.sext(), carry, result.negative() != a.negative());
    result
}

/// Count of SHLD/SHRD: CL if `aux` is not 0, else the immediate.
#[inline(always)]
fn double_count<T: Int>(cpu: &Cpu, op: &Op) -> u32 {
    masked::<T>(if op.aux != 0 { cpu.regs[RCX] } else { op.imm })
}

#[inline(always)]
fn double<T: Int, const LEFT: bool>(cpu: &mut Cpu, a: T, b: T, count: u32) -> T {
    if count == 0 {
        a
    } else if LEFT {
        double_left(cpu, a, b, count)
    } else {
        double_right(cpu, a, b, count)
    }
}

fn double_register<T: Int, const LEFT: bool>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let count = double_count::<T>(cpu, op);
    let (a, b) = (T::get(cpu, op.dst), T::get(cpu, op.src));
    let result = double::<T, LEFT>(cpu, a, b, count);
    T::set(cpu, op.dst, result);
    next!(cpu, mem, ops)
}

fn double_memory<T: Int, M: Addressing, const LEFT: bool>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let op = &ops[0];
    let count = double_count::<T>(cpu, op);
    let b = T::get(cpu, op.src);
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, true));
    attempt!(cpu, ops, cpu.modify::<T>(mem, linear, op.seg, |cpu, a| double::<T, LEFT>(cpu, a, b, count)));
    next_after_write!(cpu, mem, ops)
}

fn shift<S: Shift>(instruction: &Instruction, op: &Op, form: Form) -> Handler {
    let by_cl = instruction.op1_kind() == OpKind::Register && instruction.op1_register() == Register::CL;
    match (instruction.op0_kind(), by_cl) {
        (OpKind::Memory, true) => sized_memory!(form, op.size, memory_cl, S),
        (OpKind::Memory, false) => sized_memory!(form, op.size, memory_immediate, S),
        (_, true) => sized!(op.size, register_cl, S),
        (_, false) => sized!(op.size, register_immediate, S),
    }
}

fn double_shift<const LEFT: bool>(instruction: &Instruction, op: &mut Op, form: Form) -> Handler {
    use crate::memory::{Flat, Segmented};
    op.aux = u8::from(instruction.op2_kind() == OpKind::Register);
    match (instruction.op0_kind(), op.size, form.flat) {
        (OpKind::Memory, 1, true) => double_memory::<u16, Flat, LEFT>,
        (OpKind::Memory, 2, true) => double_memory::<u32, Flat, LEFT>,
        (OpKind::Memory, _, true) => double_memory::<u64, Flat, LEFT>,
        (OpKind::Memory, 1, false) => double_memory::<u16, Segmented, LEFT>,
        (OpKind::Memory, 2, false) => double_memory::<u32, Segmented, LEFT>,
        (OpKind::Memory, _, false) => double_memory::<u64, Segmented, LEFT>,
        (_, 1, _) => double_register::<u16, LEFT>,
        (_, 2, _) => double_register::<u32, LEFT>,
        _ => double_register::<u64, LEFT>,
    }
}

/// SHL, SHR and SAR of a register by an immediate that is not 0, for flags that nobody can see.
fn quiet_shift<T: Int, const KIND: u8>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let count = masked::<T>(op.imm);
    let a = T::get(cpu, op.dst);
    let result = match KIND {
        0 => a.zext() << count,
        1 => a.zext() >> count,
        _ => (a.sext().cast_signed() >> count).cast_unsigned(),
    };
    T::set(cpu, op.dst, T::cut(result));
    next!(cpu, mem, ops)
}

/// The twin of a handler of this family that leaves the flags alone; the operand is a register of 32 or 64 bits and the count
/// an immediate.
pub(crate) fn quiet(instruction: &Instruction, op: &Op) -> Option<Handler> {
    if op.size < 2
        || instruction.op0_kind() != OpKind::Register
        || instruction.op1_kind() == OpKind::Register
        || instruction.op_count() != 2
    {
        return None;
    }
    Some(match (instruction.mnemonic(), op.size) {
        (Mnemonic::Shl | Mnemonic::Sal, 2) => quiet_shift::<u32, 0>,
        (Mnemonic::Shl | Mnemonic::Sal, _) => quiet_shift::<u64, 0>,
        (Mnemonic::Shr, 2) => quiet_shift::<u32, 1>,
        (Mnemonic::Shr, _) => quiet_shift::<u64, 1>,
        (Mnemonic::Sar, 2) => quiet_shift::<u32, 2>,
        (Mnemonic::Sar, _) => quiet_shift::<u64, 2>,
        _ => return None,
    })
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, form: Form) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal => shift::<Shl>(instruction, op, form),
        Mnemonic::Shr => shift::<Shr>(instruction, op, form),
        Mnemonic::Sar => shift::<Sar>(instruction, op, form),
        Mnemonic::Rol => shift::<Rol>(instruction, op, form),
        Mnemonic::Ror => shift::<Ror>(instruction, op, form),
        Mnemonic::Rcl => shift::<Rcl>(instruction, op, form),
        Mnemonic::Rcr => shift::<Rcr>(instruction, op, form),
        Mnemonic::Shld => double_shift::<true>(instruction, op, form),
        Mnemonic::Shrd => double_shift::<false>(instruction, op, form),
        _ => return None,
    })
}
