//! ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT (SDM 2A/2B).

use guest_memory::GuestMemory;
use iced_x86::{Instruction, Mnemonic, OpKind};

use super::Form;
use super::operand::{Int, sized, sized_memory};
use crate::Cpu;
use crate::memory::Addressing;
use crate::op::{Fast, Flow, Handler, Op, Path, Slow, address, attempt, loaded, next, next_after_store};

/// An operation of two operands that sets the status flags.
pub(crate) trait Binary {
    /// Whether the result is stored (not by CMP and TEST).
    const STORES: bool;
    /// The result; the flags are set.
    fn apply<T: Int>(cpu: &mut Cpu, a: T, b: T) -> T;
}

/// An operation whose result needs no flags.
trait Plain {
    /// The result; no flag changes.
    fn plain(a: u64, b: u64) -> u64;
}

macro_rules! plain {
    ($($name:ident: |$a:ident, $b:ident| $body:expr;)*) => {
        $(impl Plain for $name {
            #[inline(always)]
            fn plain($a: u64, $b: u64) -> u64 {
                $body
            }
        })*
    };
}

plain! {
    Add: |a, b| a.wrapping_add(b);
    Sub: |a, b| a.wrapping_sub(b);
    And: |a, b| a & b;
    Or: |a, b| a | b;
    Xor: |a, b| a ^ b;
}

/// Flags of `a + b + carry = result`.
#[inline(always)]
fn add_flags<T: Int>(cpu: &mut Cpu, a: u64, b: u64, result: u64) {
    let carries = (a & b) | ((a | b) & !result);
    cpu.flags.set(T::BITS, T::cut(result).sext(), carries);
}

/// Flags of `a - b - borrow = result`.
#[inline(always)]
fn subtract_flags<T: Int>(cpu: &mut Cpu, a: u64, b: u64, result: u64) {
    let borrows = (!a & b) | ((!a | b) & result);
    cpu.flags.set(T::BITS, T::cut(result).sext(), borrows);
}

macro_rules! binary {
    ($(#[$doc:meta])* $name:ident, $stores:literal, |$cpu:ident, $a:ident, $b:ident, $T:ident| $body:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name;
        impl Binary for $name {
            const STORES: bool = $stores;
            #[inline(always)]
            fn apply<$T: Int>($cpu: &mut Cpu, $a: $T, $b: $T) -> $T {
                let ($a, $b) = ($a.zext(), $b.zext());
                $T::cut($body)
            }
        }
    };
}

binary!(
    /// ADD.
    Add, true, |cpu, a, b, T| {
        let result = a.wrapping_add(b);
        add_flags::<T>(cpu, a, b, result);
        result
    }
);
binary!(
    /// ADC.
    Adc, true, |cpu, a, b, T| {
        let result = a.wrapping_add(b).wrapping_add(u64::from(cpu.flags.carry()));
        add_flags::<T>(cpu, a, b, result);
        result
    }
);
binary!(
    /// SUB.
    Sub, true, |cpu, a, b, T| {
        let result = a.wrapping_sub(b);
        subtract_flags::<T>(cpu, a, b, result);
        result
    }
);
binary!(
    /// SBB.
    Sbb, true, |cpu, a, b, T| {
        let result = a.wrapping_sub(b).wrapping_sub(u64::from(cpu.flags.carry()));
        subtract_flags::<T>(cpu, a, b, result);
        result
    }
);
binary!(
    /// CMP.
    Cmp, false, |cpu, a, b, T| {
        let result = a.wrapping_sub(b);
        subtract_flags::<T>(cpu, a, b, result);
        result
    }
);
binary!(
    /// AND.
    And, true, |cpu, a, b, T| {
        let result = a & b;
        cpu.flags.set_logic(T::cut(result).sext());
        result
    }
);
binary!(
    /// OR.
    Or, true, |cpu, a, b, T| {
        let result = a | b;
        cpu.flags.set_logic(T::cut(result).sext());
        result
    }
);
binary!(
    /// XOR.
    Xor, true, |cpu, a, b, T| {
        let result = a ^ b;
        cpu.flags.set_logic(T::cut(result).sext());
        result
    }
);
binary!(
    /// TEST.
    Test, false, |cpu, a, b, T| {
        let result = a & b;
        cpu.flags.set_logic(T::cut(result).sext());
        result
    }
);

fn register_register<O: Binary, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let result = O::apply(cpu, T::get(cpu, op.dst), T::get(cpu, op.src));
    if O::STORES {
        T::set(cpu, op.dst, result);
    }
    next!(cpu, mem, ops)
}

fn register_immediate<O: Binary, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let result = O::apply(cpu, T::get(cpu, op.dst), T::cut(op.imm));
    if O::STORES {
        T::set(cpu, op.dst, result);
    }
    next!(cpu, mem, ops)
}

