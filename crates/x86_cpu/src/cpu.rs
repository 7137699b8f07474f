//! The state of one processor.

use x86_defs::control::{CR0_EM, CR0_ET, CR0_PE, CR0_TS, CR4_OSFXSR, DR6_FIXED_1, DR7_FIXED_1, EFER_LMA};
use x86_defs::rflags;
use x86_defs::segment::{self, AR_DB, AR_L, Segment, TableRegister};

use crate::clock::Clock;
use crate::controls::Controls;
use crate::event::{Attention, Exit, InterruptShadow, Pending, Replay};
use crate::flags::LazyFlags;
use crate::float::X87;
use crate::msr::Msrs;
use crate::random::Generator;
use crate::tlb::Tlb;

/// What decides how bytes are decoded, and so which blocks may run: part of every block's key.
///
/// | bits | meaning |
/// |---|---|
/// | 1:0 | code size: 0 = 16, 1 = 32, 2 = 64 bits |
/// | 2 | stack size is 32 bits (outside 64-bit mode) |
/// | 4 | one instruction per block |
/// | 5 | CR0.EM |
/// | 6 | CR0.TS |
/// | 7 | CR4.OSFXSR |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CodeMode(pub(crate) u8);

impl CodeMode {
    pub(crate) const STACK32: u8 = 1 << 2;
    pub(crate) const STEP: u8 = 1 << 4;
    pub(crate) const EM: u8 = 1 << 5;
    pub(crate) const TS: u8 = 1 << 6;
    pub(crate) const OSFXSR: u8 = 1 << 7;

    /// 16, 32 or 64.
    #[inline]
    pub(crate) const fn bits(self) -> u32 {
        16 << (self.0 & 3)
    }

    /// Whether this is 64-bit mode.
    #[inline(always)]
    pub(crate) const fn is_64(self) -> bool {
        self.0 & 3 == 2
    }
}

/// As many as an operation's register numbers can tell apart, so that none needs a bounds check.
pub(crate) const REGISTERS: usize = 256;

/// A processor. Everything an instruction can see or change is here; RAM is handed in with each call.
#[derive(Debug)]
pub struct Cpu {
    /// RAX to R15, then [`crate::op::ZERO`] and [`crate::op::BLOCK_RIP`]; the rest is never touched.
    pub(crate) regs: [u64; REGISTERS],
    pub(crate) flags: LazyFlags,
    /// RFLAGS without the status flags.
    pub(crate) system_flags: u64,
    /// Offset in CS of the next instruction; exact outside a block.
    pub(crate) rip: u64,
    /// Instructions retired and events delivered since power-on; exact outside a block.
    pub(crate) retired: u64,
    /// `retired` at which the present call of `run` ends.
    pub(crate) limit: u64,
    /// The instruction in progress has to be the last of its block.
    pub(crate) stop_block: bool,
    /// Which of the running block's links the branch took that ended it.
    pub(crate) link: u8,
    pub(crate) attention: Attention,
    /// What exits.
    pub(crate) controls: Controls,
    pub(crate) mode: CodeMode,
    /// Current privilege level.
    pub(crate) cpl: u8,
    /// Base of CS as it is added to RIP: 0 in 64-bit mode.
    pub(crate) code_base: u64,
    /// ES, CS, SS, DS, FS, GS; two unused so that a masked index needs no bounds check.
    pub(crate) segs: [Segment; 8],
    pub(crate) ldtr: Segment,
    pub(crate) tr: Segment,
    pub(crate) gdtr: TableRegister,
    pub(crate) idtr: TableRegister,
    pub(crate) cr0: u64,
    pub(crate) cr2: u64,
    pub(crate) cr3: u64,
    pub(crate) cr4: u64,
    pub(crate) efer: u64,
    pub(crate) xcr0: u64,
    /// DR0 to DR3.
    pub(crate) dr: [u64; 4],
    pub(crate) dr6: u64,
    pub(crate) dr7: u64,
    /// PDPTE registers of PAE paging (SDM 3A 4.4.1).
    pub(crate) pdptes: [u64; 4],
    pub(crate) msrs: Msrs,
    pub(crate) xmm: [u128; 16],
    pub(crate) mxcsr: u32,
    pub(crate) x87: X87,
    pub(crate) tlb: Tlb,
    pub(crate) pending: Pending,
    pub(crate) replay: Replay,
    /// Completed writes that the machine has not seen yet, oldest first.
    pub(crate) posted: Vec<Exit>,
    pub(crate) shadow: InterruptShadow,
    /// An NMI was delivered and no IRET has followed.
    pub(crate) nmi_blocked: bool,
    pub(crate) nmi_pending: bool,
    /// The interrupt controller has a vector for this processor.
    pub(crate) interrupt_line: bool,
    /// #DB conditions met by the instruction before (data breakpoints, single step), as DR6 bits.
    pub(crate) debug_pending: u64,
    pub(crate) clock: Clock,
    pub(crate) random: Generator,
    /// APIC id, as CPUID tells it.
    pub(crate) apic_id: u32,
    /// Processors of the machine, as CPUID tells it.
    pub(crate) processors: u32,
}

