//! Several integer instructions in a row: what an interpreter keeps from one instruction to the next (flags not computed yet, two
//! instructions made one operation, the block they are in) is only seen there.

use iced_x86::{
    Code, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

use super::{Failure, Generator, has_memory_form, operands, prelude, registers};
use crate::case::{Case, DATA, ENTRY, Encoding, Mode, STACK, STACK_SIZE, Sequence};
use crate::generate::operands::MemoryOperand;
use crate::random::Random;
use crate::scope;
use crate::undefined::{defined_flags, read_flags, undefined};

/// The register memory operands are based on; no instruction of a sequence writes it.
const BASE: usize = 3;
const ALIGNMENT_CHECK: u64 = 1 << 18;

/// The instructions sequences are made of.
pub(super) fn candidates(mode: Mode) -> Vec<Code> {
    scope::compared(mode).filter(|&code| is_candidate(code) && scope::host_lacks(code).is_none()).collect()
}

fn is_candidate(code: Code) -> bool {
    use Mnemonic::*;
    let info = code.op_code();
    // Counts in CL (their flags depend on it), absolute addresses, segment, control and debug registers.
    let unsuited = info.op_kinds().iter().any(|kind| {
        use iced_x86::OpCodeOperandKind as K;
        matches!(
            kind,
            K::cl
                | K::mem_offs
                | K::seg_reg
                | K::cr_reg
                | K::dr_reg
                | K::es
                | K::cs
                | K::ss
                | K::ds
                | K::fs
                | K::gs
        )
    });
    let arithmetic = matches!(
        info.mnemonic(),
        Add | Or
            | Adc
            | Sbb
            | And
            | Sub
            | Xor
            | Cmp
            | Test
            | Inc
            | Dec
            | Neg
            | Not
            | Mov
            | Movzx
            | Movsx
            | Movsxd
    );
    let shifts = matches!(
        info.mnemonic(),
        Shl | Shr | Sal | Sar | Rol | Ror | Rcl | Rcr | Shld | Shrd | Sarx | Shlx | Shrx | Rorx
    );
    let bits = matches!(
        info.mnemonic(),
        Bt | Bts
            | Btr
            | Btc
            | Popcnt
            | Lzcnt
            | Tzcnt
            | Andn
            | Blsi
            | Blsmsk
            | Blsr
            | Bzhi
            | Pdep
            | Pext
            | Bswap
            | Movbe
            | Crc32
    );
    let others = matches!(
        info.mnemonic(),
        Imul | Mul
            | Mulx
            | Adcx
            | Adox
            | Lea
            | Xchg
            | Xadd
            | Cmpxchg
            | Cbw
            | Cwde
            | Cdqe
            | Cwd
            | Cdq
            | Cqo
            | Lahf
            | Sahf
            | Clc
            | Stc
            | Cmc
            | Push
            | Pop
            | Nop
    );
    let conditional = format!("{:?}", info.mnemonic());
    let conditional = conditional.starts_with("Set") || conditional.starts_with("Cmov");
    (arithmetic || shifts || bits || others || conditional) && !unsuited
}

impl Generator {
    /// A sequence of two to nine instructions without a fault, perhaps with a conditional branch as its last.
    pub fn sequence(&mut self, random: &mut Random, mode: Mode) -> Result<Case, Failure> {
        let (mut state, _) = registers::random_state(random, mode, None);
        state.gpr[BASE] = DATA + 0x800 + (random.below(0x1000) & !7);
        state.gpr[4] = STACK + STACK_SIZE / 2;
        state.rflags &= !ALIGNMENT_CHECK;
        if mode == Mode::Compatibility {
            state.gpr[..8].iter_mut().for_each(|register| *register &= 0xffff_ffff);
        }
        let wanted = 2 + random.below(7);
        let mut factory = InstructionInfoFactory::new();
        let mut bytes = Vec::new();
        let mut unknown = 0;
        let mut count = 0;
        let mut last = Instruction::new();
        for _ in 0..200 {
            if count == wanted {
                break;
            }
            let code = random.pick(&self.candidates[mode as usize]);
            let Some(candidate) = self.member(random, mode, code, bytes.len()) else { continue };
            let (encoded, instruction) = candidate;
            let probe = Case {
                mode,
                instruction,
                sequence: None,
                encoding: Encoding::default(),
                state,
                prelude: None,
                patches: Vec::new(),
            };
            let leaves = undefined(&probe);
            let usable = !writes_reserved(&mut factory, &instruction)
                && read_flags(&instruction) & unknown == 0
                && leaves.gpr.is_none()
                && !leaves.memory
                && !shifts_by_zero(&instruction);
            if usable {
                unknown = unknown & !defined_flags(&instruction) | leaves.rflags;
                bytes.extend(encoded);
                last = instruction;
                count += 1;
            }
        }
        if random.percent(50)
            && let Some((encoded, branch)) = self.branch(random, mode, bytes.len(), unknown)
        {
            bytes.extend(encoded);
            last = branch;
            count += 1;
        }
        let encoding = Encoding::new(&bytes).ok_or_else(|| Failure::Encoder("too long".to_owned()))?;
        let prelude = prelude(random, &mut state);
        let sequence = Some(Sequence { instructions: count, undefined_flags: unknown });
        Ok(Case { mode, instruction: last, sequence, encoding, state, prelude, patches: Vec::new() })
    }

    /// One instruction, `offset` bytes into the sequence.
    fn member(
        &mut self,
        random: &mut Random,
        mode: Mode,
        code: Code,
        offset: usize,
    ) -> Option<(Vec<u8>, Instruction)> {
        let has_alternative = code.op_code().op_kinds().iter().any(|kind| has_memory_form(*kind));
        let memory_form = has_alternative && random.percent(35);
        let (mut instruction, memory) = operands::explicit_operands(random, mode, code, memory_form).ok()?;
        if let MemoryOperand::Modrm(index) = memory {
            let base = if mode == Mode::Long { Register::RBX } else { Register::EBX };
            instruction.set_op_kind(index, OpKind::Memory);
            instruction.set_memory_base(base);
            instruction.set_memory_displacement64((random.below(0x400) as i64 - 0x200).cast_unsigned());
            if mode == Mode::Compatibility {
                let displacement = instruction.memory_displacement64() & 0xffff_ffff;
                instruction.set_memory_displacement64(displacement);
            }
            instruction.set_memory_displ_size(4);
            // The bit of a register offset can be anywhere.
            if matches!(code.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
                && instruction.op1_kind() == OpKind::Register
            {
                return None;
            }
        }
        super::prefixes(random, &mut instruction, memory);
        self.encode(mode, &instruction, offset)
    }

    /// A conditional branch on flags that are defined.
    fn branch(
        &mut self,
        random: &mut Random,
        mode: Mode,
        offset: usize,
        unknown: u64,
    ) -> Option<(Vec<u8>, Instruction)> {
        for _ in 0..20 {
            let first = match mode {
                Mode::Long => Code::Jo_rel32_64,
                Mode::Compatibility => Code::Jo_rel32_32,
            };
            // The sixteen conditions have three codes each.
            let code = Code::try_from(first as usize + 3 * random.index(16)).ok()?;
            if code.op_code().is_available_in_mode(mode.bits())
                && code.flow_control() == FlowControl::ConditionalBranch
            {
                // Not forwards: there is more of the sequence than other branch targets keep clear of.
                let target = ENTRY - 48 - random.below(0x700);
                let mut branch = Instruction::new();
                branch.set_code(code);
                match mode {
                    Mode::Long => {
                        branch.set_op_kind(0, OpKind::NearBranch64);
                        branch.set_near_branch64(target);
                    }
                    Mode::Compatibility => {
                        branch.set_op_kind(0, OpKind::NearBranch32);
                        branch.set_near_branch32(target as u32);
                    }
                }
                if read_flags(&branch) & unknown == 0 {
                    return self.encode(mode, &branch, offset);
                }
            }
        }
        None
    }

    fn encode(
        &mut self,
        mode: Mode,
        instruction: &Instruction,
        offset: usize,
    ) -> Option<(Vec<u8>, Instruction)> {
        let encoder = &mut self.encoders[mode as usize];
        let address = ENTRY + offset as u64;
        let encoded = encoder.encode(instruction, address);
        let bytes = encoder.take_buffer();
        encoded.ok()?;
        let decoded = Case::decode_at(&bytes, mode, address);
        (decoded.code() == instruction.code()).then_some((bytes, decoded))
    }
}

/// Whether the instruction writes the base register, or RSP otherwise than PUSH and POP do.
fn writes_reserved(factory: &mut InstructionInfoFactory, instruction: &Instruction) -> bool {
    let names = |register: Register| {
        (0..instruction.op_count()).any(|i| {
            instruction.op_kind(i) == OpKind::Register
                && instruction.op_register(i).full_register() == register
        })
    };
    let writes_base = factory.info(instruction).used_registers().iter().any(|used| {
        let writes = !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None);
        writes && used.register().is_gpr() && used.register().full_register() == Register::RBX
    });
    writes_base || names(Register::RSP)
}

/// Shifts whose masked count is zero leave all flags as they are, which iced-x86 does not say.
fn shifts_by_zero(instruction: &Instruction) -> bool {
    use Mnemonic::{Rcl, Rcr, Rol, Ror, Sal, Sar, Shl, Shld, Shr, Shrd};
    matches!(instruction.mnemonic(), Rol | Ror | Rcl | Rcr | Shl | Shr | Sal | Sar | Shld | Shrd)
        && instruction.immediate8() & 0x1f == 0
}
