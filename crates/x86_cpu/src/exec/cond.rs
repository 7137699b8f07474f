//! The sixteen conditions: Jcc, SETcc, CMOVcc.

use guest_memory::GuestMemory;
use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind};

use super::Form;
use super::operand::Int;
use crate::Cpu;
use crate::memory::Addressing;
use crate::op::{BLOCK_RIP, Flow, Handler, Op, attempt, next, next_after_write};

/// A condition on the status flags (SDM 1 appendix B).
pub(crate) trait Condition {
    /// Whether it holds.
    fn holds(cpu: &Cpu) -> bool;
}

macro_rules! conditions {
    ($($name:ident, $opposite:ident: |$flags:ident| $holds:expr;)*) => {
        $(
            #[derive(Debug)]
            pub(crate) struct $name;
            impl Condition for $name {
                #[inline(always)]
                fn holds(cpu: &Cpu) -> bool {
                    let $flags = cpu.flags;
                    $holds
                }
            }
            #[derive(Debug)]
            pub(crate) struct $opposite;
            impl Condition for $opposite {
                #[inline(always)]
                fn holds(cpu: &Cpu) -> bool {
                    !$name::holds(cpu)
                }
            }
        )*
    };
}

conditions! {
    Overflow, NoOverflow: |flags| flags.overflow();
    Below, AboveOrEqual: |flags| flags.carry();
    Equal, NotEqual: |flags| flags.zero();
    BelowOrEqual, Above: |flags| flags.carry() || flags.zero();
    Negative, NotNegative: |flags| flags.sign();
    Parity, NoParity: |flags| flags.parity();
    Less, GreaterOrEqual: |flags| flags.sign() != flags.overflow();
    LessOrEqual, Greater: |flags| flags.zero() || flags.sign() != flags.overflow();
}

/// The handler `$f` with the condition of `$code` as its first type argument.
macro_rules! by_condition {
    ($code:expr, $f:ident $(, $arg:ty)*) => {
        match $code {
            ConditionCode::o => $f::<Overflow $(, $arg)*> as Handler,
            ConditionCode::no => $f::<NoOverflow $(, $arg)*>,
            ConditionCode::b => $f::<Below $(, $arg)*>,
            ConditionCode::ae => $f::<AboveOrEqual $(, $arg)*>,
            ConditionCode::e => $f::<Equal $(, $arg)*>,
            ConditionCode::ne => $f::<NotEqual $(, $arg)*>,
            ConditionCode::be => $f::<BelowOrEqual $(, $arg)*>,
            ConditionCode::a => $f::<Above $(, $arg)*>,
            ConditionCode::s => $f::<Negative $(, $arg)*>,
            ConditionCode::ns => $f::<NotNegative $(, $arg)*>,
            ConditionCode::p => $f::<Parity $(, $arg)*>,
            ConditionCode::np => $f::<NoParity $(, $arg)*>,
            ConditionCode::l => $f::<Less $(, $arg)*>,
            ConditionCode::ge => $f::<GreaterOrEqual $(, $arg)*>,
            ConditionCode::le => $f::<LessOrEqual $(, $arg)*>,
            ConditionCode::g => $f::<Greater $(, $arg)*>,
            ConditionCode::None => return None,
        }
    };
}

/// Jcc in 64-bit mode: the target lies `imm` bytes from the start of the block.
fn jump64<C: Condition>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    if C::holds(cpu) {
        let target = cpu.regs[BLOCK_RIP as usize].wrapping_add(ops[0].imm);
        cpu.take(&ops[0], target)
    } else {
        next!(cpu, mem, ops)
    }
}

/// Jcc elsewhere: the target is cut to the operand size and checked against the limit of CS.
fn jump<C: Condition>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    if C::holds(cpu) { cpu.jump_near_direct(&ops[0]) } else { next!(cpu, mem, ops) }
}