impl Cpu {
    /// A processor as it is after power-on (SDM 3A table 9-1).
    #[must_use]
    pub fn new(apic_id: u32, processors: u32) -> Self {
        let mut cpu = Self {
            regs: [0; REGISTERS],
            flags: LazyFlags::default(),
            system_flags: rflags::FIXED_1,
            rip: 0xfff0,
            retired: 0,
            limit: 0,
            stop_block: false,
            link: 0,
            attention: Attention::default(),
            controls: Controls::default(),
            mode: CodeMode::default(),
            cpl: 0,
            code_base: 0,
            segs: [Segment::real_mode(0); 8],
            ldtr: Segment { access: 0x82, limit: 0xffff, ..Segment::default() },
            tr: Segment { access: 0x8b, limit: 0xffff, ..Segment::default() },
            gdtr: TableRegister { base: 0, limit: 0xffff },
            idtr: TableRegister { base: 0, limit: 0xffff },
            cr0: 0x6000_0010,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            efer: 0,
            xcr0: 1,
            dr: [0; 4],
            dr6: DR6_FIXED_1,
            dr7: DR7_FIXED_1,
            pdptes: [0; 4],
            msrs: Msrs::new(),
            xmm: [0; 16],
            mxcsr: 0x1f80,
            x87: X87::default(),
            tlb: Tlb::new(),
            pending: Pending::None,
            replay: Replay::default(),
            posted: Vec::new(),
            shadow: InterruptShadow::None,
            nmi_blocked: false,
            nmi_pending: false,
            interrupt_line: false,
            debug_pending: 0,
            clock: Clock::default(),
            random: Generator::new(u64::from(apic_id)),
            apic_id,
            processors,
        };
        cpu.init();
        cpu
    }

    /// What INIT does (SDM 3A table 9-1, column INIT): everything but caches, TSC, most MSRs and the x87/SSE state.
    pub fn init(&mut self) {
        self.regs = [0; REGISTERS];
        self.regs[x86_defs::gpr::RDX] = u64::from(crate::cpuid::SIGNATURE);
        self.system_flags = rflags::FIXED_1;
        self.flags.load(0);
        self.rip = 0xfff0;
        self.segs = [Segment::real_mode(0); 8];
        self.segs[segment::index::CS] =
            Segment { selector: 0xf000, base: 0xffff_0000, limit: 0xffff, access: 0x9b };
        self.ldtr = Segment { access: 0x82, limit: 0xffff, ..Segment::default() };
        self.tr = Segment { access: 0x8b, limit: 0xffff, ..Segment::default() };
        self.gdtr = TableRegister { base: 0, limit: 0xffff };
        self.idtr = TableRegister { base: 0, limit: 0xffff };
        self.cr0 = (self.cr0 & 0x6000_0000) | CR0_ET;
        self.cr2 = 0;
        self.cr3 = 0;
        self.cr4 = 0;
        self.efer = 0;
        self.dr = [0; 4];
        self.dr6 = DR6_FIXED_1;
        self.dr7 = DR7_FIXED_1;
        self.pdptes = [0; 4];
        self.pending = Pending::None;
        self.replay.clear();
        self.posted.clear();
        self.shadow = InterruptShadow::None;
        self.nmi_blocked = false;
        self.nmi_pending = false;
        self.debug_pending = 0;
        self.cpl = 0;
        self.tlb.flush_all();
        self.mode_changed();
    }

