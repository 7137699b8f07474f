//! Explicit operands: chosen by what iced-x86 says each operand may be.

use iced_x86::{Code, Instruction, OpCodeOperandKind, OpKind, Register};

use crate::case::{Mode, STACK};
use crate::random::Random;
use crate::values;

use super::place;

/// What a memory operand is needed for, found while the operands are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryOperand {
    /// None.
    Absent,
    /// This operand is a ModRM memory operand, still without an address.
    Modrm(u32),
    /// This operand is an absolute 64-bit or 32-bit offset.
    Offset(u32),
}

/// An operand kind the generator has no operand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoOperand(pub(super) OpCodeOperandKind);

/// Sets every operand of a fresh instruction; memory operands are chosen but not yet addressed.
pub(super) fn explicit_operands(
    random: &mut Random,
    mode: Mode,
    code: Code,
    memory_form: bool,
) -> Result<(Instruction, MemoryOperand), NoOperand> {
    let mut instruction = Instruction::new();
    instruction.set_code(code);
    let mut memory = MemoryOperand::Absent;
    // String instructions choose one address size for all of their operands.
    let strings = match mode {
        Mode::Long if random.percent(85) => Strings::Bits64,
        Mode::Compatibility if random.percent(3) => Strings::Bits16,
        _ => Strings::Bits32,
    };
    let mut immediates = 0;
    for (index, &kind) in (0u32..).zip(code.op_code().op_kinds()) {
        match operand(random, mode, kind, memory_form, strings)? {
            Operand::Register(register) => {
                instruction.set_op_kind(index, OpKind::Register);
                instruction.set_op_register(index, register);
            }
            Operand::Immediate(kind, value) => {
                // ENTER has two.
                let kind = if immediates == 1 { OpKind::Immediate8_2nd } else { kind };
                immediates += 1;
                instruction.set_op_kind(index, kind);
                set_immediate(&mut instruction, kind, value);
            }
            Operand::Branch(kind, target) => {
                instruction.set_op_kind(index, kind);
                match kind {
                    OpKind::NearBranch16 => instruction.set_near_branch16(target as u16),
                    OpKind::NearBranch32 => instruction.set_near_branch32(target as u32),
                    _ => instruction.set_near_branch64(target),
                }
            }
            Operand::Implied(kind) => instruction.set_op_kind(index, kind),
            Operand::Modrm => memory = MemoryOperand::Modrm(index),
            Operand::Offset => memory = MemoryOperand::Offset(index),
        }
    }
    Ok((instruction, memory))
}

/// The width of the pointers of a string instruction.
#[derive(Clone, Copy, Debug)]
enum Strings {
    Bits16,
    Bits32,
    Bits64,
}

enum Operand {
    Register(Register),
    Immediate(OpKind, u64),
    Branch(OpKind, u64),
    Implied(OpKind),
    Modrm,
    Offset,
}

fn set_immediate(instruction: &mut Instruction, kind: OpKind, value: u64) {
    match kind {
        OpKind::Immediate8 => instruction.set_immediate8(value as u8),
        OpKind::Immediate8_2nd => instruction.set_immediate8_2nd(value as u8),
        OpKind::Immediate16 => instruction.set_immediate16(value as u16),
        OpKind::Immediate32 => instruction.set_immediate32(value as u32),
        OpKind::Immediate64 => instruction.set_immediate64(value),
        OpKind::Immediate8to16 => instruction.set_immediate8to16(i16::from(value as i8)),
        OpKind::Immediate8to32 => instruction.set_immediate8to32(i32::from(value as i8)),
        OpKind::Immediate8to64 => instruction.set_immediate8to64(i64::from(value as i8)),
        OpKind::Immediate32to64 => instruction.set_immediate32to64(i64::from(value as i32)),
        _ => unreachable!("not an immediate: {kind:?}"),
    }
}

fn register(random: &mut Random, first: Register, count: u32) -> Operand {
    Operand::Register(first + random.below(u64::from(count)) as u32)
}

