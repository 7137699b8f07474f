//! Moves to, from and between XMM registers, and MXCSR.

use guest_memory::GuestMemory;
use iced_x86::{Code, Instruction, OpKind};
use x86_defs::gpr::RDI;

use super::operand::{Int, addressed};
use super::sse::{Part, XmmOperation, aligned, set_xmm, xmm, xmm_operation};
use super::{Form, mmx};
use crate::Cpu;
use crate::float::env::MXCSR_WRITABLE;
use crate::memory::{Addressing, Segmented};
use crate::op::{Fault, Flow, Handler, Op, ZERO, attempt, next, next_after_write};
use crate::simd::shuffle;

/// Non-temporal stores are stores: there are no caches whose contents could show.
fn store_aligned<M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    if let Ok(linear) = M::linear(cpu, op, 16, true)
        && linear & 15 == 0
        && let Some(offset) = cpu.write_hit::<u128>(linear)
    {
        mem.store(offset, xmm(cpu, op.src));
        next!(cpu, mem, ops)
    } else {
        store_aligned_slow::<M>(cpu, mem, ops)
    }
}

#[cold]
#[inline(never)]
fn store_aligned_slow<M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, aligned::<M>(cpu, op, true));
    attempt!(cpu, ops, cpu.write(mem, linear, xmm(cpu, op.src), op.seg));
    next_after_write!(cpu, mem, ops)
}

/// Where in its register the part lies that is stored.
trait Half {
    const SHIFT: u32;
}
struct Low;
impl Half for Low {
    const SHIFT: u32 = 0;
}
struct High;
impl Half for High {
    const SHIFT: u32 = 64;
}

fn store<T: Part, H: Half, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    if let Ok(linear) = M::linear(cpu, op, T::SIZE, true)
        && let Some(offset) = cpu.write_hit::<T>(linear)
    {
        mem.store(offset, T::low(xmm(cpu, op.src) >> H::SHIFT));
        next!(cpu, mem, ops)
    } else {
        store_slow::<T, H, M>(cpu, mem, ops)
    }
}

#[cold]
#[inline(never)]
fn store_slow<T: Part, H: Half, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, true));
    attempt!(cpu, ops, cpu.write(mem, linear, T::low(xmm(cpu, op.src) >> H::SHIFT), op.seg));
    next_after_write!(cpu, mem, ops)
}

/// MOVD and MOVQ from a general-purpose register.
fn from_general<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let value = u128::from(T::get(cpu, op.src).zext());
    set_xmm(cpu, op.dst, value);
    next!(cpu, mem, ops)
}

/// MOVD and MOVQ to a general-purpose register.
fn to_general<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let value = T::cut(xmm(cpu, op.src) as u64);
    T::set(cpu, op.dst, value);
    next!(cpu, mem, ops)
}

/// The second operand.
struct Take;
impl XmmOperation for Take {
    #[inline(always)]
    fn apply(_cpu: &Cpu, _a: u128, b: u128, _imm: u8) -> u128 {
        b
    }
}

/// LDMXCSR: #GP(0) for reserved bits (SDM 1 11.6.6).
fn ldmxcsr<M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, 4, false));
    let value = attempt!(cpu, ops, cpu.read::<u32>(mem, linear, op.seg));
    if value & !MXCSR_WRITABLE != 0 {
        cpu.gp0();
        return cpu.abort(op);
    }
    cpu.mxcsr = value;
    next!(cpu, mem, ops)
}

fn stmxcsr<M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, 4, true));
    attempt!(cpu, ops, cpu.write(mem, linear, cpu.mxcsr, op.seg));
    next_after_write!(cpu, mem, ops)
}

/// Writes those of the `SIZE` low bytes of `value` whose mask byte has its top bit set. The manual leaves open which bytes
/// have to be accessible (SDM 2B MASKMOVDQU): as on the processors compared with, it is all of them, even if none is chosen.
/// #AC asks for multiples of 8.
#[inline(never)]
fn masked_store<const SIZE: u64>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    op: &Op,
    value: u128,
    mask: u128,
) -> Result<(), Fault> {
    let linear = Segmented::linear(cpu, op, SIZE, true)?;
    let chosen = |i: &u64| mask >> (8 * i + 7) & 1 != 0;
    for half in (0..SIZE).step_by(8) {
        cpu.probe_write(mem, linear.wrapping_add(half), 8, op.seg)?;
    }
    for i in (0..SIZE).filter(chosen) {
        cpu.write(mem, linear.wrapping_add(i), (value >> (8 * i)) as u8, op.seg)?;
    }
    Ok(())
}

fn maskmovdqu(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let (value, mask) = (xmm(cpu, op.src), xmm(cpu, op.aux));
    attempt!(cpu, ops, masked_store::<16>(cpu, mem, op, value, mask));
    next_after_write!(cpu, mem, ops)
}

fn maskmovq(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, mmx::check_pending(cpu));
    let (value, mask) = (cpu.x87.mmx(op.src).to_xmm(), cpu.x87.mmx(op.aux).to_xmm());
    attempt!(cpu, ops, masked_store::<8>(cpu, mem, op, value, mask));
    cpu.x87.enter_mmx();
    next_after_write!(cpu, mem, ops)
}

/// The low `bits` of `b` below the rest of `a`.
#[inline(always)]
fn replace_low(a: u128, b: u128, bits: u32) -> u128 {
    let low = (1 << bits) - 1;
    a & !low | b & low
}

