//! What the SSE and MMX families share: who may execute them, and handlers generic over what an instruction computes.
//!
//! A row of a family's table names a mnemonic and the function of [`crate::simd`] that it computes; the macros
//! [`xmm_operation`] and `packed_operation!` make an operation of it and choose the handler by the kinds of the operands.

use guest_memory::{GuestMemory, Word};
use iced_x86::{Instruction, OpKind};
use x86_defs::Vector;

use super::operand::addressed;
use super::{Form, mmx, sse_move, sse_packed, sse_shuffle, sse_text};
use crate::Cpu;
use crate::cpu::CodeMode;
use crate::memory::Addressing;
use crate::op::{Fault, Flow, Handler, Op, attempt, next};

/// What an instruction computes of the XMM register it writes, its second operand and its immediate.
pub(crate) trait XmmOperation {
    /// The new value of the first operand. `cpu` is there for those that read XMM0 implicitly.
    fn apply(cpu: &Cpu, a: u128, b: u128, imm: u8) -> u128;
}

/// What lies in memory or a general register and is a part of an XMM register, or all of it.
pub(crate) trait Part: Word {
    /// The lowest part of `value`.
    fn low(value: u128) -> Self;
    /// Zero-extended.
    fn to_xmm(self) -> u128;
}

macro_rules! part {
    ($($ty:ty),*) => {$(
        impl Part for $ty {
            #[inline(always)]
            fn low(value: u128) -> Self {
                value as Self
            }
            #[inline(always)]
            fn to_xmm(self) -> u128 {
                u128::from(self)
            }
        }
    )*};
}
part!(u8, u16, u32, u64, u128);

/// An XMM register.
#[inline(always)]
pub(crate) fn xmm(cpu: &Cpu, register: u8) -> u128 {
    cpu.xmm[(register & 15) as usize]
}

/// Writes an XMM register.
#[inline(always)]
pub(crate) fn set_xmm(cpu: &mut Cpu, register: u8, value: u128) {
    cpu.xmm[(register & 15) as usize] = value;
}

/// Linear address of a 16-byte operand that has to be aligned: #GP(0) if it is not (SDM 1 11.3).
#[inline(always)]
pub(crate) fn aligned<M: Addressing>(cpu: &mut Cpu, op: &Op, write: bool) -> Result<u64, Fault> {
    let linear = M::linear(cpu, op, 16, write)?;
    if linear & 15 != 0 { Err(cpu.gp0()) } else { Ok(linear) }
}

#[inline(always)]
fn finish<O: XmmOperation>(cpu: &mut Cpu, op: &Op, b: u128) {
    let result = O::apply(cpu, xmm(cpu, op.dst), b, op.imm as u8);
    set_xmm(cpu, op.dst, result);
}

fn with_register<O: XmmOperation>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let b = xmm(cpu, ops[0].src);
    finish::<O>(cpu, &ops[0], b);
    next!(cpu, mem, ops)
}

/// The immediate is the second operand: shifts.
fn with_immediate<O: XmmOperation>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    finish::<O>(cpu, &ops[0], u128::from(ops[0].imm as u8));
    next!(cpu, mem, ops)
}

fn with_aligned_memory<O: XmmOperation, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    if let Ok(linear) = M::linear(cpu, op, 16, false)
        && linear & 15 == 0
        && let Some(b) = cpu.read_hit::<u128>(mem, linear)
    {
        finish::<O>(cpu, op, b);
        next!(cpu, mem, ops)
    } else {
        with_aligned_memory_slow::<O, M>(cpu, mem, ops)
    }
}

#[cold]
#[inline(never)]
fn with_aligned_memory_slow<O: XmmOperation, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, aligned::<M>(cpu, op, false));
    let b = attempt!(cpu, ops, cpu.read::<u128>(mem, linear, op.seg));
    finish::<O>(cpu, op, b);
    next!(cpu, mem, ops)
}

/// Memory operands of fewer than 16 bytes, and those of 16 that need no alignment.
pub(crate) fn with_memory<O: XmmOperation, T: Part, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let op = &ops[0];
    if let Ok(linear) = M::linear(cpu, op, T::SIZE, false)
        && let Some(b) = cpu.read_hit::<T>(mem, linear)
    {
        finish::<O>(cpu, op, b.to_xmm());
        next!(cpu, mem, ops)
    } else {
        with_memory_slow::<O, T, M>(cpu, mem, ops)
    }
}

#[cold]
#[inline(never)]
fn with_memory_slow<O: XmmOperation, T: Part, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, false));
    let b = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg));
    finish::<O>(cpu, op, b.to_xmm());
    next!(cpu, mem, ops)
}

