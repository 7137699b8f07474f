//! AAA, AAS, AAM, AAD, DAA, DAS and BOUND, which exist outside 64-bit mode only (SDM 2A). Flags the manual leaves undefined
//! are 0, SF, ZF and PF those of AL.

use guest_memory::GuestMemory;
use iced_x86::{Instruction, Mnemonic};
use x86_defs::Vector;
use x86_defs::gpr::RAX;
use x86_defs::rflags::{AF, CF, PF, SF, ZF};

use super::Form;
use super::operand::Int;
use crate::Cpu;
use crate::memory::{Addressing, Segmented};
use crate::op::{Flow, HIGH_BYTE, Handler, Op, attempt, next};

const AL: u8 = RAX as u8;
const AH: u8 = RAX as u8 | HIGH_BYTE;

/// SF, ZF and PF of AL with the given CF and AF.
fn set_flags(cpu: &mut Cpu, carry: bool, adjust: bool) {
    cpu.flags.set_logic(u8::get(cpu, AL).sext());
    let kept = cpu.flags.bits() & (SF | ZF | PF);
    cpu.flags.load(kept | if carry { CF } else { 0 } | if adjust { AF } else { 0 });
}

/// AAA and AAS.
fn ascii_adjust<const SUBTRACT: bool>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let adjust = u8::get(cpu, AL) & 0xf > 9 || cpu.flags.adjust();
    if adjust {
        let ax = u16::get(cpu, AL);
        u16::set(cpu, AL, if SUBTRACT { ax.wrapping_sub(0x106) } else { ax.wrapping_add(0x106) });
    }
    let low = u8::get(cpu, AL) & 0xf;
    u8::set(cpu, AL, low);
    set_flags(cpu, adjust, adjust);
    next!(cpu, mem, ops)
}

/// DAA and DAS.
fn decimal_adjust<const SUBTRACT: bool>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let old = u8::get(cpu, AL);
    let old_carry = cpu.flags.carry();
    let shift = |value: u8, by: u8| if SUBTRACT { value.wrapping_sub(by) } else { value.wrapping_add(by) };
    let mut al = old;
    let mut carry = false;
    let adjust = old & 0xf > 9 || cpu.flags.adjust();
    if adjust {
        carry = old_carry || if SUBTRACT { old < 6 } else { old > 0xf9 };
        al = shift(al, 6);
    }
    if old > 0x99 || old_carry {
        al = shift(al, 0x60);
        carry = true;
    } else if !SUBTRACT {
        carry = false;
    }
    u8::set(cpu, AL, al);
    set_flags(cpu, carry, adjust);
    next!(cpu, mem, ops)
}

/// AAM: the base is the immediate; base 0 is #DE.
fn aam(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let al = u8::get(cpu, AL);
    let base = ops[0].imm as u8;
    let (Some(high), Some(low)) = (al.checked_div(base), al.checked_rem(base)) else {
        cpu.raise_code(Vector::DE, 0);
        return cpu.abort(&ops[0]);
    };
    u8::set(cpu, AL, low);
    u8::set(cpu, AH, high);
    set_flags(cpu, false, false);
    next!(cpu, mem, ops)
}

fn aad(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let base = ops[0].imm as u8;
    let al = u8::get(cpu, AL).wrapping_add(u8::get(cpu, AH).wrapping_mul(base));
    u16::set(cpu, AL, u16::from(al));
    set_flags(cpu, false, false);
    next!(cpu, mem, ops)
}

/// BOUND: both bounds are signed; outside them #BR.
fn bound<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, Segmented::linear(cpu, op, 2 * T::SIZE, false));
    let lower = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg)).sext().cast_signed();
    let upper =
        attempt!(cpu, ops, cpu.read::<T>(mem, linear.wrapping_add(T::SIZE), op.seg)).sext().cast_signed();
    let index = T::get(cpu, op.dst).sext().cast_signed();
    if index < lower || index > upper {
        cpu.raise_code(Vector::BR, 0);
        return cpu.abort(op);
    }
    next!(cpu, mem, ops)
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, _form: Form) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        Mnemonic::Aaa => ascii_adjust::<false>,
        Mnemonic::Aas => ascii_adjust::<true>,
        Mnemonic::Daa => decimal_adjust::<false>,
        Mnemonic::Das => decimal_adjust::<true>,
        Mnemonic::Aam => aam,
        Mnemonic::Aad => aad,
        Mnemonic::Bound if op.size == 1 => bound::<u16>,
        Mnemonic::Bound => bound::<u32>,
        _ => return None,
    })
}
