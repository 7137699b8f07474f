//! Which instructions are compared, and why the others are not.

use std::fmt;

use iced_x86::{Code, CpuidFeature, EncodingKind, Mnemonic, OpCodeInfo, OpCodeOperandKind};

use crate::case::Mode;

/// Why an instruction is not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exclusion {
    /// Not an instruction of the mode.
    OtherModes,
    /// The processor model does not offer it.
    NotInModel,
    /// Intel's processors do not have this form in 64-bit mode.
    NotIntel,
    /// WAIT and a second instruction: both are compared by themselves.
    TwoInstructions,
    /// It goes on in the host's kernel.
    EntersKernel,
    /// Its result is time, chance, or the identity of a processor.
    NotRepeatable,
    /// What it does depends on what the host's kernel allows or emulates.
    HostKernel,
    /// The size and content of its memory operand depend on the host's XCR0.
    HostXcr0,
    /// A hypervisor below the host's kernel would see it.
    HostHypervisor,
    /// Processors have it, the manual does not.
    Undocumented,
    /// It leads out of the mode.
    LeavesMode,
}

impl Exclusion {
    /// All of them, in the order the table of coverage has.
    pub const ALL: [Self; 11] = [
        Self::OtherModes,
        Self::NotInModel,
        Self::NotIntel,
        Self::TwoInstructions,
        Self::EntersKernel,
        Self::NotRepeatable,
        Self::HostKernel,
        Self::HostXcr0,
        Self::HostHypervisor,
        Self::Undocumented,
        Self::LeavesMode,
    ];
}

impl Exclusion {
    /// Whether the interpreter has the instruction all the same.
    pub fn is_implemented(self) -> bool {
        !matches!(self, Self::OtherModes | Self::NotInModel | Self::NotIntel | Self::TwoInstructions)
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherModes => "not an instruction of the mode",
            Self::NotInModel => "the processor model does not offer it",
            Self::NotIntel => "Intel's processors do not have it in the mode",
            Self::TwoInstructions => "WAIT and a second instruction, which are compared by themselves",
            Self::EntersKernel => "goes on in the host's kernel",
            Self::NotRepeatable => "its result is time, chance or a processor's identity",
            Self::HostKernel => "depends on what the host's kernel allows or emulates",
            Self::HostXcr0 => "its memory operand depends on the host's XCR0",
            Self::HostHypervisor => "a hypervisor below the host's kernel would see it",
            Self::LeavesMode => "it leads out of the 32-bit mode, or needs 32-bit selectors",
            Self::Undocumented => "the manual does not have it: the interpreter takes it for its neighbour",
        })
    }
}

/// Features whose instructions the processor model `testudo-v1` has and user mode can run, or can at least try to.
const MODEL: &[CpuidFeature] = {
    use CpuidFeature::*;
    &[
        INTEL8086,
        INTEL186,
        INTEL286,
        INTEL386,
        INTEL486,
        X64,
        ADX,
        AES,
        BMI1,
        BMI2,
        CLFLUSHOPT,
        CLFSH,
        CLWB,
        CMOV,
        CMPXCHG16B,
        CPUID,
        CX8,
        FPU,
        FPU287,
        FPU387,
        FSGSBASE,
        FXSR,
        INVPCID,
        LZCNT,
        MMX,
        MONITOR,
        MOVBE,
        MSR,
        MULTIBYTENOP,
        PAUSE,
        PCLMULQDQ,
        POPCNT,
        PREFETCHW,
        RDPID,
        RDPMC,
        RDRAND,
        RDSEED,
        RDTSCP,
        SEP,
        SHA,
        SMAP,
        SMM,
        SSE,
        SSE2,
        SSE3,
        SSE4_1,
        SSE4_2,
        SSSE3,
        SYSCALL,
        TSC,
        VMX,
        XSAVE,
        XSAVEC,
        XSAVEOPT,
        XSAVES,
    ]
};

/// Instructions in encodings that were reserved as no-operation: that is what a processor without them makes of them.
const HINTS: &[CpuidFeature] =
    &[CpuidFeature::CET_IBT, CpuidFeature::CLDEMOTE, CpuidFeature::PREFETCHITI, CpuidFeature::PREFETCHWT1];

fn in_model(code: Code) -> bool {
    // RDSSP is the one instruction of shadow stacks that is a no-operation without them.
    matches!(code, Code::Rdsspd_r32 | Code::Rdsspq_r64)
        || code.cpuid_features().iter().all(|feature| MODEL.contains(feature) || HINTS.contains(feature))
}

