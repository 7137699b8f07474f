//! A compare and the conditional jump behind it as one operation, in 64-bit mode.
//!
//! Both instructions are counted, and the flags are left as the compare leaves them. The jump itself cannot fault, so what
//! faults is always the compare, at the start of the operation.

use guest_memory::GuestMemory;
use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind};

use super::arith::{Binary, Cmp, Test};
use super::cond::{
    Above, AboveOrEqual, Below, BelowOrEqual, Condition, Equal, Greater, GreaterOrEqual, Less, LessOrEqual,
    Negative, NotEqual, NotNegative,
};
use super::operand::Int;
use crate::Cpu;
use crate::op::{BLOCK_RIP, Fast, Flow, Handler, Op, Path, Slow, loaded, next};

/// Leaves the block or goes on in it; the target lies `imm` bytes from its start.
#[inline(always)]
fn branch(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op], taken: bool) -> Flow {
    if taken {
        let target = cpu.regs[BLOCK_RIP as usize].wrapping_add(ops[0].imm);
        cpu.take(&ops[0], target)
    } else {
        next!(cpu, mem, ops)
    }
}

fn registers<O: Binary, T: Int, C: Condition>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let (a, b) = (T::get(cpu, op.dst), T::get(cpu, op.src));
    O::apply(cpu, a, b);
    let taken = C::holds(cpu);
    branch(cpu, mem, ops, taken)
}

/// The immediate lies in `disp`.
fn immediate<O: Binary, T: Int, C: Condition>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let a = T::get(cpu, op.dst);
    O::apply(cpu, a, T::cut(op.disp));
    let taken = C::holds(cpu);
    branch(cpu, mem, ops, taken)
}

#[inline(never)]
fn memory<P: Path, O: Binary, T: Int, C: Condition>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = cpu.effective_sum(op);
    let b = loaded!(P, T, cpu, mem, ops, linear, op.seg, memory::<Slow, O, T, C>);
    let a = T::get(cpu, op.dst);
    O::apply(cpu, a, b);
    let taken = C::holds(cpu);
    branch(cpu, mem, ops, taken)
}

/// The handler `$f` for the width in `$size` and the condition in `$code`.
macro_rules! pick {
    ($f:ident, [$($lead:ty),*], $size:expr, $code:expr) => {
        match $size {
            0 => pick!(@ $f, [$($lead),*, u8], $code),
            1 => pick!(@ $f, [$($lead),*, u16], $code),
            2 => pick!(@ $f, [$($lead),*, u32], $code),
            _ => pick!(@ $f, [$($lead),*, u64], $code),
        }
    };
    (@ $f:ident, [$($lead:ty),*], $code:expr) => {
        match $code {
            ConditionCode::b => $f::<$($lead),*, Below> as Handler,
            ConditionCode::ae => $f::<$($lead),*, AboveOrEqual>,
            ConditionCode::e => $f::<$($lead),*, Equal>,
            ConditionCode::ne => $f::<$($lead),*, NotEqual>,
            ConditionCode::be => $f::<$($lead),*, BelowOrEqual>,
            ConditionCode::a => $f::<$($lead),*, Above>,
            ConditionCode::s => $f::<$($lead),*, Negative>,
            ConditionCode::ns => $f::<$($lead),*, NotNegative>,
            ConditionCode::l => $f::<$($lead),*, Less>,
            ConditionCode::ge => $f::<$($lead),*, GreaterOrEqual>,
            ConditionCode::le => $f::<$($lead),*, LessOrEqual>,
            ConditionCode::g => $f::<$($lead),*, Greater>,
            _ => return None,
        }
    };
}

/// One operation for `first` (a compare, already lowered to `compare`) and the jump behind it (`jump`), if there is one.
pub(crate) fn fuse(first: &Instruction, compare: &Op, second: &Instruction, jump: &Op) -> Option<Op> {
    let code = second.condition_code();
    if !second.is_jcc_short_or_near() || jump.size != 3 {
        return None;
    }
    let mut op = Op { imm: jump.imm, end: jump.end, after: jump.after, prefixes: jump.prefixes, ..*compare };
    let flat = compare.address_size == 3 && compare.seg < 4;
    let size = compare.size;
    op.run = match (first.mnemonic(), first.op0_kind(), first.op1_kind()) {
        (Mnemonic::Cmp, OpKind::Register, OpKind::Register) => pick!(registers, [Cmp], size, code),
        (Mnemonic::Test, OpKind::Register, OpKind::Register) => pick!(registers, [Test], size, code),
        (Mnemonic::Cmp, OpKind::Register, OpKind::Memory) if flat => pick!(memory, [Fast, Cmp], size, code),
        (_, _, OpKind::Memory) | (_, OpKind::Memory, _) => return None,
        (Mnemonic::Cmp, ..) => {
            op.disp = compare.imm;
            pick!(immediate, [Cmp], size, code)
        }
        (Mnemonic::Test, ..) => {
            op.disp = compare.imm;
            pick!(immediate, [Test], size, code)
        }
        _ => return None,
    };
    Some(op)
}
