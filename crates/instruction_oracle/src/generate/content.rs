//! What memory operands hold: values of the operand's type, and images with a format of their own.

use iced_x86::{Code, MemorySize, Mnemonic};

use super::{place, registers};
use crate::case::{Mode, selectors};
use crate::random::Random;
use crate::values::{self, Pool};

/// A bit of MXCSR that Intel reserves and AMD has (misaligned operands): both are never right.
const MXCSR_MM: u32 = 1 << 17;

/// Selectors a segment register may be tried with (not 1 to 3, which become 0 whenever the host's kernel takes an interrupt): null, the user's own, kernel code and data, a system segment of the local
/// table, one beyond the table.
pub(super) const SELECTORS: [u16; 8] =
    [0, selectors::DATA, selectors::DATA & !3, selectors::CODE, selectors::CODE32, 0x10, 0x0c, 0xfff8];

/// Bytes for a memory operand.
pub(super) fn content(random: &mut Random, mode: Mode, code: Code, pool: &Pool) -> Vec<u8> {
    let size = code.op_code().memory_size();
    match size {
        MemorySize::Float32 if size.size() == 4 && is_x87(code) => {
            values::single(random).to_le_bytes().to_vec()
        }
        MemorySize::Float64 if size.size() == 8 && is_x87(code) => {
            values::double(random).to_le_bytes().to_vec()
        }
        MemorySize::Float80 => values::extended(random).to_le_bytes()[..10].to_vec(),
        MemorySize::Bcd => values::decimal(random).to_vec(),
        MemorySize::FpuEnv14 | MemorySize::FpuState94 => x87_image(random, size.size(), 2),
        MemorySize::FpuEnv28 | MemorySize::FpuState108 => x87_image(random, size.size(), 4),
        MemorySize::Fxsave_512Byte | MemorySize::Fxsave64_512Byte => fxsave_image(random, mode, pool),
        MemorySize::SegPtr16 | MemorySize::SegPtr32 | MemorySize::SegPtr64 => {
            far_pointer(random, code, size.size() - 2)
        }
        MemorySize::QwordOffset | MemorySize::DwordOffset | MemorySize::WordOffset => {
            place::indirect_target(random).to_le_bytes()[..size.size()].to_vec()
        }
        _ if code == Code::Ldmxcsr_m32 => {
            let value =
                if random.percent(90) { registers::mxcsr(random) } else { random.bits() as u32 & !MXCSR_MM };
            value.to_le_bytes().to_vec()
        }
        _ if code == Code::Fldcw_m2byte => {
            let value =
                if random.percent(80) { registers::control_word(random) } else { random.bits() as u16 };
            value.to_le_bytes().to_vec()
        }
        _ if selects_segment(code) => random.pick(&SELECTORS).to_le_bytes().to_vec(),
        _ if size.size() <= 8 && !is_float(size) => {
            values::integer(random).to_le_bytes()[..size.size()].to_vec()
        }
        _ => (0..size.size().div_ceil(16))
            .flat_map(|_| pool.vector(random).to_le_bytes())
            .take(size.size())
            .collect(),
    }
}

fn is_float(size: MemorySize) -> bool {
    matches!(size.element_type(), MemorySize::Float32 | MemorySize::Float64)
}

fn is_x87(code: Code) -> bool {
    code.op_code().mnemonic() != Mnemonic::INVALID && {
        use iced_x86::CpuidFeature as F;
        code.cpuid_features().iter().any(|f| matches!(f, F::FPU | F::FPU287 | F::FPU387))
    }
}

/// Whether a 16-bit operand is a selector to be looked up.
pub(super) fn selects_segment(code: Code) -> bool {
    use Mnemonic::{Lar, Lsl, Verr, Verw};
    matches!(code.mnemonic(), Lar | Lsl | Verr | Verw)
        || matches!(code, Code::Mov_Sreg_rm16 | Code::Mov_Sreg_r32m16 | Code::Mov_Sreg_r64m16)
}

/// FLDENV and FRSTOR images: control, status and tag words `unit` bytes apart, then pointers, then registers.
fn x87_image(random: &mut Random, size: usize, unit: usize) -> Vec<u8> {
    let mut image = vec![0; size];
    random.fill(&mut image);
    let control = registers::control_word(random);
    let mut status = random.bits() as u16 & 0x7f00;
    if random.percent(30) {
        status |= random.bits() as u16 & 0x7f;
    }
    let status = registers::with_summary(status, control);
    for (i, word) in [control, status, random.bits() as u16].into_iter().enumerate() {
        image[i * unit..i * unit + 2].copy_from_slice(&word.to_le_bytes());
    }
    for register in image[7 * unit..].chunks_mut(10) {
        register.copy_from_slice(&values::extended(random).to_le_bytes()[..10]);
    }
    image
}

fn fxsave_image(random: &mut Random, mode: Mode, pool: &Pool) -> Vec<u8> {
    let (mut state, _) = registers::random_state(random, mode, None);
    state.fpu.xmm = std::array::from_fn(|_| pool.vector(random));
    let mut image = state.fpu.to_image();
    if random.percent(10) {
        let bit = random.below(32) as u32;
        let mxcsr = (state.fpu.mxcsr ^ 1 << bit) & !MXCSR_MM; // a reserved one gives #GP
        image[24..28].copy_from_slice(&mxcsr.to_le_bytes());
    }
    image.to_vec()
}

fn far_pointer(random: &mut Random, code: Code, offset_size: usize) -> Vec<u8> {
    let branches = matches!(code.mnemonic(), Mnemonic::Jmp | Mnemonic::Call);
    let offset = if branches { place::branch_target(random) } else { values::integer(random) };
    let selector = if branches { branch_selector(random) } else { random.pick(&SELECTORS) };
    let mut bytes = offset.to_le_bytes()[..offset_size].to_vec();
    bytes.extend(selector.to_le_bytes());
    bytes
}

/// A code segment to go to: nearly always the one the case runs in. Another would leave 64-bit mode.
pub(super) fn branch_selector(random: &mut Random) -> u16 {
    if random.percent(85) { selectors::CODE } else { random.pick(&[0, selectors::DATA, 0x10, 0x0c, 0xfff8]) }
}