/// Why this instruction is not compared in this mode; `None` if it is.
pub fn exclusion(code: Code, mode: Mode) -> Option<Exclusion> {
    let info = code.op_code();
    let (in_mode, intel) = match mode {
        Mode::Long => (info.mode64(), info.intel_decoder64()),
        Mode::Compatibility => (info.mode32(), info.intel_decoder32()),
    };
    if !info.is_instruction() || !in_mode {
        return Some(Exclusion::OtherModes);
    }
    let encoding_in_model = matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
    if !encoding_in_model || !in_model(code) {
        return Some(Exclusion::NotInModel);
    }
    // Decoded only when the decoder is told to expect the instructions of some other processor.
    if !intel || info.decoder_option() != 0 {
        return Some(Exclusion::NotIntel);
    }
    if info.fwait() {
        return Some(Exclusion::TwoInstructions);
    }
    use Mnemonic::{Iret, Iretd, Retf};
    let far_branch = matches!(info.op0_kind(), OpCodeOperandKind::farbr2_2 | OpCodeOperandKind::farbr4_2)
        || is_far_memory_branch(code)
        || matches!(info.mnemonic(), Retf | Iret | Iretd);
    if mode == Mode::Compatibility && far_branch {
        return Some(Exclusion::LeavesMode);
    }
    by_mnemonic(info)
}

/// CALL and JMP through a far pointer in memory.
pub fn is_far_memory_branch(code: Code) -> bool {
    matches!(
        code,
        Code::Call_m1616
            | Code::Call_m1632
            | Code::Call_m1664
            | Code::Jmp_m1616
            | Code::Jmp_m1632
            | Code::Jmp_m1664
    )
}

fn by_mnemonic(info: &OpCodeInfo) -> Option<Exclusion> {
    use Mnemonic::*;
    match info.mnemonic() {
        Syscall | Sysenter | Int => Some(Exclusion::EntersKernel),
        Cpuid | Rdtsc | Rdtscp | Rdpid | Rdrand | Rdseed => Some(Exclusion::NotRepeatable),
        // UMIP: Linux emulates some of these. RDPMC: CR4.PCE. SYSEXIT, SYSRET, MONITOR: the vendors differ in which exception they raise.
        Sgdt | Sidt | Sldt | Str | Smsw | Rdpmc | Sysexit | Sysexitq | Monitor | Mwait => {
            Some(Exclusion::HostKernel)
        }
        Xgetbv | Xsave | Xsave64 | Xsavec | Xsavec64 | Xsaveopt | Xsaveopt64 | Xrstor | Xrstor64 => {
            Some(Exclusion::HostXcr0)
        }
        // KVM on AMD injects the #DB of INT1 with the wrong RIP.
        Vmcall | Vmfunc | Int1 => Some(Exclusion::HostHypervisor),
        Fstpnce => Some(Exclusion::Undocumented),
        _ => None,
    }
}

/// The feature the host's processor lacks for this instruction, if any.
pub fn host_lacks(code: Code) -> Option<&'static str> {
    code.cpuid_features().iter().find_map(|&feature| {
        let (name, present) = match feature {
            CpuidFeature::ADX => ("ADX", is_x86_feature_detected!("adx")),
            CpuidFeature::AES => ("AES", is_x86_feature_detected!("aes")),
            CpuidFeature::BMI1 => ("BMI1", is_x86_feature_detected!("bmi1")),
            CpuidFeature::BMI2 => ("BMI2", is_x86_feature_detected!("bmi2")),
            CpuidFeature::CMPXCHG16B => ("CMPXCHG16B", is_x86_feature_detected!("cmpxchg16b")),
            CpuidFeature::LZCNT => ("LZCNT", is_x86_feature_detected!("lzcnt")),
            CpuidFeature::MOVBE => ("MOVBE", is_x86_feature_detected!("movbe")),
            CpuidFeature::PCLMULQDQ => ("PCLMULQDQ", is_x86_feature_detected!("pclmulqdq")),
            CpuidFeature::POPCNT => ("POPCNT", is_x86_feature_detected!("popcnt")),
            CpuidFeature::SHA => ("SHA", is_x86_feature_detected!("sha")),
            CpuidFeature::SSE3 => ("SSE3", is_x86_feature_detected!("sse3")),
            CpuidFeature::SSSE3 => ("SSSE3", is_x86_feature_detected!("ssse3")),
            CpuidFeature::SSE4_1 => ("SSE4.1", is_x86_feature_detected!("sse4.1")),
            CpuidFeature::SSE4_2 => ("SSE4.2", is_x86_feature_detected!("sse4.2")),
            CpuidFeature::CLFLUSHOPT => ("CLFLUSHOPT", leaf7_ebx(23)),
            CpuidFeature::CLWB => ("CLWB", leaf7_ebx(24)),
            _ => return None,
        };
        (!present).then_some(name)
    })
}

fn leaf7_ebx(bit: u32) -> bool {
    std::arch::x86_64::__cpuid(0).eax >= 7 && std::arch::x86_64::__cpuid_count(7, 0).ebx >> bit & 1 != 0
}

/// Whether the host's processor says it is Intel's.
pub fn host_is_intel() -> bool {
    let leaf = std::arch::x86_64::__cpuid(0);
    [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
}

/// The instructions that are compared in this mode.
pub fn compared(mode: Mode) -> impl Iterator<Item = Code> {
    Code::values().filter(move |&code| exclusion(code, mode).is_none())
}
