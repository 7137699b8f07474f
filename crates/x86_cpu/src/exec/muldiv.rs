//! MUL, IMUL, DIV, IDIV and the sign extensions of the accumulator (SDM 2A).
//!
//! Undefined flags: MUL and IMUL leave SF, ZF, PF as of the low half of the result and AF 0; DIV and IDIV change none.

use guest_memory::GuestMemory;
use iced_x86::{Instruction, Mnemonic, OpKind};
use x86_defs::Vector;
use x86_defs::gpr::{RAX, RDX};

use super::Form;
use super::operand::{Int, sized, sized_memory};
use crate::Cpu;
use crate::memory::Addressing;
use crate::op::{Fault, Flow, HIGH_BYTE, Handler, Op, attempt, next};

/// An operation on the accumulator pair (AX, DX:AX, EDX:EAX, RDX:RAX) and one operand.
trait Wide {
    fn apply<T: Int>(cpu: &mut Cpu, operand: T) -> Result<(), Fault>;
}

/// Writes the accumulator pair.
#[inline(always)]
fn set_pair<T: Int>(cpu: &mut Cpu, low: T, high: T) {
    T::set(cpu, RAX as u8, low);
    T::set(cpu, if T::BITS == 8 { RAX as u8 | HIGH_BYTE } else { RDX as u8 }, high);
}

#[inline(always)]
fn high_register<T: Int>() -> u8 {
    if T::BITS == 8 { RAX as u8 | HIGH_BYTE } else { RDX as u8 }
}

struct Mul;
impl Wide for Mul {
    #[inline(always)]
    fn apply<T: Int>(cpu: &mut Cpu, operand: T) -> Result<(), Fault> {
        let product = u128::from(T::get(cpu, RAX as u8).zext()) * u128::from(operand.zext());
        let (low, high) = (T::cut(product as u64), T::cut((product >> T::BITS) as u64));
        set_pair(cpu, low, high);
        let spills = high.zext() != 0;
        cpu.flags.set_result_carry_overflow(low.sext(), spills, spills);
        Ok(())
    }
}

/// Product of two signed operands as (low half, high half, whether the high half is more than the sign of the low).
#[inline(always)]
fn signed_product<T: Int>(a: T, b: T) -> (T, T, bool) {
    let product = i128::from(a.sext().cast_signed()) * i128::from(b.sext().cast_signed());
    let low = T::cut(product as u64);
    let spills = product != i128::from(low.sext().cast_signed());
    (low, T::cut((product >> T::BITS) as u64), spills)
}

struct Imul;
impl Wide for Imul {
    #[inline(always)]
    fn apply<T: Int>(cpu: &mut Cpu, operand: T) -> Result<(), Fault> {
        let (low, high, spills) = signed_product(T::get(cpu, RAX as u8), operand);
        set_pair(cpu, low, high);
        cpu.flags.set_result_carry_overflow(low.sext(), spills, spills);
        Ok(())
    }
}

struct Div;
impl Wide for Div {
    #[inline(always)]
    fn apply<T: Int>(cpu: &mut Cpu, operand: T) -> Result<(), Fault> {
        let divisor = operand.zext();
        let (high, low) = (T::get(cpu, high_register::<T>()).zext(), T::get(cpu, RAX as u8).zext());
        // The quotient fits exactly if the high half is below the divisor.
        if high >= divisor {
            return Err(cpu.raise_code(Vector::DE, 0));
        }
        let (quotient, remainder) = if T::BITS < 64 {
            let dividend = (high << T::BITS) | low;
            (dividend / divisor, dividend % divisor)
        } else if high == 0 {
            (low / divisor, low % divisor)
        } else {
            let dividend = (u128::from(high) << 64) | u128::from(low);
            ((dividend / u128::from(divisor)) as u64, (dividend % u128::from(divisor)) as u64)
        };
        set_pair(cpu, T::cut(quotient), T::cut(remainder));
        Ok(())
    }
}

struct Idiv;
impl Wide for Idiv {
    #[inline(always)]
    fn apply<T: Int>(cpu: &mut Cpu, operand: T) -> Result<(), Fault> {
        let divisor = i128::from(operand.sext().cast_signed());
        let (high, low) = (T::get(cpu, high_register::<T>()), T::get(cpu, RAX as u8));
        let dividend = (i128::from(high.sext().cast_signed()) << T::BITS) | i128::from(low.zext());
        let (Some(quotient), Some(remainder)) =
            (dividend.checked_div(divisor), dividend.checked_rem(divisor))
        else {
            return Err(cpu.raise_code(Vector::DE, 0));
        };
        let cut = T::cut(quotient as u64);
        if i128::from(cut.sext().cast_signed()) != quotient {
            return Err(cpu.raise_code(Vector::DE, 0));
        }
        set_pair(cpu, cut, T::cut(remainder as u64));
        Ok(())
    }
}

