//! From guest bytes to blocks: iced-x86 decodes, the operands become the fields of an [`Op`], a family gives the handler.

use std::cell::Cell;

use guest_memory::{GuestMemory, PAGE_SIZE};
use iced_x86::{
    Code, CodeSize, Decoder, DecoderError, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind,
    Register,
};
use x86_defs::segment::index::{DS, FS, SS};

use crate::Cpu;
use crate::block::{Block, LINKS, NEVER_FITS, NONE, key};
use crate::cpu::CodeMode;
use crate::exec::{self, Form};
use crate::op::{
    BLOCK_RIP, Fault, Flow, HIGH_BYTE, Handler, MAX_BLOCK_OPS, Op, PREFIX_LOCK, PREFIX_REP, PREFIX_REPNE,
    ZERO,
};

/// Most bytes of an instruction (SDM 2A 2.3.11); more is #GP(0).
const MAX_INSTRUCTION: usize = 15;

/// Extensions this processor lacks decode as the older instructions they shadow: reserved NOPs (0F 18 to 0F 1F, among them
/// ENDBR and the MPX and CLDEMOTE opcodes) and WBINVD.
const OPTIONS: u32 = DecoderOptions::FORCE_RESERVED_NOP | DecoderOptions::NO_WBNOINVD;

/// Decodes the block at `linear`, which is the guest-physical `address`.
///
/// An instruction that reaches into the next page is alone in its block; its second page is looked up here and again at each
/// execution.
pub(crate) fn decode_block(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    linear: u64,
    address: u64,
    mode: CodeMode,
) -> Result<Block, Fault> {
    let mut bytes = [0xff_u8; PAGE_SIZE as usize + MAX_INSTRUCTION];
    let in_page = (PAGE_SIZE - address % PAGE_SIZE) as usize;
    // Where there is no RAM, a read gives all ones.
    let _ = mem.read_bytes(address, &mut bytes[..in_page]);
    let mut ops: Vec<Op> = Vec::new();
    let most = if mode.0 & CodeMode::STEP != 0 { 1 } else { MAX_BLOCK_OPS };
    let mut decoder = Decoder::with_ip(mode.bits(), &bytes[..in_page], 0, OPTIONS);
    let mut end = 0;
    let mut count = 0;
    let mut branches = 0;
    let mut previous: Option<Instruction> = None;
    // The last operation whose flags nobody has seen yet, and its handler should nobody ever.
    let mut unseen: Option<(usize, Handler)> = None;
    let mut second_page = None;
    while ops.len() < most {
        let mut instruction = unmistaken(decoder.decode(), &bytes, mode);
        if instruction.is_invalid() && decoder.last_error() == DecoderError::NoMoreBytes {
            if !ops.is_empty() {
                break;
            }
            // The first instruction needs bytes of the next page.
            let next_linear = cpu.wrap_linear(linear.wrapping_add(in_page as u64));
            let next = cpu.translate_fetch_second(mem, next_linear)?;
            let _ = mem.read_bytes(next, &mut bytes[in_page..in_page + MAX_INSTRUCTION]);
            let both = &bytes[..in_page + MAX_INSTRUCTION];
            instruction = unmistaken(Decoder::with_ip(mode.bits(), both, 0, OPTIONS).decode(), both, mode);
            second_page = Some(next);
            let (mut op, _) = lower(&instruction, mode, 0);
            if is_direct_branch(&instruction) {
                op.prefixes = 1;
            }
            end = instruction.len();
            count = 1;
            ops.push(op);
            break;
        }
        let (mut op, mut ends) = lower(&instruction, mode, count);
        if is_direct_branch(&instruction) {
            branches += 1;
            op.prefixes = branches;
            // What follows a conditional branch goes on in the block as long as there are links for more.
            ends |= !instruction.is_jcc_short_or_near() || usize::from(branches) == LINKS - 1;
        }
        end += instruction.len();
        count += 1;
        let fused = match (&previous, ops.last()) {
            (Some(first), Some(compare)) => exec::fused::fuse(first, compare, &instruction, &op),
            _ => None,
        };
        if let (Some(fused), Some(last)) = (fused, ops.last_mut()) {
            *last = fused;
        } else {
            ops.push(op);
        }
        let effect = FlagEffect::of(&instruction);
        if effect == FlagEffect::Overwrites
            && let Some((place, handler)) = unseen.take()
        {
            ops[place].run = handler;
        }
        if let Some(handler) = exec::quiet(&instruction, &op) {
            unseen = Some((ops.len() - 1, handler));
        } else if effect != FlagEffect::None {
            unseen = None;
        }
        previous = Some(instruction);
        if ends {
            break;
        }
    }
    // A one-instruction block that turned out to fit in the page after all has no second page.
    if end <= in_page {
        second_page = None;
    }
    Ok(Block {
        key: key(address, mode.0),
        count: if second_page.is_some() { NEVER_FITS } else { count as u32 },
        ops: ops.into_boxed_slice(),
        len: end as u32,
        second_page,
        links: [const { Cell::new(NONE) }; LINKS],
    })
}