/// Those whose first operand is an XMM register.
fn loads(instruction: &Instruction, form: Form) -> Option<Handler> {
    Some(match instruction.code() {
        Code::Movaps_xmm_xmmm128
        | Code::Movapd_xmm_xmmm128
        | Code::Movdqa_xmm_xmmm128
        | Code::Movntdqa_xmm_m128 => xmm_operation!((instruction, form), |_, b, _| b),
        Code::Movups_xmm_xmmm128
        | Code::Movupd_xmm_xmmm128
        | Code::Movdqu_xmm_xmmm128
        | Code::Lddqu_xmm_m128 => xmm_operation!((instruction, form), part u128, |_, b, _| b),
        // From memory the rest of the register is cleared, from a register it stays.
        Code::Movss_xmm_xmmm32 if instruction.op1_kind() == OpKind::Memory => {
            xmm_operation!((instruction, form), part u32, |_, b, _| b)
        }
        Code::Movsd_xmm_xmmm64 if instruction.op1_kind() == OpKind::Memory => {
            xmm_operation!((instruction, form), part u64, |_, b, _| b)
        }
        Code::Movss_xmm_xmmm32 => xmm_operation!((instruction, form), |a, b, _| replace_low(a, b, 32)),
        Code::Movsd_xmm_xmmm64 => xmm_operation!((instruction, form), |a, b, _| replace_low(a, b, 64)),
        Code::Movq_xmm_xmmm64 => {
            xmm_operation!((instruction, form), part u64, |_, b, _| u128::from(b as u64))
        }
        Code::Movlps_xmm_m64 | Code::Movlpd_xmm_m64 => {
            xmm_operation!((instruction, form), part u64, |a, b, _| replace_low(a, b, 64))
        }
        Code::Movhps_xmm_m64 | Code::Movhpd_xmm_m64 | Code::Movlhps_xmm_xmm => {
            xmm_operation!((instruction, form), part u64, |a, b, _| replace_low(b << 64, a, 64))
        }
        Code::Movhlps_xmm_xmm => xmm_operation!((instruction, form), |a, b, _| shuffle::movhlps(a, b)),
        Code::Movd_xmm_rm32 if instruction.op1_kind() == OpKind::Register => from_general::<u32>,
        Code::Movq_xmm_rm64 if instruction.op1_kind() == OpKind::Register => from_general::<u64>,
        Code::Movd_xmm_rm32 => xmm_operation!((instruction, form), part u32, |_, b, _| b),
        Code::Movq_xmm_rm64 => xmm_operation!((instruction, form), part u64, |_, b, _| b),
        _ => return None,
    })
}

/// Those whose second operand is the XMM register.
fn stores(instruction: &Instruction, form: Form) -> Option<Handler> {
    let register = instruction.op0_kind() == OpKind::Register;
    Some(match instruction.code() {
        Code::Movaps_xmmm128_xmm
        | Code::Movapd_xmmm128_xmm
        | Code::Movdqa_xmmm128_xmm
        | Code::Movups_xmmm128_xmm
        | Code::Movupd_xmmm128_xmm
        | Code::Movdqu_xmmm128_xmm
            if register =>
        {
            super::sse::xmm_form::<Take>(instruction, form)
        }
        Code::Movaps_xmmm128_xmm
        | Code::Movapd_xmmm128_xmm
        | Code::Movdqa_xmmm128_xmm
        | Code::Movntps_m128_xmm
        | Code::Movntpd_m128_xmm
        | Code::Movntdq_m128_xmm => addressed!(form, store_aligned),
        Code::Movups_xmmm128_xmm | Code::Movupd_xmmm128_xmm | Code::Movdqu_xmmm128_xmm => {
            addressed!(form, store, u128, Low)
        }
        Code::Movss_xmmm32_xmm if register => {
            xmm_operation!((instruction, form), |a, b, _| replace_low(a, b, 32))
        }
        Code::Movsd_xmmm64_xmm if register => {
            xmm_operation!((instruction, form), |a, b, _| replace_low(a, b, 64))
        }
        Code::Movq_xmmm64_xmm if register => {
            xmm_operation!((instruction, form), |_, b, _| u128::from(b as u64))
        }
        Code::Movd_rm32_xmm if register => to_general::<u32>,
        Code::Movq_rm64_xmm if register => to_general::<u64>,
        Code::Movss_xmmm32_xmm | Code::Movd_rm32_xmm => addressed!(form, store, u32, Low),
        Code::Movsd_xmmm64_xmm
        | Code::Movq_xmmm64_xmm
        | Code::Movq_rm64_xmm
        | Code::Movlps_m64_xmm
        | Code::Movlpd_m64_xmm => addressed!(form, store, u64, Low),
        Code::Movhps_m64_xmm | Code::Movhpd_m64_xmm => addressed!(form, store, u64, High),
        _ => return None,
    })
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, form: Form) -> Option<Handler> {
    loads(instruction, form).or_else(|| stores(instruction, form)).or_else(|| {
        Some(match instruction.code() {
            Code::Ldmxcsr_m32 => addressed!(form, ldmxcsr),
            Code::Stmxcsr_m32 => addressed!(form, stmxcsr),
            Code::Maskmovdqu_rDI_xmm_xmm | Code::Maskmovq_rDI_mm_mm => {
                (op.base, op.index) = (RDI as u8, ZERO);
                if instruction.code() == Code::Maskmovq_rDI_mm_mm { maskmovq } else { maskmovdqu }
            }
            _ => return None,
        })
    })
}
