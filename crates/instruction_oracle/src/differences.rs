//! Where processors may differ from each other, or from the manual, without being wrong: each with a name and the reason.

use std::sync::LazyLock;

use iced_x86::{Code, CpuidFeature, Mnemonic, OpKind};

use crate::case::{Case, End, Mode};
use crate::scope;

/// A difference that is allowed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// FIP, FCS, FDP, FDS and FOP in FSTENV, FSAVE and FXSAVE images.
    X87Pointers,
    /// Bytes of the FXSAVE image that hold no register.
    FxsaveReserved,
    /// RCPPS, RCPSS, RSQRTPS, RSQRTSS.
    Approximation,
    /// F2XM1, FYL2X, FYL2XP1, FSIN, FCOS, FSINCOS, FPTAN, FPATAN.
    Transcendental,
    /// Memory after a fault in the middle of an operand of many words.
    PartialStore,
    /// Which byte of an operand of many words a page fault names.
    FaultAddress,
    /// An alignment check against another fault of the same access.
    AlignmentCheck,
    /// P in the error code of a page fault in the upper half.
    KernelPages,
    /// Near branches with an operand-size prefix.
    NarrowBranch,
    /// Far pointers with REX.W.
    WideFarPointer,
    /// PREFETCH with a register operand.
    RegisterPrefetch,
    /// SHA instructions with a misaligned memory operand.
    ShaAlignment,
    /// INS and OUTS repeated zero times.
    RepeatedIo,
    /// Far returns that raise one exception or another.
    FarReturn,
    /// Masked stores that fault where nothing is to be stored.
    ZeroMask,
    /// Indirect calls to a non-canonical address that cannot push either.
    CallTarget,
    /// MOVSXD with a 16-bit operand.
    WordLoad,
    /// VERW and MOV of control registers with a LOCK prefix.
    LockPrefix,
    /// PUSH of a segment register with a 32-bit operand.
    SegmentPush,
    /// Registers after a POPA that faults.
    PartialPopa,
    /// SYSRET outside 64-bit mode.
    SysretMode,
    /// C1 after FCOMI and its kin.
    CompareC1,
    /// Condition codes of a comparison that raised an unmasked exception.
    CompareUnmasked,
    /// When an instruction that mixes MMX and memory or SSE makes the x87 state an MMX state.
    MmxTransition,
}