/// What iced-x86 decoded, but for F3 REX.B 90: it says PAUSE, and it is XCHG of R8 and RAX (SDM 2A 2.2.1.2: REX.B extends the
/// register in the opcode), on which F3 has no effect.
fn unmistaken(instruction: Instruction, bytes: &[u8], mode: CodeMode) -> Instruction {
    let start = instruction.ip() as usize;
    let len = instruction.len();
    if instruction.code() != Code::Pause || !mode.is_64() {
        return instruction;
    }
    let mut copy = [0; MAX_INSTRUCTION];
    match (bytes.get(start..start + len), copy.get_mut(..len)) {
        (Some(original @ [prefixes @ .., rex, _]), Some(copy)) if rex & 0xf1 == 0x41 => {
            copy.copy_from_slice(original);
            for byte in &mut copy[..prefixes.len()] {
                // A DS override, without effect either.
                *byte = if *byte == 0xf3 { 0x3e } else { *byte };
            }
            Decoder::with_ip(64, copy, start as u64, OPTIONS).decode()
        }
        _ => instruction,
    }
}

/// What an instruction means for the flags of those before it in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlagEffect {
    /// It replaces all status flags without a look at them, and cannot fault: nobody sees what was there.
    Overwrites,
    /// It neither reads nor writes flags, and cannot fault.
    None,
    /// Anything else: the flags before it must be right.
    Sees,
}

impl FlagEffect {
    fn of(instruction: &Instruction) -> Self {
        let has_memory = (0..instruction.op_count()).any(|operand| {
            let kind = instruction.op_kind(operand);
            kind != OpKind::Register && !is_immediate(kind)
        });
        let plain = (0..instruction.op_count())
            .filter(|&operand| instruction.op_kind(operand) == OpKind::Register)
            .all(|operand| instruction.op_register(operand).is_gpr());
        match instruction.mnemonic() {
            // The address of LEA is computed, not accessed.
            Mnemonic::Lea if plain => Self::None,
            _ if has_memory || !plain => Self::Sees,
            Mnemonic::Add
            | Mnemonic::Sub
            | Mnemonic::And
            | Mnemonic::Or
            | Mnemonic::Xor
            | Mnemonic::Cmp
            | Mnemonic::Test
            | Mnemonic::Neg => Self::Overwrites,
            Mnemonic::Mov | Mnemonic::Movzx | Mnemonic::Movsx | Mnemonic::Movsxd => Self::None,
            _ => Self::Sees,
        }
    }
}

/// Whether an operand is an immediate.
const fn is_immediate(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    )
}

/// Number of a register operand as handlers index it.
fn number(register: Register) -> u8 {
    match register {
        Register::AH => HIGH_BYTE,
        Register::CH => HIGH_BYTE | 1,
        Register::DH => HIGH_BYTE | 2,
        Register::BH => HIGH_BYTE | 3,
        _ if register.is_gpr() => register.full_register().number() as u8,
        _ => register.number() as u8,
    }
}

/// log2 of a size in bytes; 0 for sizes that are no power of two.
fn log2(size: usize) -> u8 {
    if size.is_power_of_two() { size.trailing_zeros() as u8 } else { 0 }
}

/// One instruction as an operation, and whether the block ends with it.
fn lower(instruction: &Instruction, mode: CodeMode, before: usize) -> (Op, bool) {
    let end = instruction.next_ip();
    let start = end - instruction.len() as u64;
    let mut op = Op {
        run: invalid,
        imm: 0,
        disp: 0,
        start: start as u16,
        end: end as u16,
        before: before as u8,
        after: before as u8 + 1,
        dst: 0,
        src: 0,
        aux: 0,
        base: ZERO,
        index: ZERO,
        scale: 0,
        seg: 0,
        address_size: log2(mode.bits() as usize / 8),
        size: 0,
        prefixes: 0,
    };
    if instruction.is_invalid() {
        if instruction.len() >= MAX_INSTRUCTION {
            op.run = too_long;
        }
        return (op, true);
    }
    operands(instruction, &mut op);
    let form = Form { flat: mode.is_64() && op.address_size == 3 && op.seg < 4, mode };
    let Some(handler) = exec::lower(instruction, &mut op, form) else {
        return (op, true);
    };
    op.run = handler;
    (op, ends_block(instruction))
}

/// Whether `instruction` branches to a place that it names itself.
fn is_direct_branch(instruction: &Instruction) -> bool {
    matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
}

/// Whether nothing may follow `instruction` in its block: it branches in any case, or the run loop has to look behind it.
fn ends_block(instruction: &Instruction) -> bool {
    !matches!(instruction.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch)
        || instruction.is_privileged()
        || instruction.is_stack_instruction()
            && matches!(instruction.mnemonic(), Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq)
}

