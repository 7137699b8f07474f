//! What an instruction needs beyond its explicit operands: stack and string pointers, counts, divisors that do not always
//! overflow, memory images with a format of their own.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use crate::case::{Mode, Patch, STACK, State, selectors};
use crate::random::Random;
use crate::values::{self, Lanes};

use super::content::{SELECTORS, branch_selector, selects_segment};
use super::{place, registers};

const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RBX: usize = 3;
const RSP: usize = 4;
const RBP: usize = 5;
const RSI: usize = 6;
const RDI: usize = 7;

/// The kind of lanes of a vector instruction; those that look for characters get characters.
pub(super) fn lanes(code: Code) -> Option<Lanes> {
    match code.mnemonic() {
        Mnemonic::Pcmpestri | Mnemonic::Pcmpestrm | Mnemonic::Pcmpistri | Mnemonic::Pcmpistrm => {
            Some(Lanes::Characters(1))
        }
        _ => registers::lanes(code),
    }
}

/// Whether a memory operand is read or written: LEA and the reserved no-operations only compute its address.
pub(super) fn accesses_memory(code: Code) -> bool {
    !matches!(code.mnemonic(), Mnemonic::Lea | Mnemonic::Nop | Mnemonic::Reservednop | Mnemonic::Invlpg)
}

/// A register the instruction uses beside its operands and that must keep its value when it is also a base register.
pub(super) fn fixed_register(code: Code) -> Option<usize> {
    code.op_code().is_stack_instruction().then_some(RSP)
}

/// POP computes an address based on RSP after it has moved RSP.
pub(super) fn stack_adjustment(code: Code) -> u64 {
    match code {
        Code::Pop_rm16 => 2,
        Code::Pop_rm32 => 4,
        Code::Pop_rm64 => 8,
        _ => 0,
    }
}

/// XLAT: its operand is `[RBX + AL]`.
pub(super) fn xlat(
    random: &mut Random,
    mode: Mode,
    instruction: &mut Instruction,
    state: &mut State,
    target: u64,
) {
    let narrow = mode == Mode::Compatibility || random.percent(15);
    instruction.set_op_kind(0, OpKind::Memory);
    instruction.set_memory_base(if narrow { Register::EBX } else { Register::RBX });
    instruction.set_memory_index(Register::AL);
    let base = target.wrapping_sub(state.gpr[RAX] & 0xff);
    state.gpr[RBX] = if narrow { base & 0xffff_ffff | random.bits() << 32 } else { base };
}

/// BT and its kin with a register offset: the bit is far from the operand's address. Returns the address such that the
/// bit lies at `target`.
pub(super) fn bit_offset(
    random: &mut Random,
    instruction: &Instruction,
    state: &mut State,
    memory_index: u32,
    target: u64,
) -> u64 {
    use Mnemonic::{Bt, Btc, Btr, Bts};
    if !matches!(instruction.mnemonic(), Bt | Btc | Btr | Bts)
        || memory_index != 0
        || instruction.op1_kind() != OpKind::Register
    {
        return target;
    }
    let register = instruction.op1_register();
    let size = register.size() as u64;
    let number = register.full_register().number();
    let bits = match size {
        2 => i64::from(random.bits() as i16),
        4 => i64::from(random.bits() as i32),
        _ => random.bits().cast_signed(),
    };
    let bits = if random.percent(60) { bits % 256 } else { bits };
    if number != RSP {
        let mask = u64::MAX >> (64 - 8 * size);
        state.gpr[number] = bits.cast_unsigned() & mask | random.bits() & !mask;
    }
    let displacement = bits.div_euclid(8 * size.cast_signed()) * size.cast_signed();
    target.wrapping_sub(displacement.cast_unsigned())
}

fn patch(patches: &mut Vec<Patch>, address: u64, bytes: impl Into<Vec<u8>>) {
    patches.push(Patch { address, bytes: bytes.into() });
}