impl Difference {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::X87Pointers,
        Self::FxsaveReserved,
        Self::Approximation,
        Self::Transcendental,
        Self::PartialStore,
        Self::FaultAddress,
        Self::AlignmentCheck,
        Self::KernelPages,
        Self::NarrowBranch,
        Self::WideFarPointer,
        Self::RegisterPrefetch,
        Self::ShaAlignment,
        Self::RepeatedIo,
        Self::FarReturn,
        Self::ZeroMask,
        Self::CallTarget,
        Self::WordLoad,
        Self::LockPrefix,
        Self::SegmentPush,
        Self::PartialPopa,
        Self::SysretMode,
        Self::CompareC1,
        Self::CompareUnmasked,
        Self::MmxTransition,
    ];

    /// Its name in the table of the README.
    pub fn name(self) -> &'static str {
        match self {
            Self::X87Pointers => "x87 pointers",
            Self::FxsaveReserved => "FXSAVE reserved bytes",
            Self::Approximation => "approximations",
            Self::Transcendental => "transcendental functions",
            Self::PartialStore => "partial stores",
            Self::FaultAddress => "fault address",
            Self::AlignmentCheck => "alignment check",
            Self::KernelPages => "kernel pages",
            Self::NarrowBranch => "narrow branches (AMD)",
            Self::WideFarPointer => "wide far pointers (AMD)",
            Self::RegisterPrefetch => "PREFETCH of a register (AMD)",
            Self::ShaAlignment => "SHA alignment (AMD)",
            Self::RepeatedIo => "I/O repeated zero times (AMD)",
            Self::FarReturn => "far return (AMD)",
            Self::ZeroMask => "zero mask",
            Self::CallTarget => "call to a non-canonical address (AMD)",
            Self::WordLoad => "MOVSXD of 16 bits (AMD)",
            Self::LockPrefix => "LOCK prefix (AMD)",
            Self::SegmentPush => "push of a segment register (AMD)",
            Self::PartialPopa => "POPA that faults (AMD)",
            Self::SysretMode => "SYSRET in 32-bit mode (AMD)",
            Self::CompareC1 => "C1 of FCOMI (AMD)",
            Self::CompareUnmasked => "unmasked x87 comparison (AMD)",
            Self::MmxTransition => "MMX transition (AMD)",
        }
    }

    /// What is allowed, and why.
    pub fn reason(self) -> &'static str {
        match self {
            Self::X87Pointers => {
                "The instruction and operand pointers and the opcode are not compared: processors differ in when they save them \
                 (AMD: only with an exception pending; CPUID.7.EBX[6], CPUID.7.EBX[13])."
            }
            Self::FxsaveReserved => {
                "MXCSR_MASK, the bytes above each 80-bit register and bytes 416 to 511 are not compared, nor page faults there: \
                 SDM 2A, FXSAVE reserves them or leaves them to the model."
            }
            Self::Approximation => {
                "Within 3 * 2^-12 of the host: SDM 2B bounds the error of each to 1.5 * 2^-12 and leaves the bits to the model."
            }
            Self::Transcendental => {
                "Within 2 units in the last place of the host, and C1 not compared: SDM 1 8.3.10 bounds the error to one."
            }
            Self::PartialStore => {
                "After a fault in the middle of an image, frame or far pointer the part that is mapped is not compared: SDM 3A 6.6 \
                 makes instructions restartable, not their stores invisible."
            }
            Self::FaultAddress => {
                "CR2 may name any byte of an image, frame, masked store or far pointer: the manual does not say which is touched first."
            }
            Self::AlignmentCheck => {
                "#AC against #PF, and for FXSAVE and FXRSTOR against #GP: both are faults of one class in SDM 3A table 6-2, and \
                 SDM 2A, FXSAVE leaves the second to the model. AMD checks alignment first."
            }
            Self::KernelPages => {
                "P in the error code of a page fault in the upper half: there is the host's kernel, or nothing."
            }
            Self::NarrowBranch => {
                "Left out: AMD cuts RIP to 16 bits, Intel ignores the prefix (SDM 2A, Jcc, JMP, CALL, RET in 64-bit mode)."
            }
            Self::WideFarPointer => {
                "Left out: AMD has no 64-bit offset in far pointers, Intel does (SDM 2A, LDS, JMP, CALL)."
            }
            Self::RegisterPrefetch => "Left out: a reserved no-operation on Intel, #UD on AMD.",
            Self::ShaAlignment => {
                "#GP in the interpreter, as SDM 2B has it (exceptions type 4); AMD does not check."
            }
            Self::RepeatedIo => {
                "Nothing is done and nothing checked (SDM 2B, REP); AMD checks the privilege first."
            }
            Self::FarReturn => {
                "AMD reads more of the stack before it looks at the selector: #PF instead of #GP."
            }
            Self::ZeroMask => {
                "SDM 2A, MASKMOVQ and MASKMOVDQU leave it to the model whether bytes with a zero mask fault."
            }
            Self::CallTarget => {
                "#GP for the target, which SDM 2A, CALL checks before the push; AMD faults at the push first."
            }
            Self::WordLoad => {
                "Two bytes are read, as SDM 2B has it; AMD reads four, and its alignment check asks for more."
            }
            Self::LockPrefix => {
                "#UD before VERW and MOV of control registers, as SDM 2B has it; AMD ignores it or gives it a meaning."
            }
            Self::SegmentPush => {
                "Memory and its alignment are not compared: 16 of the 32 bits are written, as SDM 2B, PUSH has it for recent Intel processors; AMD writes all."
            }
            Self::PartialPopa => "Registers are not changed; AMD has changed those popped before the fault.",
            Self::SysretMode => "#UD, as SDM 2B, SYSRET has it; AMD has the instruction there and gives #GP.",
            Self::CompareC1 => "Cleared, as SDM 2A, FCOMI has it; AMD leaves it.",
            Self::CompareUnmasked => {
                "Not set, as SDM 2A, FCOM has it for an unmasked invalid operation and SDM 1 8.5.2 for an unmasked denormal; AMD sets them."
            }
            Self::MmxTransition => {
                "CVTPI2PS from memory checks for x87 exceptions and makes the transition, as SDM 2A has it; AMD does not. Where CVTPS2PI and its kin or MASKMOVQ \
                 fault, AMD has already made it."
            }
        }
    }

    /// Whether this difference can show in instructions with this code.
    pub fn concerns(self, code: Code) -> bool {
        use Mnemonic::*;
        let mnemonic = code.mnemonic();
        match self {
            Self::X87Pointers => matches!(mnemonic, Fnstenv | Fnsave | Fxsave | Fxsave64),
            Self::FxsaveReserved => matches!(mnemonic, Fxsave | Fxsave64 | Fxrstor | Fxrstor64),
            Self::ZeroMask => matches!(mnemonic, Maskmovq | Maskmovdqu),
            Self::CallTarget => code == Code::Call_rm64,
            Self::LockPrefix => mnemonic == Verw || matches!(code, Code::Mov_r64_cr | Code::Mov_cr_r64),
            Self::SegmentPush => matches!(
                code,
                Code::Pushd_ES
                    | Code::Pushd_CS
                    | Code::Pushd_SS
                    | Code::Pushd_DS
                    | Code::Pushd_FS
                    | Code::Pushd_GS
            ),
            Self::PartialPopa => matches!(mnemonic, Popa | Popad),
            Self::SysretMode => mnemonic == Sysret,
            Self::WordLoad => code == Code::Movsxd_r16_rm16,
            Self::Approximation => matches!(mnemonic, Rcpps | Rcpss | Rsqrtps | Rsqrtss),
            Self::Transcendental => {
                matches!(mnemonic, F2xm1 | Fyl2x | Fyl2xp1 | Fsin | Fcos | Fsincos | Fptan | Fpatan)
            }
            Self::PartialStore => {
                matches!(mnemonic, Fnstenv | Fnsave | Fxsave | Fxsave64 | Enter)
                    || scope::is_far_memory_branch(code)
            }
            Self::FaultAddress => {
                matches!(
                    mnemonic,
                    Fnstenv
                        | Fnsave
                        | Fldenv
                        | Frstor
                        | Fxsave
                        | Fxsave64
                        | Fxrstor
                        | Fxrstor64
                        | Enter
                        | Retf
                        | Iret
                        | Iretd
                        | Iretq
                        | Lss
                        | Lfs
                        | Lgs
                        | Maskmovq
                        | Maskmovdqu
                ) || scope::is_far_memory_branch(code)
            }
            Self::AlignmentCheck | Self::KernelPages => true,
            Self::NarrowBranch => {
                use iced_x86::FlowControl as F;
                !scope::is_far_memory_branch(code)
                    && mnemonic != Retf
                    && matches!(
                        code.flow_control(),
                        F::ConditionalBranch
                            | F::UnconditionalBranch
                            | F::IndirectBranch
                            | F::Call
                            | F::IndirectCall
                            | F::Return
                    )
                    && !matches!(mnemonic, Iret | Iretd | Iretq)
            }
            Self::WideFarPointer => matches!(
                code,
                Code::Call_m1664
                    | Code::Jmp_m1664
                    | Code::Lss_r64_m1664
                    | Code::Lfs_r64_m1664
                    | Code::Lgs_r64_m1664
            ),
            Self::RegisterPrefetch => matches!(
                code,
                Code::Reservednop_rm16_r16_0F0D
                    | Code::Reservednop_rm32_r32_0F0D
                    | Code::Reservednop_rm64_r64_0F0D
            ),
            Self::ShaAlignment => code.cpuid_features().contains(&CpuidFeature::SHA),
            Self::RepeatedIo => matches!(mnemonic, Insb | Insw | Insd | Outsb | Outsw | Outsd),
            Self::FarReturn => matches!(mnemonic, Retf | Iret | Iretd | Iretq),
            Self::CompareC1 => matches!(mnemonic, Fcomi | Fcomip | Fucomi | Fucomip),
            Self::CompareUnmasked => {
                Self::CompareC1.concerns(code)
                    || matches!(
                        mnemonic,
                        Fcom | Fcomp | Fcompp | Fucom | Fucomp | Fucompp | Ficom | Ficomp | Ftst
                    )
            }
            Self::MmxTransition => {
                matches!(mnemonic, Cvtpi2ps | Cvtps2pi | Cvttps2pi | Cvtpd2pi | Cvttpd2pi | Maskmovq)
            }
        }
    }

    /// Whether the host is one that has this difference.
    fn shows_here(self) -> bool {
        static HOST_IS_INTEL: LazyLock<bool> = LazyLock::new(scope::host_is_intel);
        match self {
            Self::X87Pointers
            | Self::FxsaveReserved
            | Self::Approximation
            | Self::Transcendental
            | Self::PartialStore
            | Self::FaultAddress
            | Self::ZeroMask
            | Self::KernelPages
            | Self::AlignmentCheck => true,
            Self::NarrowBranch
            | Self::WideFarPointer
            | Self::RegisterPrefetch
            | Self::ShaAlignment
            | Self::RepeatedIo
            | Self::FarReturn
            | Self::CallTarget
            | Self::WordLoad
            | Self::LockPrefix
            | Self::SegmentPush
            | Self::PartialPopa
            | Self::SysretMode
            | Self::CompareC1
            | Self::CompareUnmasked
            | Self::MmxTransition => !*HOST_IS_INTEL,
        }
    }

    /// Whether this difference can show in this instruction on this host.
    pub fn applies(self, code: Code) -> bool {
        self.concerns(code) && self.shows_here()
    }
}

