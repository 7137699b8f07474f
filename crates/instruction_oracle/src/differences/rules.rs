//! How the differences show in a case: what of it is not compared, or which two ends are both right.

use iced_x86::{Code, Mnemonic, OpKind};

use super::Difference;
use crate::case::{Case, End, Mode};

/// The reason this case is not run at all on this host.
pub fn leaves_out(case: &Case) -> Option<Difference> {
    let code = case.code();
    // A second operand-size prefix is decoded as if it were not there, so the bytes are looked at.
    let narrow = case.sequence.is_none()
        && case.encoding.bytes().iter().take_while(|byte| is_prefix(**byte)).any(|&byte| byte == 0x66);
    [Difference::WideFarPointer, Difference::RegisterPrefetch]
        .into_iter()
        .find(|difference| difference.applies(code))
        .or_else(|| {
            (narrow && case.mode == Mode::Long && Difference::NarrowBranch.applies(code))
                .then_some(Difference::NarrowBranch)
        })
}

fn is_prefix(byte: u8) -> bool {
    matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
}

/// Why two different ends of a case are both right.
pub fn allowed_end(case: &Case, host: End, interpreter: End) -> Option<Difference> {
    const UD: u8 = 6;
    const SS: u8 = 12;
    const GP: u8 = 13;
    const PF: u8 = 14;
    const MF: u8 = 16;
    const AC: u8 = 17;
    let code = case.code();
    let (vector_host, vector_interpreter) = (vector(host), vector(interpreter));
    let image = matches!(
        code.mnemonic(),
        Mnemonic::Fxsave | Mnemonic::Fxsave64 | Mnemonic::Fxrstor | Mnemonic::Fxrstor64
    );
    let difference = match (vector_host, vector_interpreter) {
        (Some(PF), Some(PF)) if same_but_for_presence(host, interpreter) => {
            return Some(Difference::KernelPages);
        }
        (Some(PF), Some(PF)) if same_but_for_address(host, interpreter) => Difference::FaultAddress,
        (Some(AC), Some(PF)) | (Some(PF), Some(AC)) => Difference::AlignmentCheck,
        (Some(AC), Some(GP)) | (Some(GP), Some(AC)) if image => Difference::AlignmentCheck,
        (None | Some(SS | PF | AC), Some(GP))
            if Difference::ShaAlignment.applies(code) && misaligned(case) =>
        {
            Difference::ShaAlignment
        }
        (Some(PF), None | Some(GP)) if is_behind_image(case, host) => Difference::FxsaveReserved,
        (Some(PF), None) | (None, Some(PF)) if Difference::ZeroMask.applies(code) => Difference::ZeroMask,
        (Some(SS | PF | AC), Some(GP)) if Difference::CallTarget.applies(code) => Difference::CallTarget,
        (_, Some(MF)) if converts_from_memory(case) => Difference::MmxTransition,
        (_, Some(UD)) if is_locked_otherwise(case) => {
            return Difference::LockPrefix.shows_here().then_some(Difference::LockPrefix);
        }
        (Some(GP), Some(UD)) if case.mode == Mode::Compatibility => Difference::SysretMode,
        (Some(PF | AC), None) if Difference::SegmentPush.applies(code) => Difference::SegmentPush,
        (Some(PF | AC), None) if Difference::WordLoad.applies(code) => Difference::WordLoad,
        (Some(GP), None) if repeats_zero_times(case) => Difference::RepeatedIo,
        (Some(PF | AC), Some(GP)) => Difference::FarReturn,
        _ => return None,
    };
    difference.applies(code).then_some(difference)
}

fn vector(end: End) -> Option<u8> {
    match end {
        End::Exception { vector, .. } => Some(vector),
        _ => None,
    }
}

/// Page faults not farther apart than the longest operand is long, with the same error code but for P: one may be in a page
/// that is read-only, the other in one that is not there.
fn same_but_for_address(a: End, b: End) -> bool {
    match (a, b) {
        (
            End::Exception { error_code: code_a, address: a, .. },
            End::Exception { error_code: code_b, address: b, .. },
        ) => (code_a ^ code_b) & !1 == 0 && a.abs_diff(b) < 1024,
        _ => false,
    }
}

