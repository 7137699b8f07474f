//! PTEST and the string comparisons: what writes flags, ECX or XMM0 instead of its first operand.

use guest_memory::GuestMemory;
use iced_x86::{Instruction, Mnemonic, OpKind};
use x86_defs::gpr::{RAX, RCX, RDX};
use x86_defs::rflags::{CF, OF, SF, ZF};

use super::Form;
use super::operand::addressed;
use super::sse::{aligned, set_xmm, xmm};
use crate::Cpu;
use crate::memory::Addressing;
use crate::op::{Flow, Handler, Op, attempt, next};
use crate::simd::{Flags, logic, string_compare};

/// An instruction that reads two XMM operands and leaves its result elsewhere.
trait Effect {
    /// Whether a memory operand has to be aligned.
    const ALIGNED: bool;
    fn apply(cpu: &mut Cpu, a: u128, b: u128, imm: u8);
}

/// AF and PF are cleared.
fn set_flags(cpu: &mut Cpu, flags: Flags) {
    let bit = |set: bool, flag: u64| if set { flag } else { 0 };
    cpu.flags
        .load(bit(flags.carry, CF) | bit(flags.zero, ZF) | bit(flags.sign, SF) | bit(flags.overflow, OF));
}

struct Test;
impl Effect for Test {
    const ALIGNED: bool = true;
    fn apply(cpu: &mut Cpu, a: u128, b: u128, _imm: u8) {
        set_flags(cpu, logic::ptest(a, b));
    }
}

struct ImplicitIndex;
impl Effect for ImplicitIndex {
    const ALIGNED: bool = false;
    fn apply(cpu: &mut Cpu, a: u128, b: u128, imm: u8) {
        let (index, flags) = string_compare::pcmpistri(a, b, imm);
        cpu.regs[RCX] = u64::from(index);
        set_flags(cpu, flags);
    }
}

struct ImplicitMask;
impl Effect for ImplicitMask {
    const ALIGNED: bool = false;
    fn apply(cpu: &mut Cpu, a: u128, b: u128, imm: u8) {
        let (mask, flags) = string_compare::pcmpistrm(a, b, imm);
        set_xmm(cpu, 0, mask);
        set_flags(cpu, flags);
    }
}

/// The lengths in EAX and EDX, or RAX and RDX.
fn lengths<const WIDE: bool>(cpu: &Cpu) -> (i64, i64) {
    let length = |register: usize| {
        let value = cpu.regs[register];
        if WIDE { value.cast_signed() } else { i64::from((value as u32).cast_signed()) }
    };
    (length(RAX), length(RDX))
}

struct ExplicitIndex<const WIDE: bool>;
impl<const WIDE: bool> Effect for ExplicitIndex<WIDE> {
    const ALIGNED: bool = false;
    fn apply(cpu: &mut Cpu, a: u128, b: u128, imm: u8) {
        let (a_length, b_length) = lengths::<WIDE>(cpu);
        let (index, flags) = string_compare::pcmpestri(a, a_length, b, b_length, imm);
        cpu.regs[RCX] = u64::from(index);
        set_flags(cpu, flags);
    }
}

struct ExplicitMask<const WIDE: bool>;
impl<const WIDE: bool> Effect for ExplicitMask<WIDE> {
    const ALIGNED: bool = false;
    fn apply(cpu: &mut Cpu, a: u128, b: u128, imm: u8) {
        let (a_length, b_length) = lengths::<WIDE>(cpu);
        let (mask, flags) = string_compare::pcmpestrm(a, a_length, b, b_length, imm);
        set_xmm(cpu, 0, mask);
        set_flags(cpu, flags);
    }
}

fn with_register<E: Effect>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    E::apply(cpu, xmm(cpu, op.dst), xmm(cpu, op.src), op.imm as u8);
    next!(cpu, mem, ops)
}

fn with_memory<E: Effect, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = if E::ALIGNED { aligned::<M>(cpu, op, false) } else { M::linear(cpu, op, 16, false) };
    let linear = attempt!(cpu, ops, linear);
    let b = attempt!(cpu, ops, cpu.read::<u128>(mem, linear, op.seg));
    E::apply(cpu, xmm(cpu, op.dst), b, op.imm as u8);
    next!(cpu, mem, ops)
}

fn effect<E: Effect>(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op1_kind() == OpKind::Register {
        with_register::<E>
    } else {
        addressed!(form, with_memory, E)
    }
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, form: Form) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        Mnemonic::Ptest => effect::<Test>(instruction, form),
        Mnemonic::Pcmpistri => effect::<ImplicitIndex>(instruction, form),
        Mnemonic::Pcmpistrm => effect::<ImplicitMask>(instruction, form),
        Mnemonic::Pcmpestri => effect::<ExplicitIndex<false>>(instruction, form),
        Mnemonic::Pcmpestri64 => effect::<ExplicitIndex<true>>(instruction, form),
        Mnemonic::Pcmpestrm => effect::<ExplicitMask<false>>(instruction, form),
        Mnemonic::Pcmpestrm64 => effect::<ExplicitMask<true>>(instruction, form),
        _ => return None,
    })
}
