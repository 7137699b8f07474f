//! Where processors may differ from each other, or from the manual, without being wrong: each with a name and the reason.

mod rules;
mod tolerance;

use std::sync::LazyLock;

use iced_x86::{Code, CpuidFeature, Mnemonic};

use crate::scope;

pub use rules::{
    allowed_end, ignored_condition_codes, ignored_operand_bytes, ignores_x87, leaves_out, operand_address,
};
pub use tolerance::{close_approximations, close_extended};

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
                 (AMD: only with an exception pending; CPUID leaf 7, EBX bits 6 and 13)."
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
                "Two bytes are read, as SDM 2B has it; AMD reads four, which can fault where two do not."
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
