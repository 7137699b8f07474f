//! What the manual leaves undefined after an instruction: flags, x87 condition codes, destinations.

use iced_x86::{Instruction, Mnemonic, OpKind, Register, RflagsBits};

use crate::case::Case;

/// What is not compared because the Intel SDM says it is undefined, or does not say what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undefined {
    /// Bits of RFLAGS.
    pub rflags: u64,
    /// Bits of the x87 status word.
    pub fsw: u16,
    /// A general-purpose register and bits of it.
    pub gpr: Option<(usize, u64)>,
    /// Whether operand memory is.
    pub memory: bool,
}

const CF: u64 = 1 << 0;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;
const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

/// What is undefined after this case, if the instruction retires.
pub fn undefined(case: &Case) -> Undefined {
    if let Some(sequence) = case.sequence {
        return Undefined { rflags: sequence.undefined_flags, ..Undefined::default() };
    }
    use Mnemonic::{Bsf, Bsr, Bswap, Lar, Rcl, Rcr, Rol, Ror, Sal, Sar, Shl, Shld, Shr, Shrd};
    let instruction = &case.instruction;
    let bits = instruction.rflags_undefined();
    let mut undefined =
        Undefined { rflags: rflags(bits), fsw: condition_codes(bits), ..Undefined::default() };
    match instruction.mnemonic() {
        // The count may be in CL, which iced-x86 does not know.
        Shl | Sal | Shr | Sar => undefined.rflags = shift(case, count(case, 0), true),
        Rol | Ror | Rcl | Rcr => undefined.rflags = shift(case, count(case, 0), false),
        Shld | Shrd => {
            let count = count(case, 0);
            undefined.rflags = shift(case, count, true);
            if count > u64::from(operand_bits(instruction)) {
                undefined.rflags = STATUS;
                destination(instruction, &mut undefined);
            }
        }
        // SDM 2A, BSF and BSR: "If the content of the source operand is 0, the content of the destination operand is undefined."
        Bsf | Bsr if source_is_zero(case) => destination(instruction, &mut undefined),
        // SDM 2A, BSWAP: "When the BSWAP instruction references a 16-bit register, the result is undefined."
        Bswap if operand_bits(instruction) == 16 => destination(instruction, &mut undefined),
        // SDM 2A, LAR: the access rights are "masked by 00FxFF00H, where x indicates that the four bits corresponding to the upper
        // four bits of the limit are undefined".
        Lar => undefined.gpr = Some((instruction.op0_register().full_register().number(), 0xf_0000)),
        _ => {}
    }
    undefined
}

/// Status flags the instruction reads.
pub fn read_flags(instruction: &Instruction) -> u64 {
    rflags(instruction.rflags_read())
}

/// Status flags that have a defined value after the instruction, whatever it was before.
pub fn defined_flags(instruction: &Instruction) -> u64 {
    rflags(instruction.rflags_written() | instruction.rflags_cleared() | instruction.rflags_set())
}

fn rflags(bits: u32) -> u64 {
    [
        (RflagsBits::CF, CF),
        (RflagsBits::PF, PF),
        (RflagsBits::AF, AF),
        (RflagsBits::ZF, ZF),
        (RflagsBits::SF, SF),
        (RflagsBits::OF, OF),
    ]
    .iter()
    .filter(|(bit, _)| bits & bit != 0)
    .fold(0, |flags, (_, flag)| flags | flag)
}

fn condition_codes(bits: u32) -> u16 {
    [(RflagsBits::C0, 0x100), (RflagsBits::C1, 0x200), (RflagsBits::C2, 0x400), (RflagsBits::C3, 0x4000)]
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .fold(0, |codes, (_, code)| codes | code)
}

fn operand_bits(instruction: &Instruction) -> u32 {
    match instruction.op0_kind() {
        OpKind::Register => instruction.op0_register().size() as u32 * 8,
        _ => instruction.memory_size().size() as u32 * 8,
    }
}

/// The masked count of a shift or rotate: its last operand.
fn count(case: &Case, default: u64) -> u64 {
    let instruction = &case.instruction;
    let last = instruction.op_count() - 1;
    let count = match instruction.op_kind(last) {
        OpKind::Register if instruction.op_register(last) == Register::CL => case.state.gpr[1] & 0xff,
        OpKind::Immediate8 => u64::from(instruction.immediate8()),
        _ => default,
    };
    count & if operand_bits(instruction) == 64 { 0x3f } else { 0x1f }
}

/// SDM 2B, SAL/SAR/SHL/SHR and RCL/RCR/ROL/ROR, "Flags Affected".
fn shift(case: &Case, count: u64, is_shift: bool) -> u64 {
    if count == 0 {
        return 0;
    }
    let mut flags = if count == 1 { 0 } else { OF };
    if is_shift {
        flags |= AF;
        let logical = case.instruction.mnemonic() != Mnemonic::Sar;
        if logical && count >= u64::from(operand_bits(&case.instruction)) {
            // "The CF flag is undefined for SHL and SHR instructions where the count is greater than or equal to the size (in bits)
            // of the destination operand"; SHLD and SHRD by the whole size move the other operand's last bit.
            if !matches!(case.instruction.mnemonic(), Mnemonic::Shld | Mnemonic::Shrd) {
                flags |= CF;
            }
        }
    }
    flags
}

fn destination(instruction: &Instruction, undefined: &mut Undefined) {
    if instruction.op0_kind() == OpKind::Register {
        undefined.gpr = Some((instruction.op0_register().full_register().number(), u64::MAX));
    } else {
        undefined.memory = true;
    }
}

/// Whether the source operand of BSF or BSR is zero. A memory operand is what the first patch made it.
fn source_is_zero(case: &Case) -> bool {
    let instruction = &case.instruction;
    let bits = operand_bits(instruction);
    let mask = u64::MAX >> (64 - bits);
    match instruction.op1_kind() {
        OpKind::Register => case.state.gpr[instruction.op1_register().full_register().number()] & mask == 0,
        _ => case
            .patches
            .first()
            .is_none_or(|patch| patch.bytes.iter().take(bits as usize / 8).all(|&byte| byte == 0)),
    }
}
