//! POPCNT, LZCNT, TZCNT, CRC32, BMI1, BMI2 and ADX.

use guest_memory::GuestMemory;
use iced_x86::{EncodingKind, Instruction, Mnemonic, OpKind};
use x86_defs::gpr::RDX;
use x86_defs::rflags::ZF;

use super::Form;
use super::operand::{Int, addressed};
use crate::Cpu;
use crate::memory::Addressing;
use crate::op::{Fault, Flow, Handler, Op, attempt, next};
use crate::simd::{Flags, bits, crc32};

/// An integer that [`crate::simd::bits`] works on.
trait Operand: Int + bits::Word {}
impl Operand for u16 {}
impl Operand for u32 {}
impl Operand for u64 {}

/// What an instruction does with the operand that may be in memory; it takes the others from `op`.
trait Operation {
    fn apply<T: Operand>(cpu: &mut Cpu, op: &Op, operand: T);
}

/// Flags that follow from the result, and a carry; OF and AF are cleared, PF, always undefined, is that of the result.
#[inline(always)]
fn finish<T: Operand>(cpu: &mut Cpu, op: &Op, (result, flags): (T, Flags)) {
    cpu.flags.set_result_carry_overflow(result.sext(), flags.carry, false);
    T::set(cpu, op.dst, result);
}

macro_rules! operations {
    ($($name:ident, |$cpu:ident, $op:ident, $operand:ident, $T:ident| $body:expr;)*) => {$(
        struct $name;
        impl Operation for $name {
            #[inline(always)]
            fn apply<$T: Operand>($cpu: &mut Cpu, $op: &Op, $operand: $T) {
                $body
            }
        }
    )*};
}

operations! {
    Popcnt, |cpu, op, operand, T| {
        // Unlike those of the others, all flags are defined: PF and SF are 0.
        let (result, flags) = bits::popcnt(operand);
        cpu.flags.load(if flags.zero { ZF } else { 0 });
        T::set(cpu, op.dst, result);
    };
    Lzcnt, |cpu, op, operand, T| finish::<T>(cpu, op, bits::lzcnt(operand));
    Tzcnt, |cpu, op, operand, T| finish::<T>(cpu, op, bits::tzcnt(operand));
    Andn, |cpu, op, operand, T| finish::<T>(cpu, op, bits::andn(T::get(cpu, op.src), operand));
    Blsi, |cpu, op, operand, T| finish::<T>(cpu, op, bits::blsi(operand));
    Blsmsk, |cpu, op, operand, T| finish::<T>(cpu, op, bits::blsmsk(operand));
    Blsr, |cpu, op, operand, T| finish::<T>(cpu, op, bits::blsr(operand));
    Bextr, |cpu, op, operand, T| finish::<T>(cpu, op, bits::bextr(operand, T::get(cpu, op.aux)));
    Bzhi, |cpu, op, operand, T| finish::<T>(cpu, op, bits::bzhi(operand, T::get(cpu, op.aux)));
    Pdep, |cpu, op, operand, T| {
        let result = bits::pdep(T::get(cpu, op.src), operand);
        T::set(cpu, op.dst, result);
    };
    Pext, |cpu, op, operand, T| {
        let result = bits::pext(T::get(cpu, op.src), operand);
        T::set(cpu, op.dst, result);
    };
    Mulx, |cpu, op, operand, T| {
        // If both destinations are one register it gets the high half.
        let (high, low) = bits::mulx(T::get(cpu, RDX as u8), operand);
        T::set(cpu, op.src, low);
        T::set(cpu, op.dst, high);
    };
    Rorx, |cpu, op, operand, T| T::set(cpu, op.dst, bits::rorx(operand, op.imm as u8));
    Sarx, |cpu, op, operand, T| {
        let result = bits::sarx(operand, T::get(cpu, op.aux));
        T::set(cpu, op.dst, result);
    };
    Shlx, |cpu, op, operand, T| {
        let result = bits::shlx(operand, T::get(cpu, op.aux));
        T::set(cpu, op.dst, result);
    };
    Shrx, |cpu, op, operand, T| {
        let result = bits::shrx(operand, T::get(cpu, op.aux));
        T::set(cpu, op.dst, result);
    };
    Adcx, |cpu, op, operand, T| {
        let carry = cpu.flags.carry();
        let (sum, carry) = bits::add_with_carry(T::get(cpu, op.dst), operand, carry);
        cpu.flags.set_carry(carry);
        T::set(cpu, op.dst, sum);
    };
    Adox, |cpu, op, operand, T| {
        let overflow = cpu.flags.overflow();
        let (sum, overflow) = bits::add_with_carry(T::get(cpu, op.dst), operand, overflow);
        let carry = cpu.flags.carry();
        cpu.flags.set_carry_and_overflow(carry, overflow);
        T::set(cpu, op.dst, sum);
    };
}

/// Instructions with a VEX prefix do not exist in real-address and virtual-8086 mode (SDM 2A 2.8, type 13): what the opcode
/// was before there was VEX is undefined there too, for it has a register where LES and LDS need memory.
#[inline(always)]
fn check_mode<const ANY_MODE: bool>(cpu: &mut Cpu) -> Result<(), Fault> {
    if !ANY_MODE && (!cpu.protected() || cpu.v86()) { Err(cpu.ud()) } else { Ok(()) }
}