/// Whether the fault is at the bytes of an FXSAVE image that hold no register.
fn is_behind_image(case: &Case, end: End) -> bool {
    match (end, operand_address(case)) {
        (End::Exception { address, .. }, Some(operand)) => {
            Difference::FxsaveReserved.concerns(case.code())
                && (416..512).contains(&address.wrapping_sub(operand))
        }
        _ => false,
    }
}

/// Bytes that are no instruction with their LOCK prefix, and without it VERW or MOV of a control register.
fn is_locked_otherwise(case: &Case) -> bool {
    let opcodes = [[0x0f, 0x00], [0x0f, 0x20], [0x0f, 0x22]];
    case.instruction.is_invalid()
        && case.encoding.bytes().windows(2).any(|pair| opcodes.iter().any(|o| pair == o))
}

/// Page faults in the kernel's half of the address space, where the host has pages and the interpreter's machine has not.
fn same_but_for_presence(a: End, b: End) -> bool {
    match (a, b) {
        (
            End::Exception { error_code: code_a, address: a, .. },
            End::Exception { error_code: code_b, address: b, .. },
        ) => (code_a ^ code_b) & !1 == 0 && a == b && a >> 47 != 0,
        _ => false,
    }
}

fn misaligned(case: &Case) -> bool {
    operand_address(case).is_some_and(|address| address % 16 != 0)
}

/// Whether a REP prefix counts with a register that is zero.
fn repeats_zero_times(case: &Case) -> bool {
    let narrow =
        case.sequence.is_none() && case.mode == Mode::Compatibility || case.encoding.bytes().contains(&0x67);
    let mask = if narrow { 0xffff_ffff } else { u64::MAX };
    let repeats = case.instruction.has_rep_prefix() || case.instruction.has_repne_prefix();
    repeats && case.state.gpr[1] & mask == 0
}

/// Condition codes in the x87 status word and in RFLAGS that are not compared although they are defined; `raised` says that an
/// exception is pending.
pub fn ignored_condition_codes(code: Code, raised: bool) -> (u16, u64) {
    const C1: u16 = 0x200;
    const ALL: u16 = 0x4700;
    const STATUS: u64 = 0x8d5;
    let c1 = if Difference::CompareC1.applies(code) { C1 } else { 0 };
    if raised && Difference::CompareUnmasked.applies(code) { (ALL, STATUS) } else { (c1, 0) }
}

/// Whether the top of the x87 stack, its tags and so the order of its registers are not compared.
pub fn ignores_x87(case: &Case, retired: bool) -> bool {
    let code = case.code();
    Difference::MmxTransition.applies(code) && (converts_from_memory(case) || !retired)
}

fn converts_from_memory(case: &Case) -> bool {
    case.code().mnemonic() == Mnemonic::Cvtpi2ps && case.instruction.op1_kind() == OpKind::Memory
}

/// The linear address of the memory operand, if there is one with ModRM.
pub fn operand_address(case: &Case) -> Option<u64> {
    let instruction = &case.instruction;
    let operand = (0..instruction.op_count()).find(|&i| instruction.op_kind(i) == OpKind::Memory)?;
    let address = instruction.virtual_address(operand, 0, |register, _, _| {
        Some(if register.is_segment_register() {
            match register {
                iced_x86::Register::FS => case.state.fs_base,
                iced_x86::Register::GS => case.state.gs_base,
                _ => 0,
            }
        } else {
            let value = case.state.gpr[register.full_register().number()];
            match register.size() {
                2 => value & 0xffff,
                4 => value & 0xffff_ffff,
                _ => value,
            }
        })
    })?;
    Some(match case.mode {
        Mode::Long => address,
        Mode::Compatibility => address & 0xffff_ffff,
    })
}

/// Offsets in the operand of bytes that are not compared, beside what is undefined.
pub fn ignored_operand_bytes(case: &Case) -> Vec<std::ops::Range<u64>> {
    let code = case.code();
    match code.mnemonic() {
        // FIP with FCS and FOP, then FDP with FDS, behind the control, status and tag words.
        Mnemonic::Fnstenv | Mnemonic::Fnsave => {
            let unit = match code.op_code().operand_size() {
                16 => 2,
                _ => 4,
            };
            std::iter::once(3 * unit..7 * unit).collect()
        }
        Mnemonic::Fxsave | Mnemonic::Fxsave64 => {
            let mut ranges = vec![5..24, 28..32, 416..512];
            ranges.extend((0..8).map(|i| 32 + 16 * i + 10..48 + 16 * i));
            ranges
        }
        _ => Vec::new(),
    }
}
