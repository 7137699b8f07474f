//! The handlers of operations, a file per family.
//!
//! Each family has one function `lower`, which the decoder asks: given an instruction whose operands are already in `op`, it
//! returns the handler, or nothing if the instruction is not of the family. Handlers are generic over the operation, the
//! operand type and the addressing form, so that what is known when an instruction is decoded is not asked when it runs.

pub(crate) mod arith;
pub(crate) mod bits;
pub(crate) mod bmi;
pub(crate) mod branch;
pub(crate) mod cond;
pub(crate) mod decimal;
pub(crate) mod exchange;
#[cfg(test)]
mod float_tests;
pub(crate) mod fused;
pub(crate) mod mmx;
pub(crate) mod mov;
pub(crate) mod muldiv;
pub(crate) mod operand;
pub(crate) mod shift;
pub(crate) mod sse;
pub(crate) mod sse_float;
mod sse_float_convert;
mod sse_float_forms;
pub(crate) mod sse_move;
pub(crate) mod sse_packed;
pub(crate) mod sse_shuffle;
#[cfg(test)]
mod sse_tests;
pub(crate) mod sse_text;
pub(crate) mod stack;
pub(crate) mod string;
pub(crate) mod x87;
mod x87_control;

use iced_x86::Instruction;

use crate::op::{Handler, Op};

/// What the decoder knows beside the instruction itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// The memory operand, if any, needs neither a segment base nor a limit nor a cut to the address size.
    pub(crate) flat: bool,
    /// How the code is decoded.
    pub(crate) mode: crate::cpu::CodeMode,
}

/// The twin of the handler for `instruction` that leaves the status flags as they are, if there is one: for an operation whose
/// flags are overwritten before anybody could see them.
pub(crate) fn quiet(instruction: &Instruction, op: &Op) -> Option<Handler> {
    arith::quiet(instruction, op)
        .or_else(|| shift::quiet(instruction, op))
        .or_else(|| muldiv::quiet(instruction, op))
}

/// The handler for `instruction`, asked of one family after the other.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, form: Form) -> Option<Handler> {
    arith::lower(instruction, op, form)
        .or_else(|| mov::lower(instruction, op, form))
        .or_else(|| cond::lower(instruction, op, form))
        .or_else(|| branch::lower(instruction, op, form))
        .or_else(|| stack::lower(instruction, op, form))
        .or_else(|| shift::lower(instruction, op, form))
        .or_else(|| bits::lower(instruction, op, form))
        .or_else(|| muldiv::lower(instruction, op, form))
        .or_else(|| exchange::lower(instruction, op, form))
        .or_else(|| string::lower(instruction, op, form))
        .or_else(|| decimal::lower(instruction, op, form))
        .or_else(|| sse::lower(instruction, op, form))
        .or_else(|| sse_float::lower(instruction, form))
        .or_else(|| x87::lower(instruction, form))
        .or_else(|| bmi::lower(instruction, op, form))
        .or_else(|| crate::system::lower(instruction, op, form))
}
