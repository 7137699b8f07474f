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
use crate::memory::{Addressing, Flat};
use crate::op::{BLOCK_RIP, Flow, Handler, Op, attempt, next};

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

fn memory<O: Binary, T: Int, C: Condition>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, Flat::linear(cpu, op, T::SIZE, false));
    let b = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg));
    let a = T::get(cpu, op.dst);
    O::apply(cpu, a, b);
    let taken = C::holds(cpu);
    branch(cpu, mem, ops, taken)
}

/// The handler `$f` for the width in `$size` and the condition in `$code`.
macro_rules! pick {
    ($f:ident, $op:ty, $size:expr, $code:expr) => {
        match $size {
            0 => pick!(@ $f, $op, u8, $code),
            1 => pick!(@ $f, $op, u16, $code),
            2 => pick!(@ $f, $op, u32, $code),
            _ => pick!(@ $f, $op, u64, $code),
        }
    };
    (@ $f:ident, $op:ty, $t:ty, $code:expr) => {
        match $code {
            ConditionCode::b => $f::<$op, $t, Below> as Handler,
            ConditionCode::ae => $f::<$op, $t, AboveOrEqual>,
            ConditionCode::e => $f::<$op, $t, Equal>,
            ConditionCode::ne => $f::<$op, $t, NotEqual>,
            ConditionCode::be => $f::<$op, $t, BelowOrEqual>,
            ConditionCode::a => $f::<$op, $t, Above>,
            ConditionCode::s => $f::<$op, $t, Negative>,
            ConditionCode::ns => $f::<$op, $t, NotNegative>,
            ConditionCode::l => $f::<$op, $t, Less>,
            ConditionCode::ge => $f::<$op, $t, GreaterOrEqual>,
            ConditionCode::le => $f::<$op, $t, LessOrEqual>,
            ConditionCode::g => $f::<$op, $t, Greater>,
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
        (Mnemonic::Cmp, OpKind::Register, OpKind::Register) => pick!(registers, Cmp, size, code),
        (Mnemonic::Test, OpKind::Register, OpKind::Register) => pick!(registers, Test, size, code),
        (Mnemonic::Cmp, OpKind::Register, OpKind::Memory) if flat => pick!(memory, Cmp, size, code),
        (_, _, OpKind::Memory) | (_, OpKind::Memory, _) => return None,
        (Mnemonic::Cmp, ..) => {
            op.disp = compare.imm;
            pick!(immediate, Cmp, size, code)
        }
        (Mnemonic::Test, ..) => {
            op.disp = compare.imm;
            pick!(immediate, Test, size, code)
        }
        _ => return None,
    };
    Some(op)
}
