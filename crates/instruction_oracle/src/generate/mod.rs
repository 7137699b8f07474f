//! Makes cases: for a given iced-x86 `Code` and source of random numbers one instruction, its registers and its memory.

mod content;
mod implied;
mod operands;
mod place;
mod registers;
mod sequence;

use std::fmt;

use iced_x86::{Code, Encoder, Instruction, Mnemonic, OpKind};

use crate::case::{Case, ENTRY, Encoding, Mode, Patch, Prelude, State};
use crate::random::Random;
use crate::scope;
use crate::values::Pool;

use operands::MemoryOperand;

/// Why no case could be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// An operand of a kind the generator does not know.
    Operand(String),
    /// The encoder refused every attempt, the last time for this reason.
    Encoder(String),
    /// The bytes decode to another instruction.
    DecodesAs(Code),
}

/// Makes cases.
pub struct Generator {
    encoders: [Encoder; 2],
    /// What sequences are made of, by mode.
    candidates: [Vec<Code>; 2],
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator").finish_non_exhaustive()
    }
}

impl Default for Generator {
    fn default() -> Self {
        Self::new()
    }
}

impl Generator {
    /// A generator. What it makes depends on the random numbers it is given alone.
    pub fn new() -> Self {
        Self {
            encoders: Mode::ALL.map(|mode| Encoder::new(mode.bits())),
            candidates: Mode::ALL.map(sequence::candidates),
        }
    }

    /// A case for `code`. With some chance its bytes get one more prefix, and it is then one for another code.
    pub fn case(&mut self, random: &mut Random, mode: Mode, code: Code) -> Result<Case, Failure> {
        let mut failure = Failure::Encoder(String::new());
        // High byte registers and REX prefixes exclude each other, and the like: try again.
        for _ in 0..50 {
            match self.attempt(random, mode, code) {
                Ok(case) => return Ok(case),
                Err(other) => failure = other,
            }
        }
        Err(failure)
    }

