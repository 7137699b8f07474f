//! MMX: handlers generic over what an instruction computes, moves and EMMS (SDM 1 9).
//!
//! The registers are the mantissas of the x87 registers. Every instruction but EMMS resets the top of the x87 stack and
//! marks all registers valid, once nothing can fault any more (SDM 1 9.5.1); an x87 exception that waits is reported
//! first (SDM 1 9.5.2).

use guest_memory::GuestMemory;
use iced_x86::{Code, Instruction, OpKind, Register};
use x86_defs::Vector;

use super::Form;
use super::operand::{Int, addressed};
use super::sse::{Part, set_xmm, xmm};
use crate::Cpu;
use crate::memory::Addressing;
use crate::op::{Fault, Flow, Handler, Op, attempt, next, next_after_write};
use crate::simd::{logic, shuffle};

/// What an instruction computes of the MMX register it writes, its second operand and its immediate.
pub(crate) trait MmxOperation {
    /// The new value of the first operand.
    fn apply(a: u64, b: u64, imm: u8) -> u64;
}

/// #MF if an x87 exception waits.
#[inline(always)]
pub(crate) fn check_pending(cpu: &mut Cpu) -> Result<(), Fault> {
    if cpu.x87.is_error_pending() { Err(cpu.raise_code(Vector::MF, 0)) } else { Ok(()) }
}

#[inline(always)]
fn finish<O: MmxOperation>(cpu: &mut Cpu, op: &Op, b: u64) {
    let result = O::apply(cpu.x87.mmx(op.dst), b, op.imm as u8);
    cpu.x87.enter_mmx();
    cpu.x87.set_mmx(op.dst, result);
}

fn with_register<O: MmxOperation>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, check_pending(cpu));
    let b = cpu.x87.mmx(op.src);
    finish::<O>(cpu, op, b);
    next!(cpu, mem, ops)
}

/// The immediate is the second operand: shifts.
fn with_immediate<O: MmxOperation>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, check_pending(cpu));
    finish::<O>(cpu, op, u64::from(op.imm as u8));
    next!(cpu, mem, ops)
}

fn with_memory<O: MmxOperation, T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, check_pending(cpu));
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, false));
    let b = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg));
    finish::<O>(cpu, op, b.zext());
    next!(cpu, mem, ops)
}

fn with_general<O: MmxOperation, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, check_pending(cpu));
    let b = T::get(cpu, op.src).zext();
    finish::<O>(cpu, op, b);
    next!(cpu, mem, ops)
}

/// The handler of `O`.
pub(crate) fn mmx_form<O: MmxOperation>(instruction: &Instruction, form: Form) -> Handler {
    match instruction.op1_kind() {
        OpKind::Register => with_register::<O>,
        OpKind::Immediate8 => with_immediate::<O>,
        // PUNPCKL* have operands of 32 bits in memory.
        _ if instruction.memory_size().size() == 4 => addressed!(form, with_memory, O, u32),
        _ => addressed!(form, with_memory, O, u64),
    }
}

/// Makes an operation of `|a, b, imm| ...` on MMX registers and gives its handler.
macro_rules! mmx_operation {
    (($instruction:ident, $form:ident), $function:expr) => {{
        struct Operation;
        impl $crate::exec::mmx::MmxOperation for Operation {
            #[inline(always)]
            fn apply(a: u64, b: u64, imm: u8) -> u64 {
                let function: fn(u64, u64, u8) -> u64 = $function;
                function(a, b, imm)
            }
        }
        $crate::exec::mmx::mmx_form::<Operation>($instruction, $form)
    }};
}

pub(crate) use mmx_operation;

/// The second operand.
struct Take;
impl MmxOperation for Take {
    #[inline(always)]
    fn apply(_a: u64, b: u64, _imm: u8) -> u64 {
        b
    }
}

struct InsertWord;
impl MmxOperation for InsertWord {
    #[inline(always)]
    fn apply(a: u64, b: u64, imm: u8) -> u64 {
        shuffle::pinsrw_mmx(a, b as u16, imm)
    }
}