/// Gives implied registers and memory the values that make the instruction do something.
pub(super) fn fix_up(
    random: &mut Random,
    instruction: &mut Instruction,
    state: &mut State,
    patches: &mut Vec<Patch>,
) {
    use Mnemonic::*;
    if instruction.is_string_instruction() {
        return string(random, instruction, state, patches);
    }
    let code = instruction.code();
    let rsp = state.gpr[RSP];
    match instruction.mnemonic() {
        Bound => bound(random, instruction, state, patches),
        Jmp | Call => indirect_branch(random, instruction, state),
        Ret => patch(patches, rsp, place::indirect_target(random).to_le_bytes()),
        Retf => far_return(random, code, state, patches),
        Iret | Iretd | Iretq => interrupt_return(random, code, state, patches),
        Popf | Popfd | Popfq => {
            // With TF set, the harness would be stepped.
            let flags = random.bits() & 0xffff_ffff & !0x100;
            patch(patches, rsp, flags.to_le_bytes());
        }
        Pop if instruction.op0_kind() == OpKind::Register
            && instruction.op0_register().is_segment_register() =>
        {
            let selector = u64::from(random.pick(&SELECTORS)) | random.bits() << 16;
            patch(patches, rsp, selector.to_le_bytes());
        }
        Enter => enter(random, instruction, state),
        Leave => {
            state.gpr[RBP] = place::stack_address(random);
        }
        Loop | Loope | Loopne | Jrcxz | Jecxz | Jcxz if random.percent(60) => {
            state.gpr[RCX] = random.below(3) | if random.percent(30) { 1 << 32 } else { 0 };
        }
        Rol | Ror | Rcl | Rcr | Shl | Shr | Sal | Sar | Shld | Shrd if counts_with_cl(instruction) => {
            let count = if random.percent(70) { random.below(80) } else { random.below(256) };
            if !addresses_with(instruction, RCX) {
                state.gpr[RCX] = state.gpr[RCX] & !0xff | count;
            }
        }
        Div | Idiv => division(random, instruction, state, patches),
        Cmpxchg => compare_exchange(random, instruction, state, patches),
        Cmpxchg8b | Cmpxchg16b => compare_exchange_double(random, instruction, state, patches),
        Maskmovq | Maskmovdqu => {
            let size = if instruction.mnemonic() == Maskmovq { 8 } else { 16 };
            let narrow = instruction.op0_kind() == OpKind::MemorySegEDI;
            let target = place::operand_address(random, size, size);
            state.gpr[RDI] = if narrow { target | random.bits() << 32 } else { target };
        }
        Pcmpestri | Pcmpestrm => {
            for register in [RAX, RDX] {
                if random.percent(80) && !addresses_with(instruction, register) {
                    state.gpr[register] = random.below(40).wrapping_sub(20)
                        & if random.percent(50) { u64::MAX } else { 0xffff_ffff };
                }
            }
        }
        Bextr | Bzhi => {
            let control = instruction.op2_register().full_register().number();
            if random.percent(70) && !addresses_with(instruction, control) {
                state.gpr[control] = random.below(80) | random.below(80) << 8;
            }
        }
        Mov | Lar | Lsl | Verr | Verw if selects_segment(code) => {
            selector_register(random, instruction, state)
        }
        _ => {}
    }
}

fn addresses_with(instruction: &Instruction, register: usize) -> bool {
    [instruction.memory_base(), instruction.memory_index()]
        .iter()
        .any(|&used| used != Register::None && used.is_gpr() && used.full_register().number() == register)
}

fn counts_with_cl(instruction: &Instruction) -> bool {
    let last = instruction.op_count() - 1;
    instruction.op_kind(last) == OpKind::Register && instruction.op_register(last) == Register::CL
}

fn indirect_branch(random: &mut Random, instruction: &Instruction, state: &mut State) {
    if instruction.op0_kind() == OpKind::Register {
        let number = instruction.op0_register().number();
        if number != RSP {
            state.gpr[number] = if random.percent(97) {
                place::indirect_target(random)
            } else {
                place::non_canonical(random)
            };
        }
    }
}