    fn attempt(&mut self, random: &mut Random, mode: Mode, code: Code) -> Result<Case, Failure> {
        let has_alternative = code.op_code().op_kinds().iter().any(|kind| has_memory_form(*kind));
        let memory_form = has_alternative && random.percent(45);
        let (mut instruction, memory) = operands::explicit_operands(random, mode, code, memory_form)
            .map_err(|error| Failure::Operand(format!("{:?}", error.0)))?;
        let (mut state, pool) = registers::random_state(random, mode, implied::lanes(code));
        let mut patches = Vec::new();
        Self::memory_operand(random, mode, &mut instruction, memory, &mut state, &pool, &mut patches);
        prefixes(random, &mut instruction, memory);
        implied::fix_up(random, &mut instruction, &mut state, &mut patches);
        if mode == Mode::Compatibility {
            // There are no upper halves to begin with.
            state.gpr[..8].iter_mut().for_each(|register| *register &= 0xffff_ffff);
        }
        // The bases are loaded with WRFSBASE and WRGSBASE, which refuse other addresses.
        debug_assert!(place::is_canonical(state.fs_base) && place::is_canonical(state.gs_base));

        let encoder = &mut self.encoders[mode as usize];
        let encoded = encoder.encode(&instruction, ENTRY);
        // Taken in any case: a failed attempt leaves bytes behind.
        let mut bytes = encoder.take_buffer();
        encoded.map_err(|error| Failure::Encoder(error.to_string()))?;
        let mut decoded = Case::decode(&bytes, mode);
        let mut extended = [&[0], bytes.as_slice()].concat();
        if decoded.code() != code {
            return Err(Failure::DecodesAs(decoded.code()));
        }
        if random.percent(4) {
            extended[0] = random.pick(&[0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);
            let with_prefix = Case::decode(&extended, mode);
            let locked = extended[0] == 0xf0 && with_prefix.code() == Code::INVALID && extended.len() < 15;
            // A shorter immediate would leave bytes behind the instruction.
            let whole = with_prefix.len() == extended.len();
            if whole && acceptable(&extended, mode, &decoded, &with_prefix) || locked {
                bytes = std::mem::take(&mut extended);
                decoded = with_prefix;
            }
        }
        let encoding = Some(&bytes).filter(|bytes| bytes.len() <= 15).and_then(|bytes| Encoding::new(bytes));
        let encoding = encoding.ok_or_else(|| Failure::Encoder("too long".to_owned()))?;
        let prelude = prelude(random, &mut state);
        Ok(Case { mode, instruction: decoded, sequence: None, encoding, state, prelude, patches })
    }

    /// Chooses where a memory operand lies, what it holds and how it is addressed.
    fn memory_operand(
        random: &mut Random,
        mode: Mode,
        instruction: &mut Instruction,
        memory: MemoryOperand,
        state: &mut State,
        pool: &Pool,
        patches: &mut Vec<Patch>,
    ) {
        let code = instruction.code();
        let index = match memory {
            MemoryOperand::Absent => return,
            MemoryOperand::Modrm(index) | MemoryOperand::Offset(index) => index,
        };
        let size = code.op_code().memory_size().size() as u64;
        let alignment = size.next_power_of_two().clamp(1, 64);
        let accesses = implied::accesses_memory(code);
        let target = if accesses {
            place::operand_address(random, size, alignment)
        } else {
            crate::values::integer(random)
        };
        if accesses {
            patches.push(Patch { address: target, bytes: content::content(random, mode, code, pool) });
        }
        if let MemoryOperand::Offset(_) = memory {
            instruction.set_op_kind(index, OpKind::Memory);
            instruction.set_memory_displacement64(target);
            let narrow = mode == Mode::Compatibility || random.percent(20);
            instruction.set_memory_displ_size(if narrow { 4 } else { 8 });
            return;
        }
        if code == Code::Xlat_m8 {
            implied::xlat(random, mode, instruction, state, target);
            return;
        }
        let constraints = place::Constraints {
            mode,
            fixed: implied::fixed_register(code),
            stack_adjustment: implied::stack_adjustment(code),
            accesses,
        };
        let target = implied::bit_offset(random, instruction, state, index, target);
        place::address_operand(random, instruction, state, index, target, constraints);
    }
}

fn has_memory_form(kind: iced_x86::OpCodeOperandKind) -> bool {
    use iced_x86::OpCodeOperandKind as K;
    matches!(
        kind,
        K::r8_or_mem | K::r16_or_mem | K::r32_or_mem | K::r64_or_mem | K::mm_or_mem | K::xmm_or_mem
    )
}

/// Gives the status flags values that a comparison has.
fn prelude(random: &mut Random, state: &mut State) -> Option<Prelude> {
    let al = state.gpr[0] as u8;
    let immediate = if random.percent(30) { al } else { random.bits() as u8 };
    let prelude = match random.below(3) {
        0 => Prelude::Compare(immediate),
        1 => Prelude::Test(immediate),
        _ => return None,
    };
    state.rflags = state.rflags & !registers::STATUS | prelude.flags(al);
    Some(prelude)
}

/// LOCK and REP, where the instruction has them.
fn prefixes(random: &mut Random, instruction: &mut Instruction, memory: MemoryOperand) {
    let info = instruction.code().op_code();
    if info.can_use_lock_prefix() && memory != MemoryOperand::Absent && random.percent(40) {
        instruction.set_has_lock_prefix(true);
    }
    if info.can_use_rep_prefix() && random.percent(35) {
        instruction.set_has_rep_prefix(true);
    } else if info.can_use_repne_prefix() && random.percent(35) {
        instruction.set_has_repne_prefix(true);
    }
}

/// Whether bytes with one more prefix are still an instruction that may run natively on the state made for the original.
fn acceptable(bytes: &[u8], mode: Mode, original: &Instruction, with_prefix: &Instruction) -> bool {
    let code = with_prefix.code();
    // A REP prefix on a string instruction made without one would count through all of RCX.
    code != Code::INVALID
        && scope::exclusion(code, mode).is_none()
        && (original.has_rep_prefix() || !with_prefix.has_rep_prefix() || !original.is_string_instruction())
        && (original.has_repne_prefix()
            || !with_prefix.has_repne_prefix()
            || !original.is_string_instruction())
        // Reserved (SDM 2A 2.1.1), and not without effect on every processor.
        && !(matches!(code.mnemonic(), Mnemonic::Loope | Mnemonic::Loopne) && matches!(bytes[0], 0xf2 | 0xf3))
}
