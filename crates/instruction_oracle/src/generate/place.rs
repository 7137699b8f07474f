//! Where a memory operand lies, and the addressing form that reaches it.

use iced_x86::{Instruction, OpKind, Register};

use crate::case::{CODE, DATA, DATA_SIZE, DATA_WRITABLE, ENTRY, Mode, STACK, STACK_SIZE, State};
use crate::random::Random;
use crate::values;

const PAGE: u64 = 0x1000;

/// The linear address of an operand of `size` bytes: mostly in writable memory, sometimes across or behind one of its ends.
pub(super) fn operand_address(random: &mut Random, size: u64, alignment: u64) -> u64 {
    let size = size.max(1);
    // A repeated string can be longer than what is left for it; it then starts where the choice begins.
    let within = |random: &mut Random, room: u64| random.below(room.saturating_sub(size).max(1));
    let across = |random: &mut Random, edge: u64| {
        let before = if size > 1 { 1 + random.below(size - 1) } else { 0 };
        edge.wrapping_sub(before)
    };
    match random.below(100) {
        0..=3 => across(random, DATA + PAGE),
        4..=6 => DATA + DATA_WRITABLE + within(random, DATA_SIZE - DATA_WRITABLE),
        7..=8 => across(random, DATA + DATA_WRITABLE),
        9..=10 => across(random, DATA + DATA_SIZE),
        11 => across(random, DATA),
        12 => (DATA + DATA_SIZE) + random.below(64),
        13 => DATA - 1 - random.below(64),
        14..=16 => DATA + DATA_WRITABLE - size, // up to the last writable byte
        _ => {
            let address = DATA + 0x400 + within(random, DATA_WRITABLE - 0x800);
            if random.percent(85) { address & !(alignment - 1) } else { address }
        }
    }
}

/// A stack pointer: mostly in the middle of the stack page and aligned.
pub(super) fn stack_address(random: &mut Random) -> u64 {
    let address = match random.below(100) {
        0..=2 => STACK + random.below(32),
        3..=5 => STACK + STACK_SIZE - random.below(32),
        6 => STACK - random.below(16),
        7 => STACK + STACK_SIZE + random.below(16),
        8 => non_canonical(random),
        _ => STACK + 0x400 + random.below(0x800),
    };
    if random.percent(90) { address & !7 } else { address }
}

/// A target for a branch, in the code page but not where the instruction and its stub lie.
pub(super) fn branch_target(random: &mut Random) -> u64 {
    let distance = 48 + random.below(0x700);
    if random.percent(50) { ENTRY + distance } else { ENTRY - distance }
}

/// A target for an indirect branch, sometimes not in the code page.
pub(super) fn indirect_target(random: &mut Random) -> u64 {
    if random.percent(94) { branch_target(random) } else { CODE - 0x1000 + random.below(0x1000) }
}

/// An address with bits 63:47 that are not all the same.
pub(super) fn non_canonical(random: &mut Random) -> u64 {
    random.bits() & 0x3fff_ffff_ffff_ffff | 1 << 62 & !(1 << 63)
}

/// Whether bits 63:47 are all the same.
pub(super) fn is_canonical(address: u64) -> bool {
    (address << 16).cast_signed() >> 16 == address.cast_signed()
}

/// What [`address_operand`] has to keep to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Constraints {
    /// The mode.
    pub(super) mode: Mode,
    /// Number of a register whose value the instruction needs as it is.
    pub(super) fixed: Option<usize>,
    /// Added to the address before it is used: POP through RSP.
    pub(super) stack_adjustment: u64,
    /// Whether the linear address matters; LEA's does not.
    pub(super) accesses: bool,
}

const GPR64: [Register; 16] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

