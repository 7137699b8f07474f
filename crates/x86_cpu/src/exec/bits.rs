//! BT, BTS, BTR, BTC, BSF, BSR (SDM 2A).

use guest_memory::GuestMemory;
use iced_x86::{Instruction, Mnemonic, OpKind};

use super::Form;
use super::operand::Int;
use crate::Cpu;
use crate::memory::{Addressing, Flat, Segmented, cut_address};
use crate::op::{Flow, Handler, Op, attempt, next, next_after_write};

/// What becomes of the bit that was tested.
trait Change {
    const STORES: bool;
    fn apply(value: u64, bit: u64) -> u64;
}

macro_rules! change {
    ($name:ident, $stores:literal, |$value:ident, $bit:ident| $body:expr) => {
        struct $name;
        impl Change for $name {
            const STORES: bool = $stores;
            #[inline(always)]
            fn apply($value: u64, $bit: u64) -> u64 {
                $body
            }
        }
    };
}

change!(Keep, false, |value, _bit| value);
change!(Set, true, |value, bit| value | bit);
change!(Reset, true, |value, bit| value & !bit);
change!(Complement, true, |value, bit| value ^ bit);

/// Bit number: the immediate if `aux` is not 0, else the register.
#[inline(always)]
fn number<T: Int>(cpu: &Cpu, op: &Op) -> T {
    if op.aux != 0 { T::cut(op.imm) } else { T::get(cpu, op.src) }
}

fn test_register<C: Change, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let bit = 1_u64 << (number::<T>(cpu, op).zext() & u64::from(T::BITS - 1));
    let value = T::get(cpu, op.dst).zext();
    cpu.flags.set_carry(value & bit != 0);
    if C::STORES {
        T::set(cpu, op.dst, T::cut(C::apply(value, bit)));
    }
    next!(cpu, mem, ops)
}

/// A bit number in a register is a signed offset from the operand's address; an immediate stays inside the operand.
fn test_memory<C: Change, T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let number = number::<T>(cpu, op);
    let bit = 1_u64 << (number.zext() & u64::from(T::BITS - 1));
    let linear = if op.aux != 0 {
        attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, C::STORES))
    } else {
        // The byte offset joins the effective address before the segment does (SDM 2A BT).
        let words = number.sext().cast_signed() >> T::BITS.trailing_zeros();
        let bytes = words.wrapping_mul(T::SIZE.cast_signed()).cast_unsigned();
        let offset = cut_address(op, cpu.effective_sum(op).wrapping_add(bytes));
        attempt!(cpu, ops, cpu.data_linear(op.seg, offset, T::SIZE, C::STORES))
    };
    if C::STORES {
        let changed = cpu.modify::<T>(mem, linear, op.seg, |cpu, value| {
            cpu.flags.set_carry(value.zext() & bit != 0);
            T::cut(C::apply(value.zext(), bit))
        });
        attempt!(cpu, ops, changed);
        next_after_write!(cpu, mem, ops)
    } else {
        let value = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg));
        cpu.flags.set_carry(value.zext() & bit != 0);
        next!(cpu, mem, ops)
    }
}

/// BSF, BSR: with a source of 0 the destination keeps its value (what processors do and the manual leaves undefined) and only
/// ZF is set among the flags that are defined.
#[inline(always)]
fn scan<T: Int, const REVERSE: bool>(cpu: &mut Cpu, op: &Op, value: T) {
    let source = value.zext();
    // CF, OF, SF, AF and PF are undefined: they are those of the source as a logical result.
    cpu.flags.set_logic(value.sext());
    if source != 0 {
        let found = if REVERSE { 63 - source.leading_zeros() } else { source.trailing_zeros() };
        T::set(cpu, op.dst, T::cut(u64::from(found)));
    }
}

fn scan_register<T: Int, const REVERSE: bool>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let value = T::get(cpu, op.src);
    scan::<T, REVERSE>(cpu, op, value);
    next!(cpu, mem, ops)
}

fn scan_memory<T: Int, const REVERSE: bool>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, Segmented::linear(cpu, op, T::SIZE, false));
    let value = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg));
    scan::<T, REVERSE>(cpu, op, value);
    next!(cpu, mem, ops)
}

fn test<C: Change>(instruction: &Instruction, op: &mut Op, form: Form) -> Handler {
    op.aux = u8::from(instruction.op1_kind() != OpKind::Register);
    match (instruction.op0_kind(), op.size, form.flat) {
        (OpKind::Memory, 1, true) => test_memory::<C, u16, Flat>,
        (OpKind::Memory, 2, true) => test_memory::<C, u32, Flat>,
        (OpKind::Memory, _, true) => test_memory::<C, u64, Flat>,
        (OpKind::Memory, 1, false) => test_memory::<C, u16, Segmented>,
        (OpKind::Memory, 2, false) => test_memory::<C, u32, Segmented>,
        (OpKind::Memory, _, false) => test_memory::<C, u64, Segmented>,
        (_, 1, _) => test_register::<C, u16>,
        (_, 2, _) => test_register::<C, u32>,
        _ => test_register::<C, u64>,
    }
}

fn scanning<const REVERSE: bool>(instruction: &Instruction, op: &Op) -> Handler {
    match (instruction.op1_kind(), op.size) {
        (OpKind::Memory, 1) => scan_memory::<u16, REVERSE>,
        (OpKind::Memory, 2) => scan_memory::<u32, REVERSE>,
        (OpKind::Memory, _) => scan_memory::<u64, REVERSE>,
        (_, 1) => scan_register::<u16, REVERSE>,
        (_, 2) => scan_register::<u32, REVERSE>,
        _ => scan_register::<u64, REVERSE>,
    }
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, form: Form) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        Mnemonic::Bt => test::<Keep>(instruction, op, form),
        Mnemonic::Bts => test::<Set>(instruction, op, form),
        Mnemonic::Btr => test::<Reset>(instruction, op, form),
        Mnemonic::Btc => test::<Complement>(instruction, op, form),
        Mnemonic::Bsf => scanning::<false>(instruction, op),
        Mnemonic::Bsr => scanning::<true>(instruction, op),
        _ => return None,
    })
}