/// The size in bytes of the things a far return pops.
fn far_unit(code: Code) -> usize {
    match code.op_code().operand_size() {
        16 => 2,
        32 => 4,
        _ => 8,
    }
}

fn words(values: &[u64], unit: usize) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()[..unit].to_vec()).collect()
}

fn far_return(random: &mut Random, code: Code, state: &State, patches: &mut Vec<Patch>) {
    let unit = far_unit(code);
    let frame = [place::branch_target(random), u64::from(branch_selector(random))];
    patch(patches, state.gpr[RSP], words(&frame, unit));
}

fn interrupt_return(random: &mut Random, code: Code, state: &mut State, patches: &mut Vec<Patch>) {
    let unit = far_unit(code);
    // Neither TF nor NT: the harness would be stepped, or an IRET of the kernel become a task switch.
    let flags = random.bits() & 0x24_0cd5;
    let frame = [
        place::branch_target(random),
        u64::from(branch_selector(random)),
        flags,
        STACK + random.below(0x1000),
        u64::from(if random.percent(90) { selectors::DATA } else { 0x10 }),
    ];
    patch(patches, state.gpr[RSP], words(&frame, unit));
}

fn enter(random: &mut Random, instruction: &mut Instruction, state: &mut State) {
    state.gpr[RBP] = place::stack_address(random);
    if random.percent(90) {
        instruction.set_immediate16(random.below(0x100) as u16);
    }
    if random.percent(70) {
        instruction.set_immediate8_2nd(random.below(4) as u8);
    }
}

/// Bounds around the index, mostly.
fn bound(random: &mut Random, instruction: &Instruction, state: &State, patches: &mut [Patch]) {
    let size = instruction.op0_register().size();
    let index = state.gpr[instruction.op0_register().full_register().number()];
    if let (Some(patch), true) = (patches.first_mut(), random.percent(70)) {
        let bounds = [index.wrapping_sub(random.below(3)), index.wrapping_add(random.below(3))];
        patch.bytes = words(&bounds, size);
    }
}

/// Makes the quotient fit most of the time.
fn division(random: &mut Random, instruction: &Instruction, state: &mut State, patches: &[Patch]) {
    let size = match instruction.op0_kind() {
        OpKind::Register => instruction.op0_register().size(),
        _ => instruction.memory_size().size(),
    };
    if random.percent(15) {
        return;
    }
    let divisor = match instruction.op0_kind() {
        OpKind::Register => {
            let register = instruction.op0_register();
            let shift = if is_high_byte(register) { 8 } else { 0 };
            state.gpr[register.full_register().number()] >> shift
        }
        _ => patches.first().map_or(1, |patch| little_endian(&patch.bytes)),
    };
    let mask = u64::MAX >> (64 - 8 * size);
    let divisor = divisor & mask;
    // A high half below the divisor is a quotient that fits; for IDIV the half of that, or its negative.
    let high = random.below(divisor.max(1));
    let high = match instruction.mnemonic() {
        Mnemonic::Idiv => {
            let signed = (divisor << (64 - 8 * size)).cast_signed() >> (64 - 8 * size);
            let high = random.below(signed.unsigned_abs().max(2)) / 2;
            if random.percent(50) { !high & mask } else { high }
        }
        _ => high,
    };
    if size == 1 && addresses_with(instruction, RAX) {
        // The dividend is what the address makes it.
    } else if size == 1 {
        state.gpr[RAX] = state.gpr[RAX] & !0xff00 | (high & 0xff) << 8;
    } else if !addresses_with(instruction, RDX) && instruction.op0_register().full_register() != Register::RDX
    {
        state.gpr[RDX] = state.gpr[RDX] & !mask | high & mask;
    }
}