/// Makes operand `index` of the instruction a memory operand at `target` and gives the address registers the values for it.
pub(super) fn address_operand(
    random: &mut Random,
    instruction: &mut Instruction,
    state: &mut State,
    index: u32,
    target: u64,
    constraints: Constraints,
) {
    instruction.set_op_kind(index, OpKind::Memory);
    let long = constraints.mode == Mode::Long;
    let target = match (long, constraints.accesses && random.percent(1)) {
        (true, true) => non_canonical(random),
        (true, false) => target,
        (false, _) => target & 0xffff_ffff,
    };
    if !long && random.percent(5) {
        return word_addressed(random, instruction, state, target);
    }
    let effective = segment(random, instruction, state, target, constraints);
    // Not up to the last bytes: where an operand wraps around 4 GiB, processors differ.
    let fits_32 = effective < (1 << 32) - 1024;
    let narrow = !long || fits_32 && random.percent(15);
    let form = random.below(12);
    if form == 0 && long && displacement_reaches(effective.wrapping_sub(ENTRY)) {
        // RIP-relative; iced takes the absolute target.
        instruction.set_memory_base(if narrow { Register::EIP } else { Register::RIP });
        instruction.set_memory_displacement64(effective);
        instruction.set_memory_displ_size(if narrow { 4 } else { 8 });
    } else if form == 1 && (narrow || effective.cast_signed() == i64::from(effective as i32)) {
        instruction.set_memory_displacement64(effective);
        instruction.set_memory_displ_size(if narrow { 4 } else { 8 });
    } else {
        based(random, instruction, state, effective, narrow, form, constraints);
    }
}

fn displacement_reaches(distance: u64) -> bool {
    // The distance counts from the end of the instruction, which is not known yet.
    distance.cast_signed().abs() < 0x7fff_ff00
}

/// Chooses a segment override and its base; returns the effective address.
fn segment(
    random: &mut Random,
    instruction: &mut Instruction,
    state: &mut State,
    target: u64,
    constraints: Constraints,
) -> u64 {
    let chance = random.below(100);
    if chance < 5 {
        // Without effect: in 64-bit mode always, in 32-bit mode because all of them are flat, but CS cannot be written.
        let ignored = [Register::ES, Register::CS, Register::SS, Register::DS];
        instruction.set_segment_prefix(random.pick(&ignored));
        return target;
    }
    if chance >= 13 {
        return target;
    }
    if constraints.mode == Mode::Compatibility {
        // The base has 32 bits, and the sum wraps. The operand itself does not.
        let effective = target.wrapping_sub(values::integer(random)) & 0xffff_ffff;
        let effective = if effective < (1 << 32) - 1024 { effective } else { target };
        let base = target.wrapping_sub(effective) & 0xffff_ffff;
        set_segment_base(random, instruction, state, base);
        return effective;
    }
    let base = match random.below(4) {
        0 => 0,
        1 => random.below(DATA),
        2 => target.wrapping_sub(values::integer(random)),
        _ => values::integer(random),
    };
    // Some processors refuse operands that leave the canonical range before the base is added, if that brings them back.
    let leaves_range = !is_canonical(target.wrapping_sub(base))
        || !is_canonical(target.wrapping_sub(base).wrapping_add(512));
    let base = if is_canonical(base) && !leaves_range { base } else { 0 };
    set_segment_base(random, instruction, state, base);
    target.wrapping_sub(base)
}

fn set_segment_base(random: &mut Random, instruction: &mut Instruction, state: &mut State, base: u64) {
    if random.percent(50) {
        instruction.set_segment_prefix(Register::FS);
        state.fs_base = base;
    } else {
        instruction.set_segment_prefix(Register::GS);
        state.gs_base = base;
    }
}

/// An operand with a 16-bit address, which only a segment base brings to where there is memory.
fn word_addressed(random: &mut Random, instruction: &mut Instruction, state: &mut State, target: u64) {
    let forms = [
        (Register::BX, Register::SI),
        (Register::BX, Register::DI),
        (Register::BP, Register::SI),
        (Register::BP, Register::DI),
        (Register::SI, Register::None),
        (Register::DI, Register::None),
        (Register::BP, Register::None),
        (Register::BX, Register::None),
        (Register::None, Register::None),
    ];
    let (base, index) = random.pick(&forms);
    let value = |register: Register| match register {
        Register::None => 0,
        _ => state.gpr[register.full_register().number()] & 0xffff,
    };
    let sum = value(base).wrapping_add(value(index));
    // An offset that leaves room for the operand before 64 KiB.
    let offset = random.below(0xf000);
    let displacement = offset.wrapping_sub(sum) & 0xffff;
    instruction.set_memory_base(base);
    instruction.set_memory_index(index);
    instruction.set_memory_displacement64(displacement);
    instruction.set_memory_displ_size(2);
    set_segment_base(random, instruction, state, target.wrapping_sub(offset) & 0xffff_ffff);
}