/// The reason this case is not run at all on this host.
pub fn leaves_out(case: &Case) -> Option<Difference> {
    let code = case.code();
    // A second operand-size prefix is decoded as if it were not there, so the bytes are looked at.
    let narrow = case.encoding.bytes().iter().take_while(|byte| is_prefix(**byte)).any(|&byte| byte == 0x66);
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
        (Some(PF), None) if is_behind_image(case, host) => Difference::FxsaveReserved,
        (Some(PF), None) | (None, Some(PF)) if Difference::ZeroMask.applies(code) => Difference::ZeroMask,
        (Some(SS | PF | AC), Some(GP)) if Difference::CallTarget.applies(code) => Difference::CallTarget,
        (_, Some(MF)) if converts_from_memory(case) => Difference::MmxTransition,
        (_, Some(UD)) if is_locked_otherwise(case) => {
            return Difference::LockPrefix.shows_here().then_some(Difference::LockPrefix);
        }
        (Some(GP), Some(UD)) if case.mode == Mode::Compatibility => Difference::SysretMode,
        (Some(AC), None) if Difference::SegmentPush.applies(code) => Difference::SegmentPush,
        (Some(AC), None) if Difference::WordLoad.applies(code) => Difference::WordLoad,
        (Some(GP), None) if case.state.gpr[1] & count_mask(case) == 0 => Difference::RepeatedIo,
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

/// The bits of RCX that a REP prefix counts with; all of it without one, so that it is not zero by the prefix alone.
fn count_mask(case: &Case) -> u64 {
    let narrow = case.encoding.bytes().contains(&0x67);
    if narrow { 0xffff_ffff } else { u64::MAX }
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

/// Largest distance in units of the last place between two results of a transcendental instruction.
pub const TRANSCENDENTAL_ULPS: u128 = 2;

/// The largest relative distance of two approximations, as a power of two and a factor.
pub const APPROXIMATION: f32 = 3.0 / 4096.0;

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

/// Whether two double-extended numbers are as close as the manual asks two transcendental results to be.
pub fn close_extended(a: u128, b: u128) -> bool {
    let (sign_a, key_a) = extended_key(a);
    let (sign_b, key_b) = extended_key(b);
    a == b || sign_a == sign_b && key_a.abs_diff(key_b) <= TRANSCENDENTAL_ULPS
}

/// Sign, and magnitude in units of the last place of its binade.
fn extended_key(value: u128) -> (bool, u128) {
    let exponent = (value >> 64) & 0x7fff;
    let fraction = value & ((1 << 63) - 1);
    (value >> 79 & 1 != 0, exponent << 63 | fraction)
}

/// Whether the lanes of two vectors are as close as the manual asks two approximations to be.
pub fn close_approximations(a: u128, b: u128) -> bool {
    (0..4).all(|lane| {
        let [a, b] = [a, b].map(|vector| (vector >> (32 * lane)) as u32);
        let [x, y] = [a, b].map(f32::from_bits);
        let close = x.is_normal() && y.is_normal() && ((x - y) / x).abs() <= APPROXIMATION;
        // Just above the smallest normal number the result may be flushed to zero or not (SDM 2B, RCPPS).
        let tiny = |z: f32| z.abs() < 1.001 * f32::MIN_POSITIVE;
        let flushed = (x == 0.0 || y == 0.0) && tiny(x) && tiny(y) && (a ^ b) >> 31 == 0;
        a == b || close || flushed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_close_across_a_power_of_two() {
        let one = 0x3fff_8000_0000_0000_0000;
        let below_one = 0x3ffe_ffff_ffff_ffff_ffff;
        assert!(close_extended(one, below_one) && close_extended(one, one + 2));
        assert!(!close_extended(one, one + 3) && !close_extended(one, one | 1 << 79));
    }

    #[test]
    fn approximations_differ_by_little() {
        let vector = |x: f32| u128::from(x.to_bits());
        assert!(close_approximations(vector(1.0), vector(1.0005)));
        assert!(!close_approximations(vector(1.0), vector(1.001)));
        assert!(close_approximations(vector(0.0), vector(f32::MIN_POSITIVE)));
        assert!(!close_approximations(vector(0.0), vector(2.0 * f32::MIN_POSITIVE)));
    }
}
