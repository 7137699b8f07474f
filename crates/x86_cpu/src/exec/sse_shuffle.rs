//! Shuffles, blends, widening, and inserts into and extracts from XMM registers.

use guest_memory::GuestMemory;
use iced_x86::{Instruction, Mnemonic, OpKind};

use super::Form;
use super::mmx::mmx_operation;
use super::operand::{Int, addressed};
use super::sse::{Part, XmmOperation, set_xmm, with_memory, xmm, xmm_operation};
use crate::Cpu;
use crate::memory::Addressing;
use crate::op::{Flow, Handler, Op, attempt, next, next_after_write};
use crate::simd::{logic, pack, shuffle};

/// What an instruction computes of an XMM register for a general-purpose one or memory.
trait Extract {
    fn apply(a: u128, imm: u8) -> u64;
}

macro_rules! extract {
    ($name:ident, |$a:ident, $imm:pat_param| $value:expr) => {
        struct $name;
        impl Extract for $name {
            #[inline(always)]
            fn apply($a: u128, $imm: u8) -> u64 {
                u64::from($value)
            }
        }
    };
}
extract!(ExtractByte, |a, imm| shuffle::pextrb(a, imm));
extract!(ExtractWord, |a, imm| shuffle::pextrw(a, imm));
extract!(ExtractDword, |a, imm| shuffle::pextrd(a, imm));
extract!(ExtractQword, |a, imm| shuffle::pextrq(a, imm));
extract!(SignsOfBytes, |a, _| logic::pmovmskb(a));
extract!(SignsOfSingles, |a, _| logic::movmskps(a));
extract!(SignsOfDoubles, |a, _| logic::movmskpd(a));

/// Whatever the operand size, the register is written whole.
fn extract_to_register<E: Extract>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    cpu.regs[(op.dst & 15) as usize] = E::apply(xmm(cpu, op.src), op.imm as u8);
    next!(cpu, mem, ops)
}

fn extract_to_memory<E: Extract, T: Int, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, true));
    let value = T::cut(E::apply(xmm(cpu, op.src), op.imm as u8));
    attempt!(cpu, ops, cpu.write(mem, linear, value, op.seg));
    next_after_write!(cpu, mem, ops)
}

/// The handler that extracts a `T`.
fn extracting<E: Extract, T: Int>(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op0_kind() == OpKind::Register {
        extract_to_register::<E>
    } else {
        addressed!(form, extract_to_memory, E, T)
    }
}

/// Inserts the lowest part of `b`.
trait Insert<T> {
    fn insert(a: u128, value: T, imm: u8) -> u128;
}

struct Lane;
macro_rules! insert {
    ($($ty:ty: $function:path;)*) => {$(
        impl Insert<$ty> for Lane {
            #[inline(always)]
            fn insert(a: u128, value: $ty, imm: u8) -> u128 {
                $function(a, value, imm)
            }
        }
    )*};
}
insert! {
    u8: shuffle::pinsrb;
    u16: shuffle::pinsrw;
    u32: shuffle::pinsrd;
    u64: shuffle::pinsrq;
}

struct InsertLane<T>(std::marker::PhantomData<T>);
impl<T: Part> XmmOperation for InsertLane<T>
where
    Lane: Insert<T>,
{
    #[inline(always)]
    fn apply(_cpu: &Cpu, a: u128, b: u128, imm: u8) -> u128 {
        Lane::insert(a, T::low(b), imm)
    }
}

fn insert_from_register<T: Int + Part>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow
where
    Lane: Insert<T>,
{
    let op = &ops[0];
    let result = Lane::insert(xmm(cpu, op.dst), T::get(cpu, op.src), op.imm as u8);
    set_xmm(cpu, op.dst, result);
    next!(cpu, mem, ops)
}

/// The handler that inserts a `T`.
fn inserting<T: Int + Part>(instruction: &Instruction, form: Form) -> Handler
where
    Lane: Insert<T>,
{
    if instruction.op1_kind() == OpKind::Register {
        insert_from_register::<T>
    } else {
        addressed!(form, with_memory, InsertLane<T>, T)
    }
}

fn insertps(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op1_kind() == OpKind::Register {
        xmm_operation!((instruction, form), |a, b, imm| {
            shuffle::insertps(a, shuffle::pextrd(b, shuffle::insertps_source(imm)), imm)
        })
    } else {
        // The memory operand is the value; bits 7:6 of the immediate are ignored.
        xmm_operation!((instruction, form), part u32, |a, b, imm| shuffle::insertps(a, b as u32, imm))
    }
}