/// Fills the operand fields of `op`.
fn operands(instruction: &Instruction, op: &mut Op) {
    let mut immediate_seen = false;
    for operand in 0..instruction.op_count() {
        match instruction.op_kind(operand) {
            OpKind::Register => {
                let register = number(instruction.op_register(operand));
                match operand {
                    0 => op.dst = register,
                    1 => op.src = register,
                    2 => op.aux = register,
                    _ => {}
                }
            }
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                op.imm = instruction.near_branch_target();
                op.size = match instruction.op_kind(operand) {
                    OpKind::NearBranch16 => 1,
                    OpKind::NearBranch32 => 2,
                    _ => 3,
                };
            }
            kind if is_immediate(kind) && !immediate_seen => {
                op.imm = instruction.immediate(operand);
                immediate_seen = true;
            }
            OpKind::Memory => memory_operand(instruction, op),
            OpKind::MemorySegSI | OpKind::MemorySegDI => string_operand(instruction, op, 1),
            OpKind::MemorySegESI | OpKind::MemorySegEDI => string_operand(instruction, op, 2),
            OpKind::MemorySegRSI | OpKind::MemorySegRDI => string_operand(instruction, op, 3),
            OpKind::MemoryESDI => op.address_size = 1,
            OpKind::MemoryESEDI => op.address_size = 2,
            OpKind::MemoryESRDI => op.address_size = 3,
            _ => {}
        }
    }
    match instruction.op0_kind() {
        OpKind::Register if instruction.op0_register().is_gpr() => {
            op.size = log2(instruction.op0_register().size());
        }
        OpKind::Memory => op.size = log2(instruction.memory_size().size()),
        _ => {}
    }
    if let Some(size) = count_register_size(instruction.code()) {
        op.address_size = size;
    }
    if instruction.has_rep_prefix() {
        op.prefixes |= PREFIX_REP;
    }
    if instruction.has_repne_prefix() {
        op.prefixes |= PREFIX_REPNE;
    }
    if instruction.has_lock_prefix() {
        op.prefixes |= PREFIX_LOCK;
    }
}

/// The segment of a memory operand. In 64-bit mode only FS and GS override the default (SDM 1 3.4.2.1), which decides between
/// #SS and #GP for an address that is not canonical.
fn segment(instruction: &Instruction) -> u8 {
    let segment = number(instruction.memory_segment());
    if instruction.code_size() != CodeSize::Code64 || segment >= FS as u8 {
        return segment;
    }
    match instruction.memory_base() {
        Register::RSP | Register::ESP | Register::RBP | Register::EBP => SS as u8,
        _ => DS as u8,
    }
}

fn string_operand(instruction: &Instruction, op: &mut Op, address_size: u8) {
    op.seg = segment(instruction);
    op.address_size = address_size;
}

fn memory_operand(instruction: &Instruction, op: &mut Op) {
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    op.disp = instruction.memory_displacement64();
    op.seg = segment(instruction);
    op.base = match base {
        Register::None => ZERO,
        // Decoding counts from the start of the block, so the displacement already does.
        Register::RIP | Register::EIP => BLOCK_RIP,
        _ => number(base),
    };
    if index != Register::None {
        op.index = number(index);
        op.scale = instruction.memory_index_scale().trailing_zeros() as u8;
    }
    op.address_size = match (base, index) {
        (Register::RIP, _) => 3,
        (Register::EIP, _) => 2,
        (Register::None, Register::None) => log2(instruction.memory_displ_size() as usize),
        (Register::None, _) => log2(index.size()),
        _ => log2(base.size()),
    };
}

/// log2 of the bytes of the count register of LOOP and JrCXZ.
fn count_register_size(code: Code) -> Option<u8> {
    Some(match code {
        Code::Jcxz_rel8_16
        | Code::Jcxz_rel8_32
        | Code::Loop_rel8_16_CX
        | Code::Loop_rel8_32_CX
        | Code::Loope_rel8_16_CX
        | Code::Loope_rel8_32_CX
        | Code::Loopne_rel8_16_CX
        | Code::Loopne_rel8_32_CX => 1,
        Code::Jecxz_rel8_16
        | Code::Jecxz_rel8_32
        | Code::Jecxz_rel8_64
        | Code::Loop_rel8_16_ECX
        | Code::Loop_rel8_32_ECX
        | Code::Loop_rel8_64_ECX
        | Code::Loope_rel8_16_ECX
        | Code::Loope_rel8_32_ECX
        | Code::Loope_rel8_64_ECX
        | Code::Loopne_rel8_16_ECX
        | Code::Loopne_rel8_32_ECX
        | Code::Loopne_rel8_64_ECX => 2,
        Code::Jrcxz_rel8_16
        | Code::Jrcxz_rel8_64
        | Code::Loop_rel8_16_RCX
        | Code::Loop_rel8_64_RCX
        | Code::Loope_rel8_16_RCX
        | Code::Loope_rel8_64_RCX
        | Code::Loopne_rel8_16_RCX
        | Code::Loopne_rel8_64_RCX => 3,
        _ => return None,
    })
}

/// An opcode that does not exist, or one this processor does not have: #UD.
fn invalid(cpu: &mut Cpu, _mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.ud();
    cpu.abort(&ops[0])
}

/// More than 15 bytes: #GP(0) (SDM 2A 2.3.11).
fn too_long(cpu: &mut Cpu, _mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.gp0();
    cpu.abort(&ops[0])
}