fn with_register<O: Operation, T: Operand, const ANY_MODE: bool>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, check_mode::<ANY_MODE>(cpu));
    // `base` is free in an operation without a memory operand: see [`operand_register`].
    let operand = T::get(cpu, op.base);
    O::apply::<T>(cpu, op, operand);
    next!(cpu, mem, ops)
}

fn with_memory<O: Operation, T: Operand, const ANY_MODE: bool, M: Addressing>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, check_mode::<ANY_MODE>(cpu));
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, false));
    let operand = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg));
    O::apply::<T>(cpu, op, operand);
    next!(cpu, mem, ops)
}

/// The handler of `O` for 32 or 64 bits (16 too, where `ANY_MODE`), whose `operand`th operand may be in memory.
fn handler<O: Operation, const ANY_MODE: bool>(
    instruction: &Instruction,
    op: &mut Op,
    form: Form,
    operand: u32,
) -> Handler {
    if instruction.op_kind(operand) == OpKind::Register {
        op.base = if operand == 1 { op.src } else { op.aux };
        return match op.size {
            1 => with_register::<O, u16, ANY_MODE>,
            2 => with_register::<O, u32, ANY_MODE>,
            _ => with_register::<O, u64, ANY_MODE>,
        };
    }
    match (op.size, form.flat) {
        (1, true) => with_memory::<O, u16, ANY_MODE, crate::memory::Flat>,
        (1, false) => with_memory::<O, u16, ANY_MODE, crate::memory::Segmented>,
        (2, true) => with_memory::<O, u32, ANY_MODE, crate::memory::Flat>,
        (2, false) => with_memory::<O, u32, ANY_MODE, crate::memory::Segmented>,
        (_, true) => with_memory::<O, u64, ANY_MODE, crate::memory::Flat>,
        (_, false) => with_memory::<O, u64, ANY_MODE, crate::memory::Segmented>,
    }
}

/// The handler of `O`. Where only 64-bit mode, or no VEX prefix, is concerned nothing is asked about the mode.
fn choose<O: Operation>(instruction: &Instruction, op: &mut Op, form: Form, operand: u32) -> Handler {
    if form.mode.is_64() || instruction.encoding() == EncodingKind::Legacy {
        handler::<O, true>(instruction, op, form, operand)
    } else {
        handler::<O, false>(instruction, op, form, operand)
    }
}

fn accumulate<T: Int>(cpu: &mut Cpu, op: &Op, data: T) {
    let crc = u32::get(cpu, op.dst);
    let data = data.zext();
    let crc = match T::BITS {
        8 => crc32::crc32_8(crc, data as u8),
        16 => crc32::crc32_16(crc, data as u16),
        32 => crc32::crc32_32(crc, data as u32),
        _ => crc32::crc32_64(crc, data),
    };
    u32::set(cpu, op.dst, crc);
}

fn crc32_register<T: Int>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let data = T::get(cpu, op.src);
    accumulate(cpu, op, data);
    next!(cpu, mem, ops)
}

fn crc32_memory<T: Int, M: Addressing>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    let linear = attempt!(cpu, ops, M::linear(cpu, op, T::SIZE, false));
    let data = attempt!(cpu, ops, cpu.read::<T>(mem, linear, op.seg));
    accumulate(cpu, op, data);
    next!(cpu, mem, ops)
}

fn crc32(instruction: &Instruction, form: Form) -> Handler {
    if instruction.op1_kind() == OpKind::Register {
        match instruction.op1_register().size() {
            1 => crc32_register::<u8>,
            2 => crc32_register::<u16>,
            4 => crc32_register::<u32>,
            _ => crc32_register::<u64>,
        }
    } else {
        match instruction.memory_size().size() {
            1 => addressed!(form, crc32_memory, u8),
            2 => addressed!(form, crc32_memory, u16),
            4 => addressed!(form, crc32_memory, u32),
            _ => addressed!(form, crc32_memory, u64),
        }
    }
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, form: Form) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        Mnemonic::Popcnt => choose::<Popcnt>(instruction, op, form, 1),
        Mnemonic::Lzcnt => choose::<Lzcnt>(instruction, op, form, 1),
        Mnemonic::Tzcnt => choose::<Tzcnt>(instruction, op, form, 1),
        Mnemonic::Andn => choose::<Andn>(instruction, op, form, 2),
        Mnemonic::Blsi => choose::<Blsi>(instruction, op, form, 1),
        Mnemonic::Blsmsk => choose::<Blsmsk>(instruction, op, form, 1),
        Mnemonic::Blsr => choose::<Blsr>(instruction, op, form, 1),
        Mnemonic::Bextr => choose::<Bextr>(instruction, op, form, 1),
        Mnemonic::Bzhi => choose::<Bzhi>(instruction, op, form, 1),
        Mnemonic::Pdep => choose::<Pdep>(instruction, op, form, 2),
        Mnemonic::Pext => choose::<Pext>(instruction, op, form, 2),
        Mnemonic::Mulx => choose::<Mulx>(instruction, op, form, 2),
        Mnemonic::Rorx => choose::<Rorx>(instruction, op, form, 1),
        Mnemonic::Sarx => choose::<Sarx>(instruction, op, form, 1),
        Mnemonic::Shlx => choose::<Shlx>(instruction, op, form, 1),
        Mnemonic::Shrx => choose::<Shrx>(instruction, op, form, 1),
        Mnemonic::Adcx => choose::<Adcx>(instruction, op, form, 1),
        Mnemonic::Adox => choose::<Adox>(instruction, op, form, 1),
        Mnemonic::Crc32 => crc32(instruction, form),
        _ => return None,
    })
}
