//! The page through which the trampoline and the engine exchange registers: at a fixed address, so that it can be addressed
//! while no register is free.

/// Its address.
pub(super) const PAGE: u64 = 0x3003_0000;
/// Its size.
pub(super) const SIZE: u64 = 0x1000;

/// What is in it.
#[repr(C, align(64))]
pub(super) struct StatePage {
    /// FXSAVE64 image, before and after.
    pub(super) fx: [u8; 512],
    /// General-purpose registers, before and after.
    pub(super) gpr: [u64; 16],
    /// RFLAGS, before and after.
    pub(super) rflags: u64,
    /// FS base, before and after.
    pub(super) fs_base: u64,
    /// GS base, before and after.
    pub(super) gs_base: u64,
    /// Where the trampoline jumps: the instruction, or what enters its mode.
    pub(super) entry: u64,
    /// Offset of the instruction in its 32-bit segment, followed by the selector.
    pub(super) far_entry: [u32; 2],
    /// What DS, ES, FS and GS are loaded with.
    pub(super) data_selector: u64,
    /// Where the stub behind it jumps.
    pub(super) exit: u64,
    /// RIP a signal arrived at.
    pub(super) rip: u64,
    /// Whether the instruction ended by a signal.
    pub(super) signalled: u64,
    /// The exception's vector.
    pub(super) vector: u64,
    /// Its error code.
    pub(super) error_code: u64,
    /// CR2.
    pub(super) cr2: u64,
    /// Not zero while the guest's registers are loaded.
    pub(super) in_guest: u64,
    /// ES, CS, SS, DS, FS, GS after.
    pub(super) selectors: [u16; 6],
    host_rsp: u64,
    host_fs_base: u64,
    host_gs_base: u64,
    host_mxcsr: u32,
    host_fcw: u32,
}

/// Addresses of the fields, for the assembly.
pub(super) mod offsets {
    use super::{PAGE, StatePage};
    use std::mem::offset_of;

    pub(in super::super) const FX: u64 = PAGE + offset_of!(StatePage, fx) as u64;
    pub(in super::super) const GPR: u64 = PAGE + offset_of!(StatePage, gpr) as u64;
    pub(in super::super) const RFLAGS: u64 = PAGE + offset_of!(StatePage, rflags) as u64;
    pub(in super::super) const FS_BASE: u64 = PAGE + offset_of!(StatePage, fs_base) as u64;
    pub(in super::super) const GS_BASE: u64 = PAGE + offset_of!(StatePage, gs_base) as u64;
    pub(in super::super) const ENTRY: u64 = PAGE + offset_of!(StatePage, entry) as u64;
    pub(in super::super) const FAR_ENTRY: u64 = PAGE + offset_of!(StatePage, far_entry) as u64;
    pub(in super::super) const DATA_SELECTOR: u64 = PAGE + offset_of!(StatePage, data_selector) as u64;
    pub(in super::super) const EXIT: u64 = PAGE + offset_of!(StatePage, exit) as u64;
    pub(in super::super) const IN_GUEST: u64 = PAGE + offset_of!(StatePage, in_guest) as u64;
    pub(in super::super) const SELECTORS: u64 = PAGE + offset_of!(StatePage, selectors) as u64;
    pub(in super::super) const HOST_RSP: u64 = PAGE + offset_of!(StatePage, host_rsp) as u64;
    pub(in super::super) const HOST_FS_BASE: u64 = PAGE + offset_of!(StatePage, host_fs_base) as u64;
    pub(in super::super) const HOST_GS_BASE: u64 = PAGE + offset_of!(StatePage, host_gs_base) as u64;
    pub(in super::super) const HOST_MXCSR: u64 = PAGE + offset_of!(StatePage, host_mxcsr) as u64;
    pub(in super::super) const HOST_FCW: u64 = PAGE + offset_of!(StatePage, host_fcw) as u64;
}

impl StatePage {
    /// The page.
    ///
    /// # Safety
    /// It is mapped, and no other reference to it is used while this one lives.
    pub(super) unsafe fn get() -> &'static mut Self {
        // SAFETY: the caller's promise; the page is large and aligned enough for the struct.
        unsafe { &mut *std::ptr::with_exposed_provenance_mut::<Self>(PAGE as usize) }
    }

    /// The stack pointer to return to the engine with.
    pub(super) fn host_rsp(&self) -> u64 {
        self.host_rsp
    }
}