fn set_register<C: Condition>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let value = u8::from(C::holds(cpu));
    u8::set(cpu, ops[0].dst, value);
    next!(cpu, mem, ops)
}

fn set_memory<C: Condition, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, 1, true));
    attempt!(cpu, ops, cpu.write(mem, linear, u8::from(C::holds(cpu)), op.seg));
    next_after_write!(cpu, mem, ops)
}

/// CMOVcc of a register. A 32-bit destination loses its upper half whether or not the condition holds.
fn move_register<C: Condition, T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let value = if C::holds(cpu) { T::get(cpu, op.src) } else { T::get(cpu, op.dst) };
    T::set(cpu, op.dst, value);
    next!(cpu, mem, ops)
}

/// CMOVcc from memory, which is read whether or not the condition holds.
fn move_memory<C: Condition, T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, false));
    let loaded = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg));
    let value = if C::holds(cpu) { loaded } else { T::get(cpu, op.dst) };
    T::set(cpu, op.dst, value);
    next!(cpu, mem, ops)
}

fn conditional_move(instruction: &Instruction, op: &Op, form: Form) -> Option<Handler> {
    use crate::memory::{Flat, Segmented};
    let code = instruction.condition_code();
    let memory = instruction.op1_kind() == OpKind::Memory;
    Some(match (memory, form.flat, op.size) {
        (false, _, 1) => by_condition!(code, move_register, u16),
        (false, _, 2) => by_condition!(code, move_register, u32),
        (false, _, _) => by_condition!(code, move_register, u64),
        (true, true, 1) => by_condition!(code, move_memory, u16, Flat),
        (true, true, 2) => by_condition!(code, move_memory, u32, Flat),
        (true, true, _) => by_condition!(code, move_memory, u64, Flat),
        (true, false, 1) => by_condition!(code, move_memory, u16, Segmented),
        (true, false, 2) => by_condition!(code, move_memory, u32, Segmented),
        (true, false, _) => by_condition!(code, move_memory, u64, Segmented),
    })
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, form: Form) -> Option<Handler> {
    use crate::memory::{Flat, Segmented};
    let code = instruction.condition_code();
    if code == ConditionCode::None {
        return None;
    }
    if instruction.is_jcc_short_or_near() {
        return Some(if form.mode.is_64() && op.size == 3 {
            by_condition!(code, jump64)
        } else {
            by_condition!(code, jump)
        });
    }
    match instruction.mnemonic() {
        Mnemonic::Seto
        | Mnemonic::Setno
        | Mnemonic::Setb
        | Mnemonic::Setae
        | Mnemonic::Sete
        | Mnemonic::Setne
        | Mnemonic::Setbe
        | Mnemonic::Seta
        | Mnemonic::Sets
        | Mnemonic::Setns
        | Mnemonic::Setp
        | Mnemonic::Setnp
        | Mnemonic::Setl
        | Mnemonic::Setge
        | Mnemonic::Setle
        | Mnemonic::Setg => Some(match (instruction.op0_kind(), form.flat) {
            (OpKind::Memory, true) => by_condition!(code, set_memory, Flat),
            (OpKind::Memory, false) => by_condition!(code, set_memory, Segmented),
            _ => by_condition!(code, set_register),
        }),
        Mnemonic::Cmovo
        | Mnemonic::Cmovno
        | Mnemonic::Cmovb
        | Mnemonic::Cmovae
        | Mnemonic::Cmove
        | Mnemonic::Cmovne
        | Mnemonic::Cmovbe
        | Mnemonic::Cmova
        | Mnemonic::Cmovs
        | Mnemonic::Cmovns
        | Mnemonic::Cmovp
        | Mnemonic::Cmovnp
        | Mnemonic::Cmovl
        | Mnemonic::Cmovge
        | Mnemonic::Cmovle
        | Mnemonic::Cmovg => conditional_move(instruction, op, form),
        _ => None,
    }
}