fn store<T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, check_pending(cpu));
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, true));
    attempt!(cpu, ops, cpu.write(mem, linear, T::cut(cpu.x87.mmx(op.src)), op.seg));
    cpu.x87.enter_mmx();
    next_after_write!(cpu, mem, ops)
}

/// What an instruction computes of an MMX register for a general-purpose one.
trait Extract {
    fn apply(a: u64, imm: u8) -> u64;
}

macro_rules! extract {
    ($name:ident, |$a:ident, $imm:pat_param| $value:expr) => {
        struct $name;
        impl Extract for $name {
            #[inline(always)]
            fn apply($a: u64, $imm: u8) -> u64 {
                $value
            }
        }
    };
}
extract!(Low32, |a, _| a & 0xffff_ffff);
extract!(All, |a, _| a);
extract!(Signs, |a, _| u64::from(logic::pmovmskb_mmx(a)));
extract!(ExtractWord, |a, imm| u64::from(shuffle::pextrw_mmx(a, imm)));

fn to_general<E: Extract>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, check_pending(cpu));
    cpu.regs[(op.dst & 15) as usize] = E::apply(cpu.x87.mmx(op.src), op.imm as u8);
    cpu.x87.enter_mmx();
    next!(cpu, mem, ops)
}

fn movq2dq(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, check_pending(cpu));
    let value = cpu.x87.mmx(op.src).to_xmm();
    cpu.x87.enter_mmx();
    set_xmm(cpu, op.dst, value);
    next!(cpu, mem, ops)
}

fn movdq2q(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, check_pending(cpu));
    let value = xmm(cpu, op.src) as u64;
    cpu.x87.enter_mmx();
    cpu.x87.set_mmx(op.dst, value);
    next!(cpu, mem, ops)
}

fn emms(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    attempt!(cpu, ops, check_pending(cpu));
    cpu.x87.leave_mmx();
    next!(cpu, mem, ops)
}

/// PINSRW and MOVD, MOVQ from a general-purpose register or memory.
fn from_general<O: MmxOperation, R: Int, T: Int>(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op1_kind() == OpKind::Register {
        with_general::<O, R>
    } else {
        addressed!(form, with_memory, O, T)
    }
}

/// The moves of this family.
pub(crate) fn lower(instruction: &Instruction, form: Form) -> Option<Handler> {
    Some(match instruction.code() {
        Code::Movq_mm_mmm64 => mmx_form::<Take>(instruction, form),
        Code::Movd_mm_rm32 => from_general::<Take, u32, u32>(instruction, form),
        Code::Movq_mm_rm64 => from_general::<Take, u64, u64>(instruction, form),
        Code::Pinsrw_mm_r32m16_imm8 | Code::Pinsrw_mm_r64m16_imm8 => {
            from_general::<InsertWord, u16, u16>(instruction, form)
        }
        Code::Movd_rm32_mm | Code::Movq_rm64_mm | Code::Movq_mmm64_mm | Code::Movntq_m64_mm => {
            let wide = instruction.code() != Code::Movd_rm32_mm;
            match (instruction.op0_kind(), instruction.op0_register()) {
                (OpKind::Memory, Register::None) if wide => addressed!(form, store, u64),
                (OpKind::Memory, _) => addressed!(form, store, u32),
                (_, register) if register.is_mm() => with_register::<Take>,
                _ if wide => to_general::<All>,
                _ => to_general::<Low32>,
            }
        }
        Code::Pmovmskb_r32_mm | Code::Pmovmskb_r64_mm => to_general::<Signs>,
        Code::Pextrw_r32_mm_imm8 | Code::Pextrw_r64_mm_imm8 => to_general::<ExtractWord>,
        Code::Movq2dq_xmm_mm => movq2dq,
        Code::Movdq2q_mm_xmm => movdq2q,
        Code::Emms => emms,
        _ => return None,
    })
}