fn is_high_byte(register: Register) -> bool {
    matches!(register, Register::AH | Register::CH | Register::DH | Register::BH)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn compare_exchange(random: &mut Random, instruction: &Instruction, state: &mut State, patches: &[Patch]) {
    if random.percent(50) || addresses_with(instruction, RAX) {
        return;
    }
    let expected = match (instruction.op0_kind(), patches.first()) {
        (OpKind::Register, _) => state.gpr[instruction.op0_register().full_register().number()],
        (_, Some(patch)) => {
            little_endian(&patch.bytes) | random.bits() << 8 << (8 * patch.bytes.len().min(7) - 8)
        }
        _ => return,
    };
    state.gpr[RAX] = expected;
}

fn compare_exchange_double(
    random: &mut Random,
    instruction: &Instruction,
    state: &mut State,
    patches: &mut [Patch],
) {
    let Some(patch) = patches.first_mut() else { return };
    if random.percent(40) {
        return;
    }
    let half = instruction.memory_size().size() / 2;
    // The memory gets what RDX:RAX hold, so that address registers among them stay as they are.
    let bytes = [state.gpr[RAX], state.gpr[RDX]].map(u64::to_le_bytes);
    patch.bytes = [&bytes[0][..half], &bytes[1][..half]].concat();
}

fn selector_register(random: &mut Random, instruction: &Instruction, state: &mut State) {
    let source = instruction.op_count() - 1;
    if instruction.op_kind(source) == OpKind::Register {
        let number = instruction.op_register(source).full_register().number();
        if number != RSP {
            state.gpr[number] = state.gpr[number] & !0xffff | u64::from(random.pick(&SELECTORS));
        }
    }
}

/// Pointers, counts and content for MOVS, CMPS, SCAS, LODS, STOS, INS and OUTS.
fn string(random: &mut Random, instruction: &Instruction, state: &mut State, patches: &mut Vec<Patch>) {
    let size = instruction.memory_size().size() as u64;
    let repeats = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    let narrow = (0..instruction.op_count())
        .any(|i| matches!(instruction.op_kind(i), OpKind::MemorySegESI | OpKind::MemoryESEDI));
    let upper = |random: &mut Random| if narrow { random.bits() << 32 } else { 0 };
    let count = match random.below(10) {
        0 => 0,
        1 => 1,
        2 => 40 + random.below(60),
        // Across a page or two.
        3 if random.percent(20) => random.below(0x1800 / size),
        _ => random.below(20),
    };
    if repeats {
        state.gpr[RCX] = count | upper(random);
    }
    let span = size * if repeats { count.max(1) } else { 1 };
    let backwards = state.rflags & 0x400 != 0;
    let start = |random: &mut Random| {
        let low = place::operand_address(random, span, size);
        if backwards { low.wrapping_add(span).wrapping_sub(size) } else { low }
    };
    let source = start(random);
    let destination = match random.below(5) {
        // Overlapping operands.
        0 => source.wrapping_add(random.below(64)).wrapping_sub(32),
        1 => source.wrapping_add(size),
        _ => start(random),
    };
    state.gpr[RSI] = source | upper(random);
    state.gpr[RDI] = destination | upper(random);

    // Equal content, but for one byte: REPE and REPNE end somewhere in the middle.
    let scans = matches!(
        instruction.mnemonic(),
        Mnemonic::Scasb | Mnemonic::Scasw | Mnemonic::Scasd | Mnemonic::Scasq
    );
    let low = |address: u64| if backwards { address.wrapping_add(size).wrapping_sub(span) } else { address };
    if span <= 0x2000 && random.percent(70) {
        let element = values::integer(random).to_le_bytes();
        let mut bytes: Vec<u8> =
            element[..size as usize].iter().copied().cycle().take(span as usize).collect();
        if scans {
            state.gpr[RAX] = u64::from_le_bytes(element);
        } else {
            patch(patches, low(source), bytes.clone());
        }
        if instruction.has_repne_prefix() {
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
        }
        let odd = random.index(bytes.len());
        bytes[odd] = element[odd % size as usize] ^ if instruction.has_repne_prefix() { 0 } else { 0x5a };
        if instruction.has_repne_prefix() {
            // One whole element that is equal.
            let at = odd / size as usize * size as usize;
            bytes[at..at + size as usize].copy_from_slice(&element[..size as usize]);
        }
        patch(patches, low(destination), bytes);
    }
}