fn wide_register<O: Wide, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let operand = T::get(cpu, ops[0].dst);
    attempt!(cpu, ops, O::apply(cpu, operand));
    next!(cpu, mem, ops)
}

fn wide_memory<O: Wide, T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, false));
    let operand = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg));
    attempt!(cpu, ops, O::apply(cpu, operand));
    next!(cpu, mem, ops)
}

#[inline(always)]
fn multiply_into<T: Int>(cpu: &mut Cpu, register: u8, a: T, b: T) {
    let (low, _, spills) = signed_product(a, b);
    T::set(cpu, register, low);
    cpu.flags.set_result_carry_overflow(low.sext(), spills, spills);
}

/// IMUL r, r (aux 0) and IMUL r, r, imm (aux 1).
fn imul_register<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let b = if op.aux != 0 { T::cut(op.imm) } else { T::get(cpu, op.dst) };
    let a = T::get(cpu, op.src);
    multiply_into(cpu, op.dst, a, b);
    next!(cpu, mem, ops)
}

fn imul_memory<T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, false));
    let a = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg));
    let b = if op.aux != 0 { T::cut(op.imm) } else { T::get(cpu, op.dst) };
    multiply_into(cpu, op.dst, a, b);
    next!(cpu, mem, ops)
}

/// IMUL of registers for flags that nobody can see.
fn quiet_imul<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let b = if op.aux != 0 { T::cut(op.imm) } else { T::get(cpu, op.dst) };
    let product = T::get(cpu, op.src).zext().wrapping_mul(b.zext());
    T::set(cpu, op.dst, T::cut(product));
    next!(cpu, mem, ops)
}

/// The twin of a handler of this family that leaves the flags alone; the operands are registers of 32 or 64 bits.
pub(crate) fn quiet(instruction: &Instruction, op: &Op) -> Option<Handler> {
    let registers = instruction.op0_kind() == OpKind::Register
        && instruction.op1_kind() == OpKind::Register
        && op.size >= 2;
    let handler: Handler = if op.size == 3 { quiet_imul::<u64> } else { quiet_imul::<u32> };
    // With one operand it is the widening form.
    let truncates = instruction.mnemonic() == Mnemonic::Imul && instruction.op_count() != 1;
    (truncates && registers).then_some(handler)
}

/// CBW, CWDE, CDQE: the lower half of the accumulator, sign-extended into all of it.
fn extend_accumulator<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let rax = cpu.regs[RAX];
    let half = 64 - T::BITS / 2;
    let value = ((rax << half).cast_signed() >> half).cast_unsigned();
    T::set(cpu, RAX as u8, T::cut(value));
    next!(cpu, mem, ops)
}

/// CWD, CDQ, CQO: the sign of the accumulator in every bit of DX.
fn spread_sign<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let sign = if T::get(cpu, RAX as u8).negative() { u64::MAX } else { 0 };
    T::set(cpu, RDX as u8, T::cut(sign));
    next!(cpu, mem, ops)
}

fn wide<O: Wide>(instruction: &Instruction, op: &Op, form: Form) -> Handler {
    if instruction.op0_kind() == OpKind::Memory {
        sized_memory!(form, op.size, wide_memory, O)
    } else {
        sized!(op.size, wide_register, O)
    }
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, form: Form) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        Mnemonic::Mul => wide::<Mul>(instruction, op, form),
        Mnemonic::Imul if instruction.op_count() == 1 => wide::<Imul>(instruction, op, form),
        Mnemonic::Imul => {
            op.aux = u8::from(instruction.op_count() == 3);
            if instruction.op1_kind() == OpKind::Memory {
                sized_memory!(form, op.size, imul_memory)
            } else {
                sized!(op.size, imul_register)
            }
        }
        Mnemonic::Div => wide::<Div>(instruction, op, form),
        Mnemonic::Idiv => wide::<Idiv>(instruction, op, form),
        Mnemonic::Cbw => extend_accumulator::<u16>,
        Mnemonic::Cwde => extend_accumulator::<u32>,
        Mnemonic::Cdqe => extend_accumulator::<u64>,
        Mnemonic::Cwd => spread_sign::<u16>,
        Mnemonic::Cdq => spread_sign::<u32>,
        Mnemonic::Cqo => spread_sign::<u64>,
        _ => return None,
    })
}