#[inline(never)]
fn register_memory<P: Path, O: Binary, T: Int, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let op = &ops[0];
    let linear = address!(P, M, cpu, mem, ops, T::SIZE, false, register_memory::<Slow, O, T, M>);
    let b = loaded!(P, T, cpu, mem, ops, linear, op.seg, register_memory::<Slow, O, T, M>);
    let result = O::apply(cpu, T::get(cpu, op.dst), b);
    if O::STORES {
        T::set(cpu, op.dst, result);
    }
    next!(cpu, mem, ops)
}

/// An operation on memory with `b`; a miss goes to `slow`.
#[inline(always)]
fn memory_with<P: Path, O: Binary, T: Int, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
    b: T,
    slow: Handler,
) -> Flow {
    let op = &ops[0];
    let linear = address!(P, M, cpu, mem, ops, T::SIZE, O::STORES, slow);
    if !O::STORES {
        let a = loaded!(P, T, cpu, mem, ops, linear, op.seg, slow);
        O::apply(cpu, a, b);
        return next!(cpu, mem, ops);
    }
    if P::SLOW {
        attempt!(cpu, ops, cpu.modify::<T>(mem, linear, op.seg, |cpu, a| O::apply(cpu, a, b)));
    } else {
        let Some(offset) = cpu.write_hit::<T>(linear) else { return slow(cpu, mem, ops) };
        let result = O::apply(cpu, mem.load(offset), b);
        mem.store(offset, result);
    }
    next_after_store!(P, cpu, mem, ops)
}

#[inline(never)]
fn memory_register<P: Path, O: Binary, T: Int, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let b = T::get(cpu, ops[0].src);
    memory_with::<P, O, T, M>(cpu, mem, ops, b, memory_register::<Slow, O, T, M>)
}

#[inline(never)]
fn memory_immediate<P: Path, O: Binary, T: Int, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let b = T::cut(ops[0].imm);
    memory_with::<P, O, T, M>(cpu, mem, ops, b, memory_immediate::<Slow, O, T, M>)
}

/// XOR or SUB of a register with itself: the register becomes 0 whatever was in it.
fn zero_register(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.regs[ops[0].dst as usize] = 0;
    cpu.flags.set_logic(0);
    next!(cpu, mem, ops)
}

/// TEST of a register with itself: flags of the register alone.
fn test_self<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let value = T::get(cpu, ops[0].dst);
    cpu.flags.set_logic(value.sext());
    next!(cpu, mem, ops)
}

fn quiet_register<O: Plain, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let result = O::plain(T::get(cpu, op.dst).zext(), T::get(cpu, op.src).zext());
    T::set(cpu, op.dst, T::cut(result));
    next!(cpu, mem, ops)
}

fn quiet_immediate<O: Plain, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let result = O::plain(T::get(cpu, op.dst).zext(), op.imm);
    T::set(cpu, op.dst, T::cut(result));
    next!(cpu, mem, ops)
}

fn quiet_zero(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.regs[ops[0].dst as usize] = 0;
    next!(cpu, mem, ops)
}

/// The twin of a handler of this family that leaves the flags alone, for an operation whose flags nobody can see; the operands
/// are registers of 32 or 64 bits.
pub(crate) fn quiet(instruction: &Instruction, op: &Op) -> Option<Handler> {
    fn pick<O: Plain>(wide: bool, immediate: bool) -> Handler {
        match (wide, immediate) {
            (false, false) => quiet_register::<O, u32>,
            (false, true) => quiet_immediate::<O, u32>,
            (true, false) => quiet_register::<O, u64>,
            (true, true) => quiet_immediate::<O, u64>,
        }
    }
    let immediate = instruction.op1_kind() != OpKind::Register;
    if op.size < 2 || instruction.op0_kind() != OpKind::Register || instruction.op1_kind() == OpKind::Memory {
        return None;
    }
    let wide = op.size == 3;
    Some(match instruction.mnemonic() {
        Mnemonic::Xor | Mnemonic::Sub if !immediate && op.dst == op.src => quiet_zero,
        Mnemonic::Add => pick::<Add>(wide, immediate),
        Mnemonic::Sub => pick::<Sub>(wide, immediate),
        Mnemonic::And => pick::<And>(wide, immediate),
        Mnemonic::Or => pick::<Or>(wide, immediate),
        Mnemonic::Xor => pick::<Xor>(wide, immediate),
        _ => return None,
    })
}

/// An operation of one operand.
trait Unary {
    fn apply<T: Int>(cpu: &mut Cpu, a: T) -> T;
}