fn displacement(random: &mut Random) -> (i64, u32) {
    match random.below(4) {
        0 => (0, 0),
        1 => (random.below(256) as i64 - 128, 1),
        2 => (random.below(0x4000) as i64 - 0x2000, 4),
        _ => (i64::from(random.bits() as i32), 4),
    }
}

/// `[base + index * scale + displacement]`, or without the base.
fn based(
    random: &mut Random,
    instruction: &mut Instruction,
    state: &mut State,
    effective: u64,
    narrow: bool,
    form: u64,
    constraints: Constraints,
) {
    let (mut disp, mut disp_size) = displacement(random);
    let registers = if constraints.mode == Mode::Long { 16 } else { 8 };
    let base = random.index(registers);
    let with_base = form != 2;
    let with_index = !with_base || random.percent(40);
    let scale = if with_index { 1u64 << random.below(4) } else { 1 };
    let index = if with_index {
        // RSP cannot be an index, and no register is both here.
        match random.index(registers) {
            4 => None,
            i if with_base && i == base => None,
            i if Some(i) == constraints.fixed => None,
            i => Some(i),
        }
    } else {
        None
    };
    let register = |i: usize| if narrow { narrow_register(i) } else { GPR64[i] };
    let mut rest = effective;
    if let Some(i) = index {
        instruction.set_memory_index(register(i));
        instruction.set_memory_index_scale(scale as u32);
        if with_base {
            // Any value: the base makes up for it.
            rest = rest.wrapping_sub(state.gpr[i].wrapping_mul(scale));
        } else {
            // The displacement takes what the scale leaves over.
            disp += (effective.wrapping_sub(disp.cast_unsigned()) % scale).cast_signed();
            disp = i64::from(disp as i32);
            disp_size = if narrow { 4 } else { 8 };
            let value = effective.wrapping_sub(disp.cast_unsigned()) / scale;
            set_register(random, state, i, value, narrow);
            rest = disp.cast_unsigned();
        }
    }
    if with_base || index.is_none() {
        instruction.set_memory_base(register(base));
        if Some(base) == constraints.fixed {
            let value =
                state.gpr[base].wrapping_add(if base == 4 { constraints.stack_adjustment } else { 0 });
            disp = i64::from(rest.wrapping_sub(value) as i32);
            disp_size = 4;
        } else {
            let adjustment = if base == 4 { constraints.stack_adjustment } else { 0 };
            let value = rest.wrapping_sub(disp.cast_unsigned()).wrapping_sub(adjustment);
            set_register(random, state, base, value, narrow);
        }
    }
    instruction.set_memory_displacement64(if narrow { disp as u32 as u64 } else { disp.cast_unsigned() });
    instruction.set_memory_displ_size(disp_size);
}

fn set_register(random: &mut Random, state: &mut State, register: usize, value: u64, narrow: bool) {
    // The upper half of a 32-bit address register does not count.
    state.gpr[register] = if narrow { value & 0xffff_ffff | random.bits() << 32 } else { value };
}

fn narrow_register(number: usize) -> Register {
    GPR64[number].full_register32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_means_sign_extended_from_bit_47() {
        assert!(is_canonical(0x7fff_ffff_ffff) && is_canonical(u64::MAX << 47));
        assert!(!is_canonical(0x8000_0000_0000) && !is_canonical(1 << 63));
        let mut random = Random::new(1);
        assert!((0..100).all(|_| !is_canonical(non_canonical(&mut random))));
    }
}
