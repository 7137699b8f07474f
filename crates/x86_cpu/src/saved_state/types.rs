//! The saved types of a processor.

use saved_state::RestoreError;
use serde::{Deserialize, Serialize};
use x86_defs::Segment;

use crate::event::{Answer, Exit};
use crate::tlb::TlbStateV1;

/// A segment register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentStateV1 {
    /// Selector.
    pub selector: u16,
    /// Base.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u32,
    /// Access rights in the VMCS layout.
    pub access: u32,
}

impl From<Segment> for SegmentStateV1 {
    fn from(segment: Segment) -> Self {
        let Segment { selector, base, limit, access } = segment;
        Self { selector, base, limit, access }
    }
}

impl From<SegmentStateV1> for Segment {
    fn from(state: SegmentStateV1) -> Self {
        let SegmentStateV1 { selector, base, limit, access } = state;
        Self { selector, base, limit, access }
    }
}

/// The x87 registers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct X87StateV1 {
    /// R0 to R7, 10 bytes each.
    pub registers: [[u8; 10]; 8],
    /// Abridged tag word.
    pub tags: u8,
    /// Control word.
    pub control: u16,
    /// Status word.
    pub status: u16,
    /// Offset of the last instruction.
    pub last_ip: u64,
    /// Its code segment.
    pub last_cs: u16,
    /// Offset of its operand.
    pub last_dp: u64,
    /// The operand's segment.
    pub last_ds: u16,
    /// Its opcode.
    pub last_opcode: u16,
}

/// Model-specific registers with a value of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the manual's")]
pub struct MsrsStateV1 {
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub fmask: u64,
    pub kernel_gs_base: u64,
    pub tsc_aux: u64,
    pub tsc_offset: u64,
    pub tsc_adjust: u64,
    pub pat: u64,
    pub mtrr_def_type: u64,
    pub mtrr_fixed: Vec<u64>,
    pub mtrr_base: Vec<u64>,
    pub mtrr_mask: Vec<u64>,
    pub misc_enable: u64,
    pub spec_ctrl: u64,
    pub xss: u64,
    pub mcg_status: u64,
    pub mc_ctl: Vec<u64>,
}

/// An answer of L0 to an exit of the instruction in progress, which runs again from its start with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerStateV1 {
    /// 0 port read, 1 memory read, 2 MSR read, 3 MSR write, 4 CR8 read.
    pub kind: u8,
    /// Port, guest-physical address or MSR.
    pub address: u64,
    /// Bytes, for ports and memory.
    pub size: u8,
    /// What was to be written, for an MSR write.
    pub written: u64,
    /// Nothing if the access does not exist, otherwise the value.
    pub value: Option<u64>,
}

impl AnswerStateV1 {
    /// `None` for exits that nobody answers.
    pub(super) fn new((exit, answer): (Exit, Answer)) -> Option<Self> {
        let (kind, address, size, written) = match exit {
            Exit::IoRead { port, size } => (0, u64::from(port), size, 0),
            Exit::MmioRead { address, size } => (1, address, size, 0),
            Exit::MsrRead { index } => (2, u64::from(index), 0, 0),
            Exit::MsrWrite { index, value } => (3, u64::from(index), 0, value),
            Exit::Cr8Read => (4, 0, 0, 0),
            _ => return None,
        };
        let value = match answer {
            Answer::Value(value) => Some(value),
            Answer::GeneralProtection => None,
        };
        Some(Self { kind, address, size, written, value })
    }

    pub(super) fn into_answer(self) -> Result<(Exit, Answer), RestoreError> {
        let Self { kind, address, size, written, value } = self;
        let invalid = |reason: String| RestoreError::invalid::<CpuStateV1>("answers", reason);
        let index = u32::try_from(address);
        let exit = match (kind, index) {
            (0, Ok(port)) => Exit::IoRead {
                port: u16::try_from(port).map_err(|_| invalid(format!("{port:#x} is not a port")))?,
                size,
            },
            (1, _) => Exit::MmioRead { address, size },
            (2, Ok(index)) => Exit::MsrRead { index },
            (3, Ok(index)) => Exit::MsrWrite { index, value: written },
            (4, _) => Exit::Cr8Read,
            _ => return Err(invalid(format!("no exit of kind {kind} can be at {address:#x}"))),
        };
        Ok((exit, value.map_or(Answer::GeneralProtection, Answer::Value)))
    }
}

/// A processor between two instructions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuStateV1 {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub general: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// Instructions retired.
    pub retired: u64,
    /// Privilege level.
    pub cpl: u8,
    /// ES, CS, SS, DS, FS, GS.
    pub segments: Vec<SegmentStateV1>,
    /// LDTR.
    pub ldtr: SegmentStateV1,
    /// TR.
    pub tr: SegmentStateV1,
    /// GDTR base and limit.
    pub gdtr: (u64, u16),
    /// IDTR base and limit.
    pub idtr: (u64, u16),
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER.
    pub efer: u64,
    /// XCR0.
    pub xcr0: u64,
    /// DR0 to DR3.
    pub dr: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
    /// PDPTE registers.
    pub pdptes: [u64; 4],
    /// MSRs.
    pub msrs: MsrsStateV1,
    /// XMM0 to XMM15, low half first.
    pub xmm: Vec<(u64, u64)>,
    /// MXCSR.
    pub mxcsr: u32,
    /// x87.
    pub x87: X87StateV1,
    /// TLB.
    pub tlb: TlbStateV1,
    /// Interrupt shadow: 0 none, 1 after STI, 2 after MOV SS.
    pub shadow: u8,
    /// An NMI is being handled.
    pub nmi_blocked: bool,
    /// An NMI is pending.
    pub nmi_pending: bool,
    /// The interrupt line is up.
    pub interrupt_line: bool,
    /// DR6 bits of a #DB that is due.
    pub debug_pending: u64,
    /// State of the random generator.
    pub random: u64,
    /// Answers that the instruction in progress has had so far.
    pub answers: Vec<AnswerStateV1>,
    /// APIC id.
    pub apic_id: u32,
    /// Processors of the machine.
    pub processors: u32,
}