    /// Recomputes what is derived from CR0, CR4, EFER, CS, SS, CPL and RFLAGS. Whoever changes one of them calls this.
    pub(crate) fn mode_changed(&mut self) {
        let long = self.efer & EFER_LMA != 0;
        let code = self.segs[segment::index::CS].access;
        let bits = if long && code & AR_L != 0 {
            2
        } else if code & AR_DB != 0 {
            1
        } else {
            0
        };
        let mut mode = bits;
        if self.segs[segment::index::SS].access & AR_DB != 0 {
            mode |= CodeMode::STACK32;
        }
        if self.cr0 & CR0_EM != 0 {
            mode |= CodeMode::EM;
        }
        if self.cr0 & CR0_TS != 0 {
            mode |= CodeMode::TS;
        }
        if self.cr4 & CR4_OSFXSR != 0 {
            mode |= CodeMode::OSFXSR;
        }
        self.mode = CodeMode(mode);
        self.code_base = if bits == 2 { 0 } else { self.segs[segment::index::CS].base };
        self.refresh_translation_context();
        self.refresh_attention();
    }

    /// RFLAGS.
    #[must_use]
    pub fn rflags(&self) -> u64 {
        self.system_flags | self.flags.bits()
    }

    /// Loads RFLAGS as it is: no privilege is looked at. Reserved bits are forced to what they are.
    pub(crate) fn load_rflags(&mut self, value: u64) {
        self.flags.load(value);
        self.system_flags = (value & rflags::DEFINED & !rflags::STATUS) | rflags::FIXED_1;
        self.refresh_translation_context();
        self.refresh_attention();
    }

    /// Cuts an instruction pointer to the width of the code segment.
    #[inline(always)]
    pub(crate) fn wrap_ip(&self, ip: u64) -> u64 {
        if self.mode.is_64() { ip } else { ip & 0xffff_ffff }
    }

    /// Whether CR0.PE is set.
    #[inline]
    pub(crate) fn protected(&self) -> bool {
        self.cr0 & CR0_PE != 0
    }

    /// Whether virtual-8086 mode is on.
    #[inline]
    pub(crate) fn v86(&self) -> bool {
        self.system_flags & rflags::VM != 0
    }

    /// Whether IA-32e mode is active (64-bit or compatibility mode).
    #[inline]
    pub(crate) fn long_mode(&self) -> bool {
        self.efer & EFER_LMA != 0
    }

    /// I/O privilege level.
    #[inline]
    pub(crate) fn iopl(&self) -> u8 {
        ((self.system_flags & rflags::IOPL) >> rflags::IOPL_SHIFT) as u8
    }

    /// Instructions retired and events delivered since power-on.
    #[must_use]
    pub const fn retired(&self) -> u64 {
        self.retired
    }

    /// Time stamp counter as the instruction with `before` instructions of its block before it sees it.
    #[inline]
    pub(crate) fn tsc(&self, before: u64) -> u64 {
        self.clock.now(self.retired.wrapping_add(before)).wrapping_add(self.msrs.tsc_offset)
    }
}

/// Time, and what L0 does to a processor from outside.
impl Cpu {
    /// Says what exits.
    pub fn set_controls(&mut self, controls: Controls) {
        self.controls = controls;
    }

    /// Says where time comes from.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Nanoseconds since power-on.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.now(self.retired)
    }

    /// The time stamp counter as the guest would read it now.
    #[must_use]
    pub fn time_stamp_counter(&self) -> u64 {
        self.tsc(0)
    }

    /// Whether a pending NMI would be taken before the next instruction.
    #[must_use]
    pub fn nmi_deliverable(&self) -> bool {
        self.nmi_pending && !self.nmi_blocked && self.shadow == InterruptShadow::None
    }

    /// Starts at the page of a start-up IPI, in real mode (SDM 3A 9.4.4).
    pub fn start_at_page(&mut self, page: u8) {
        self.segs[segment::index::CS] = Segment {
            selector: u16::from(page) << 8,
            base: u64::from(page) << 12,
            limit: 0xffff,
            access: 0x9b,
        };
        self.rip = 0;
        self.mode_changed();
    }
}