/// The handler of `O`, whose memory operand, if any, is 16 aligned bytes.
pub(crate) fn xmm_form<O: XmmOperation>(instruction: &Instruction, form: Form) -> Handler {
    match instruction.op1_kind() {
        OpKind::Register => with_register::<O>,
        OpKind::Immediate8 => with_immediate::<O>,
        _ => addressed!(form, with_aligned_memory, O),
    }
}

/// The handler of `O`, whose memory operand, if any, is a `T` of any alignment.
pub(crate) fn xmm_part_form<O: XmmOperation, T: Part>(instruction: &Instruction, form: Form) -> Handler {
    match instruction.op1_kind() {
        OpKind::Register => with_register::<O>,
        _ => addressed!(form, with_memory, O, T),
    }
}

/// Makes an operation of `|a, b, imm| ...` or `|cpu, a, b, imm| ...` on XMM registers and gives its handler; with
/// `part T`, its memory operand is a `T` that needs no alignment.
macro_rules! xmm_operation {
    ($context:tt, part $part:ty, $function:expr) => {{
        $crate::exec::sse::xmm_operation!(@make $function);
        $crate::exec::sse::xmm_operation!(@part $context, $part)
    }};
    ($context:tt, implicit $function:expr) => {{
        struct Operation;
        impl $crate::exec::sse::XmmOperation for Operation {
            #[inline(always)]
            fn apply(cpu: &$crate::Cpu, a: u128, b: u128, _imm: u8) -> u128 {
                // Bits of XMM0 are the third operand.
                $function(a, b, cpu.xmm[0])
            }
        }
        $crate::exec::sse::xmm_operation!(@aligned $context)
    }};
    ($context:tt, $function:expr) => {{
        $crate::exec::sse::xmm_operation!(@make $function);
        $crate::exec::sse::xmm_operation!(@aligned $context)
    }};
    (@make $function:expr) => {
        struct Operation;
        impl $crate::exec::sse::XmmOperation for Operation {
            #[inline(always)]
            fn apply(_cpu: &$crate::Cpu, a: u128, b: u128, imm: u8) -> u128 {
                let function: fn(u128, u128, u8) -> u128 = $function;
                function(a, b, imm)
            }
        }
    };
    (@part ($instruction:ident, $form:ident), $part:ty) => {
        $crate::exec::sse::xmm_part_form::<Operation, $part>($instruction, $form)
    };
    (@aligned ($instruction:ident, $form:ident)) => {
        $crate::exec::sse::xmm_form::<Operation>($instruction, $form)
    };
}

pub(crate) use xmm_operation;

/// #UD, whatever the instruction.
pub(crate) fn undefined(cpu: &mut Cpu, _mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.ud();
    cpu.abort(&ops[0])
}

/// #NM, whatever the instruction.
fn not_available(cpu: &mut Cpu, _mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.raise_code(Vector::NM, 0);
    cpu.abort(&ops[0])
}

/// What happens instead of an SSE instruction in this mode, if it may not run (SDM 3A 13.1, table 13-1). These bits of CR0
/// and CR4 are part of a block's key, so that nothing is asked when it runs.
pub(crate) fn sse_fault(mode: CodeMode) -> Option<Handler> {
    if mode.0 & CodeMode::OSFXSR == 0 { Some(undefined) } else { mmx_fault(mode) }
}

/// The same for an MMX instruction, which does not need CR4.OSFXSR (SDM 3A 12.1).
pub(crate) fn mmx_fault(mode: CodeMode) -> Option<Handler> {
    if mode.0 & CodeMode::EM != 0 {
        Some(undefined)
    } else if mode.0 & CodeMode::TS != 0 {
        Some(not_available)
    } else {
        None
    }
}

/// Whether an operand is an XMM register, or MXCSR is what the instruction is about.
fn is_sse(instruction: &Instruction) -> bool {
    let count = instruction.op_count();
    (0..count).any(|i| instruction.op_kind(i) == OpKind::Register && instruction.op_register(i).is_xmm())
        || matches!(instruction.mnemonic(), iced_x86::Mnemonic::Ldmxcsr | iced_x86::Mnemonic::Stmxcsr)
}

/// The handlers of MMX and of SSE without its floating-point arithmetic.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, form: Form) -> Option<Handler> {
    let handler = sse_move::lower(instruction, op, form)
        .or_else(|| sse_packed::lower(instruction, form))
        .or_else(|| sse_shuffle::lower(instruction, form))
        .or_else(|| sse_text::lower(instruction, form))
        .or_else(|| mmx::lower(instruction, form))?;
    let fault = if is_sse(instruction) { sse_fault(form.mode) } else { mmx_fault(form.mode) };
    Some(fault.unwrap_or(handler))
}