fn widening(instruction: &Instruction, form: Form) -> Option<Handler> {
    macro_rules! widen {
        ($($name:ident: $part:ty, $function:path;)*) => {
            match instruction.mnemonic() {
                $(Mnemonic::$name => {
                    xmm_operation!((instruction, form), part $part, |_, b, _| $function(b))
                })*
                _ => return None,
            }
        };
    }
    Some(widen! {
        Pmovsxbw: u64, pack::pmovsxbw;
        Pmovsxbd: u32, pack::pmovsxbd;
        Pmovsxbq: u16, pack::pmovsxbq;
        Pmovsxwd: u64, pack::pmovsxwd;
        Pmovsxwq: u32, pack::pmovsxwq;
        Pmovsxdq: u64, pack::pmovsxdq;
        Pmovzxbw: u64, pack::pmovzxbw;
        Pmovzxbd: u32, pack::pmovzxbd;
        Pmovzxbq: u16, pack::pmovzxbq;
        Pmovzxwd: u64, pack::pmovzxwd;
        Pmovzxwq: u32, pack::pmovzxwq;
        Pmovzxdq: u64, pack::pmovzxdq;
        Movddup: u64, shuffle::movddup;
    })
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, form: Form) -> Option<Handler> {
    let is_mm = |i| instruction.op_kind(i) == OpKind::Register && instruction.op_register(i).is_mm();
    if instruction.op_count() >= 2 && (is_mm(0) || is_mm(1)) {
        return Some(match instruction.mnemonic() {
            Mnemonic::Pshufb => mmx_operation!((instruction, form), |a, b, _| shuffle::pshufb(a, b)),
            Mnemonic::Pshufw => mmx_operation!((instruction, form), |_, b, imm| shuffle::pshufw(b, imm)),
            Mnemonic::Palignr => mmx_operation!((instruction, form), shuffle::palignr_mmx),
            _ => return None,
        });
    }
    Some(match instruction.mnemonic() {
        Mnemonic::Pshufb => xmm_operation!((instruction, form), |a, b, _| shuffle::pshufb(a, b)),
        Mnemonic::Pshufd => xmm_operation!((instruction, form), |_, b, imm| shuffle::pshufd(b, imm)),
        Mnemonic::Pshuflw => xmm_operation!((instruction, form), |_, b, imm| shuffle::pshuflw(b, imm)),
        Mnemonic::Pshufhw => xmm_operation!((instruction, form), |_, b, imm| shuffle::pshufhw(b, imm)),
        Mnemonic::Shufps => xmm_operation!((instruction, form), shuffle::shufps),
        Mnemonic::Shufpd => xmm_operation!((instruction, form), shuffle::shufpd),
        Mnemonic::Palignr => xmm_operation!((instruction, form), shuffle::palignr),
        Mnemonic::Movshdup => xmm_operation!((instruction, form), |_, b, _| shuffle::movshdup(b)),
        Mnemonic::Movsldup => xmm_operation!((instruction, form), |_, b, _| shuffle::movsldup(b)),
        Mnemonic::Pblendw => xmm_operation!((instruction, form), shuffle::pblendw),
        Mnemonic::Blendps => xmm_operation!((instruction, form), shuffle::blendps),
        Mnemonic::Blendpd => xmm_operation!((instruction, form), shuffle::blendpd),
        Mnemonic::Pblendvb => xmm_operation!((instruction, form), implicit shuffle::pblendvb),
        Mnemonic::Blendvps => xmm_operation!((instruction, form), implicit shuffle::blendvps),
        Mnemonic::Blendvpd => xmm_operation!((instruction, form), implicit shuffle::blendvpd),
        Mnemonic::Insertps => insertps(instruction, form),
        Mnemonic::Pinsrb => inserting::<u8>(instruction, form),
        Mnemonic::Pinsrw => inserting::<u16>(instruction, form),
        Mnemonic::Pinsrd => inserting::<u32>(instruction, form),
        Mnemonic::Pinsrq => inserting::<u64>(instruction, form),
        Mnemonic::Pextrb => extracting::<ExtractByte, u8>(instruction, form),
        Mnemonic::Pextrw => extracting::<ExtractWord, u16>(instruction, form),
        Mnemonic::Pextrd | Mnemonic::Extractps => extracting::<ExtractDword, u32>(instruction, form),
        Mnemonic::Pextrq => extracting::<ExtractQword, u64>(instruction, form),
        Mnemonic::Pmovmskb => extracting::<SignsOfBytes, u32>(instruction, form),
        Mnemonic::Movmskps => extracting::<SignsOfSingles, u32>(instruction, form),
        Mnemonic::Movmskpd => extracting::<SignsOfDoubles, u32>(instruction, form),
        _ => return widening(instruction, form),
    })
}