/// INC: CF stays.
struct Inc;
impl Unary for Inc {
    #[inline(always)]
    fn apply<T: Int>(cpu: &mut Cpu, a: T) -> T {
        let carry = cpu.flags.carry();
        let result = a.zext().wrapping_add(1);
        add_flags::<T>(cpu, a.zext(), 1, result);
        cpu.flags.set_carry(carry);
        T::cut(result)
    }
}

/// DEC: CF stays.
struct Dec;
impl Unary for Dec {
    #[inline(always)]
    fn apply<T: Int>(cpu: &mut Cpu, a: T) -> T {
        let carry = cpu.flags.carry();
        let result = a.zext().wrapping_sub(1);
        subtract_flags::<T>(cpu, a.zext(), 1, result);
        cpu.flags.set_carry(carry);
        T::cut(result)
    }
}

/// NEG.
struct Neg;
impl Unary for Neg {
    #[inline(always)]
    fn apply<T: Int>(cpu: &mut Cpu, a: T) -> T {
        let result = 0_u64.wrapping_sub(a.zext());
        subtract_flags::<T>(cpu, 0, a.zext(), result);
        T::cut(result)
    }
}

/// NOT: no flags.
struct Not;
impl Unary for Not {
    #[inline(always)]
    fn apply<T: Int>(_cpu: &mut Cpu, a: T) -> T {
        T::cut(!a.zext())
    }
}

fn unary_register<O: Unary, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let result = O::apply(cpu, T::get(cpu, op.dst));
    T::set(cpu, op.dst, result);
    next!(cpu, mem, ops)
}

#[inline(never)]
fn unary_memory<P: Path, O: Unary, T: Int, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let op = &ops[0];
    let linear = address!(P, M, cpu, mem, ops, T::SIZE, true, unary_memory::<Slow, O, T, M>);
    if P::SLOW {
        attempt!(cpu, ops, cpu.modify::<T>(mem, linear, op.seg, |cpu, a| O::apply(cpu, a)));
    } else {
        let Some(offset) = cpu.write_hit::<T>(linear) else {
            return unary_memory::<Slow, O, T, M>(cpu, mem, ops);
        };
        let result = O::apply(cpu, mem.load::<T>(offset));
        mem.store(offset, result);
    }
    next_after_store!(P, cpu, mem, ops)
}

fn binary<O: Binary>(instruction: &Instruction, op: &Op, form: Form) -> Handler {
    let immediate = instruction.op1_kind() != OpKind::Register && instruction.op1_kind() != OpKind::Memory;
    match (instruction.op0_kind(), instruction.op1_kind()) {
        (OpKind::Memory, _) if immediate => sized_memory!(form, op.size, memory_immediate, Fast, O),
        (OpKind::Memory, _) => sized_memory!(form, op.size, memory_register, Fast, O),
        (_, OpKind::Memory) => sized_memory!(form, op.size, register_memory, Fast, O),
        _ if immediate => sized!(op.size, register_immediate, O),
        _ => sized!(op.size, register_register, O),
    }
}

fn unary<O: Unary>(instruction: &Instruction, op: &Op, form: Form) -> Handler {
    if instruction.op0_kind() == OpKind::Memory {
        sized_memory!(form, op.size, unary_memory, Fast, O)
    } else {
        sized!(op.size, unary_register, O)
    }
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, form: Form) -> Option<Handler> {
    let same_register = instruction.op0_kind() == OpKind::Register
        && instruction.op1_kind() == OpKind::Register
        && op.dst == op.src;
    Some(match instruction.mnemonic() {
        Mnemonic::Xor | Mnemonic::Sub if same_register && op.size >= 2 => zero_register,
        Mnemonic::Test if same_register => sized!(op.size, test_self),
        Mnemonic::Add => binary::<Add>(instruction, op, form),
        Mnemonic::Or => binary::<Or>(instruction, op, form),
        Mnemonic::Adc => binary::<Adc>(instruction, op, form),
        Mnemonic::Sbb => binary::<Sbb>(instruction, op, form),
        Mnemonic::And => binary::<And>(instruction, op, form),
        Mnemonic::Sub => binary::<Sub>(instruction, op, form),
        Mnemonic::Xor => binary::<Xor>(instruction, op, form),
        Mnemonic::Cmp => binary::<Cmp>(instruction, op, form),
        Mnemonic::Test => binary::<Test>(instruction, op, form),
        Mnemonic::Inc => unary::<Inc>(instruction, op, form),
        Mnemonic::Dec => unary::<Dec>(instruction, op, form),
        Mnemonic::Neg => unary::<Neg>(instruction, op, form),
        Mnemonic::Not => unary::<Not>(instruction, op, form),
        _ => return None,
    })
}
