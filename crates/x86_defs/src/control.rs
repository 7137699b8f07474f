//! Bits of CR0, CR4, EFER, XCR0 and the debug registers (SDM 3A 2.5, 2.2.1, 2.6, 18.2).

use x86_64::registers::control::{Cr0Flags, Cr4Flags, EferFlags};

/// CR0.PE: protected mode.
pub const CR0_PE: u64 = Cr0Flags::PROTECTED_MODE_ENABLE.bits();
/// CR0.MP: WAIT honours TS.
pub const CR0_MP: u64 = Cr0Flags::MONITOR_COPROCESSOR.bits();
/// CR0.EM: no x87.
pub const CR0_EM: u64 = Cr0Flags::EMULATE_COPROCESSOR.bits();
/// CR0.TS: task switched.
pub const CR0_TS: u64 = Cr0Flags::TASK_SWITCHED.bits();
/// CR0.ET: always 1.
pub const CR0_ET: u64 = 1 << 4;
/// CR0.NE: x87 errors as #MF.
pub const CR0_NE: u64 = Cr0Flags::NUMERIC_ERROR.bits();
/// CR0.WP: supervisor writes obey read-only pages.
pub const CR0_WP: u64 = Cr0Flags::WRITE_PROTECT.bits();
/// CR0.AM: alignment checks possible.
pub const CR0_AM: u64 = Cr0Flags::ALIGNMENT_MASK.bits();
/// CR0.NW: not write-through.
pub const CR0_NW: u64 = Cr0Flags::NOT_WRITE_THROUGH.bits();
/// CR0.CD: cache disable.
pub const CR0_CD: u64 = Cr0Flags::CACHE_DISABLE.bits();
/// CR0.PG: paging.
pub const CR0_PG: u64 = Cr0Flags::PAGING.bits();
/// The bits of CR0 that exist; the low reserved ones are ignored on writes, the upper 32 must be 0.
pub const CR0_DEFINED: u64 =
    CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;

/// CR4.VME: virtual-8086 mode extensions.
pub const CR4_VME: u64 = Cr4Flags::VIRTUAL_8086_MODE_EXTENSIONS.bits();
/// CR4.PVI: protected-mode virtual interrupts.
pub const CR4_PVI: u64 = Cr4Flags::PROTECTED_MODE_VIRTUAL_INTERRUPTS.bits();
/// CR4.TSD: RDTSC at CPL 0 only.
pub const CR4_TSD: u64 = Cr4Flags::TIMESTAMP_DISABLE.bits();
/// CR4.DE: debugging extensions.
pub const CR4_DE: u64 = Cr4Flags::DEBUGGING_EXTENSIONS.bits();
/// CR4.PSE: 4 MiB pages.
pub const CR4_PSE: u64 = Cr4Flags::PAGE_SIZE_EXTENSION.bits();
/// CR4.PAE: 64-bit page-table entries.
pub const CR4_PAE: u64 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION.bits();
/// CR4.MCE: machine checks.
pub const CR4_MCE: u64 = Cr4Flags::MACHINE_CHECK_EXCEPTION.bits();
/// CR4.PGE: global pages.
pub const CR4_PGE: u64 = Cr4Flags::PAGE_GLOBAL.bits();
/// CR4.PCE: RDPMC at any level.
pub const CR4_PCE: u64 = Cr4Flags::PERFORMANCE_MONITOR_COUNTER.bits();
/// CR4.OSFXSR: SSE may be used.
pub const CR4_OSFXSR: u64 = Cr4Flags::OSFXSR.bits();
/// CR4.OSXMMEXCPT: #XM for unmasked SSE exceptions.
pub const CR4_OSXMMEXCPT: u64 = Cr4Flags::OSXMMEXCPT_ENABLE.bits();
/// CR4.UMIP: user-mode instruction prevention.
pub const CR4_UMIP: u64 = Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION.bits();
/// CR4.LA57: five-level paging (not offered).
pub const CR4_LA57: u64 = Cr4Flags::L5_PAGING.bits();
/// CR4.VMXE: VMX may be entered.
pub const CR4_VMXE: u64 = Cr4Flags::VIRTUAL_MACHINE_EXTENSIONS.bits();
/// CR4.FSGSBASE: RDFSBASE and its family.
pub const CR4_FSGSBASE: u64 = Cr4Flags::FSGSBASE.bits();
/// CR4.PCIDE: process-context identifiers.
pub const CR4_PCIDE: u64 = Cr4Flags::PCID.bits();
/// CR4.OSXSAVE: XSAVE family and XCR0.
pub const CR4_OSXSAVE: u64 = Cr4Flags::OSXSAVE.bits();
/// CR4.SMEP: no supervisor fetches from user pages.
pub const CR4_SMEP: u64 = Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION.bits();
/// CR4.SMAP: no supervisor accesses to user pages unless EFLAGS.AC.
pub const CR4_SMAP: u64 = Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION.bits();

/// EFER.SCE: SYSCALL and SYSRET.
pub const EFER_SCE: u64 = EferFlags::SYSTEM_CALL_EXTENSIONS.bits();
/// EFER.LME: long mode enabled.
pub const EFER_LME: u64 = EferFlags::LONG_MODE_ENABLE.bits();
/// EFER.LMA: long mode active.
pub const EFER_LMA: u64 = EferFlags::LONG_MODE_ACTIVE.bits();
/// EFER.NXE: execute-disable.
pub const EFER_NXE: u64 = EferFlags::NO_EXECUTE_ENABLE.bits();

/// XCR0 bit of x87 state.
pub const XCR0_X87: u64 = 1 << 0;
/// XCR0 bit of SSE state.
pub const XCR0_SSE: u64 = 1 << 1;

/// DR6 bits that read as 1 (SDM 3B 18.2.3); RTM (bit 16) among them, since RTM is not offered.
pub const DR6_FIXED_1: u64 = 0xffff_0ff0;
/// DR6.BS: single step.
pub const DR6_BS: u64 = 1 << 14;
/// DR6.BD: debug-register access detected.
pub const DR6_BD: u64 = 1 << 13;
/// DR6.BT: task switch.
pub const DR6_BT: u64 = 1 << 15;
/// DR7 bits that read as 1.
pub const DR7_FIXED_1: u64 = 1 << 10;
/// DR7.GD: general detect.
pub const DR7_GD: u64 = 1 << 13;