fn operand(
    random: &mut Random,
    mode: Mode,
    kind: OpCodeOperandKind,
    memory_form: bool,
    strings: Strings,
) -> Result<Operand, NoOperand> {
    use OpCodeOperandKind as K;
    let string = |kinds: [OpKind; 3]| Operand::Implied(kinds[strings as usize]);
    let general = if mode == Mode::Long { 16 } else { 8 };
    let near = |random: &mut Random| {
        if random.percent(97) { place::branch_target(random) } else { STACK - 0x100 }
    };
    Ok(match kind {
        K::mem => Operand::Modrm,
        K::mem_offs => Operand::Offset,
        K::r8_or_mem | K::r16_or_mem | K::r32_or_mem | K::r64_or_mem | K::mm_or_mem | K::xmm_or_mem
            if memory_form =>
        {
            Operand::Modrm
        }
        K::r8_or_mem | K::r8_reg | K::r8_opcode => byte_register(random, mode),
        K::r16_or_mem | K::r16_reg | K::r16_reg_mem | K::r16_rm | K::r16_opcode => {
            register(random, Register::AX, general)
        }
        K::r32_or_mem | K::r32_reg | K::r32_reg_mem | K::r32_rm | K::r32_opcode | K::r32_vvvv => {
            register(random, Register::EAX, general)
        }
        K::r64_or_mem | K::r64_reg | K::r64_reg_mem | K::r64_rm | K::r64_opcode | K::r64_vvvv => {
            register(random, Register::RAX, general)
        }
        K::mm_or_mem | K::mm_reg | K::mm_rm => register(random, Register::MM0, 8),
        K::xmm_or_mem | K::xmm_reg | K::xmm_rm => register(random, Register::XMM0, general),
        K::seg_reg => register(random, Register::ES, 6),
        K::cr_reg => {
            let valid = [Register::CR0, Register::CR2, Register::CR3, Register::CR4, Register::CR8];
            Operand::Register(random.pick(&valid[..if mode == Mode::Long { 5 } else { 4 }]))
        }
        K::dr_reg => register(random, Register::DR0, 8),
        K::es => Operand::Register(Register::ES),
        K::cs => Operand::Register(Register::CS),
        K::ss => Operand::Register(Register::SS),
        K::ds => Operand::Register(Register::DS),
        K::fs => Operand::Register(Register::FS),
        K::gs => Operand::Register(Register::GS),
        K::al => Operand::Register(Register::AL),
        K::cl => Operand::Register(Register::CL),
        K::ax => Operand::Register(Register::AX),
        K::dx => Operand::Register(Register::DX),
        K::eax => Operand::Register(Register::EAX),
        K::rax => Operand::Register(Register::RAX),
        K::st0 => Operand::Register(Register::ST0),
        K::sti_opcode => register(random, Register::ST0, 8),
        K::imm8 => Operand::Immediate(OpKind::Immediate8, byte_immediate(random)),
        K::imm8_const_1 => Operand::Immediate(OpKind::Immediate8, 1),
        K::imm8sex16 => Operand::Immediate(OpKind::Immediate8to16, values::integer(random)),
        K::imm8sex32 => Operand::Immediate(OpKind::Immediate8to32, values::integer(random)),
        K::imm8sex64 => Operand::Immediate(OpKind::Immediate8to64, values::integer(random)),
        K::imm16 => Operand::Immediate(OpKind::Immediate16, values::integer(random)),
        K::imm32 => Operand::Immediate(OpKind::Immediate32, values::integer(random)),
        K::imm32sex64 => Operand::Immediate(OpKind::Immediate32to64, values::integer(random)),
        K::imm64 => Operand::Immediate(OpKind::Immediate64, values::integer(random)),
        K::br16_1 => Operand::Branch(OpKind::NearBranch16, short_target(random)),
        K::br16_2 => Operand::Branch(OpKind::NearBranch16, near(random)),
        K::br32_1 => Operand::Branch(OpKind::NearBranch32, short_target(random)),
        K::br32_4 => Operand::Branch(OpKind::NearBranch32, near(random)),
        K::br64_1 => Operand::Branch(OpKind::NearBranch64, short_target(random)),
        K::br64_4 => Operand::Branch(OpKind::NearBranch64, near(random)),
        K::seg_rSI => string([OpKind::MemorySegSI, OpKind::MemorySegESI, OpKind::MemorySegRSI]),
        K::es_rDI => string([OpKind::MemoryESDI, OpKind::MemoryESEDI, OpKind::MemoryESRDI]),
        K::seg_rDI => string([OpKind::MemorySegDI, OpKind::MemorySegEDI, OpKind::MemorySegRDI]),
        K::seg_rBX_al => {
            // XLAT's operand, as iced-x86 writes it.
            return Ok(Operand::Modrm);
        }
        _ => return Err(NoOperand(kind)),
    })
}

fn byte_register(random: &mut Random, mode: Mode) -> Operand {
    // AL to BL, AH to BH; then SPL to DIL, R8L to R15L.
    let last = if mode == Mode::Long { Register::R15L } else { Register::BH };
    register(random, Register::AL, last as u32 - Register::AL as u32 + 1)
}

/// Shift counts, rounding controls and shuffles are small; the rest of the byte is tried too.
fn byte_immediate(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => random.below(8),
        1 => random.below(72),
        _ => random.below(256),
    }
}

/// Within reach of an 8-bit displacement, but not in the instruction or the stub behind it.
fn short_target(random: &mut Random) -> u64 {
    let entry = crate::case::ENTRY;
    if random.percent(50) { entry + 30 + random.below(90) } else { entry - 10 - random.below(100) }
}
