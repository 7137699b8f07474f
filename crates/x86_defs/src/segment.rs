//! Segment registers, descriptors and descriptor-table registers (SDM 3A chapter 3).

/// Index of a segment register as instructions encode it.
pub mod index {
    #![expect(missing_docs, reason = "the names are the registers")]
    pub const ES: usize = 0;
    pub const CS: usize = 1;
    pub const SS: usize = 2;
    pub const DS: usize = 3;
    pub const FS: usize = 4;
    pub const GS: usize = 5;
}

/// Access rights: type, bits 3:0.
pub const AR_TYPE: u32 = 0xf;
/// Access rights: type bit 0, accessed.
pub const AR_ACCESSED: u32 = 1 << 0;
/// Access rights: type bit 1, writable data or readable code.
pub const AR_READ_WRITE: u32 = 1 << 1;
/// Access rights: type bit 2, expand-down data or conforming code.
pub const AR_CONFORMING_DOWN: u32 = 1 << 2;
/// Access rights: type bit 3, code.
pub const AR_CODE: u32 = 1 << 3;
/// Access rights: S, code or data rather than system.
pub const AR_S: u32 = 1 << 4;
/// Access rights: DPL, bits 6:5.
pub const AR_DPL_SHIFT: u32 = 5;
/// Access rights: present.
pub const AR_P: u32 = 1 << 7;
/// Access rights: available to software.
pub const AR_AVL: u32 = 1 << 12;
/// Access rights: L, 64-bit code.
pub const AR_L: u32 = 1 << 13;
/// Access rights: D/B.
pub const AR_DB: u32 = 1 << 14;
/// Access rights: granularity.
pub const AR_G: u32 = 1 << 15;
/// Access rights: unusable (a null selector was loaded).
pub const AR_UNUSABLE: u32 = 1 << 16;

/// System descriptor types (SDM 3A table 3-2).
pub mod system_type {
    #![expect(missing_docs, reason = "the names are the manual's")]
    pub const TSS16_AVAILABLE: u32 = 1;
    pub const LDT: u32 = 2;
    pub const TSS16_BUSY: u32 = 3;
    pub const CALL_GATE16: u32 = 4;
    pub const TASK_GATE: u32 = 5;
    pub const INTERRUPT_GATE16: u32 = 6;
    pub const TRAP_GATE16: u32 = 7;
    pub const TSS_AVAILABLE: u32 = 9;
    pub const TSS_BUSY: u32 = 11;
    pub const CALL_GATE: u32 = 12;
    pub const INTERRUPT_GATE: u32 = 14;
    pub const TRAP_GATE: u32 = 15;
}

/// A segment register with its hidden part. `access` has the layout of the VMCS access-rights fields (SDM 3C 25.4.1),
/// `limit` is in bytes, granularity applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The visible selector.
    pub selector: u16,
    /// Linear base address.
    pub base: u64,
    /// Last valid offset (or first invalid below, if expand-down).
    pub limit: u32,
    /// Access rights.
    pub access: u32,
}

impl Segment {
    /// A segment as real mode has it after a load: base = selector * 16, 64 KiB, present, writable.
    #[must_use]
    pub const fn real_mode(selector: u16) -> Self {
        Self { selector, base: (selector as u64) << 4, limit: 0xffff, access: 0x93 }
    }

    /// A 4 GiB segment with base 0 and the given selector and access rights.
    #[must_use]
    pub const fn flat(selector: u16, access: u32) -> Self {
        Self { selector, base: 0, limit: 0xffff_ffff, access }
    }

    /// Descriptor privilege level.
    #[inline]
    #[must_use]
    pub const fn dpl(&self) -> u8 {
        ((self.access >> AR_DPL_SHIFT) & 3) as u8
    }

    /// Whether a null selector was loaded.
    #[inline]
    #[must_use]
    pub const fn unusable(&self) -> bool {
        self.access & AR_UNUSABLE != 0
    }

    /// A segment from an 8-byte code, data or system descriptor; the upper half of a 16-byte one is added by the caller.
    #[must_use]
    pub const fn from_descriptor(selector: u16, descriptor: u64) -> Self {
        let access = ((descriptor >> 40) & 0xf0ff) as u32;
        let raw = ((descriptor & 0xffff) | ((descriptor >> 32) & 0xf_0000)) as u32;
        let limit = if access & AR_G != 0 { (raw << 12) | 0xfff } else { raw };
        let base = ((descriptor >> 16) & 0xff_ffff) | ((descriptor >> 32) & 0xff00_0000);
        Self { selector, base, limit, access }
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableRegister {
    /// Linear base address.
    pub base: u64,
    /// Last valid byte.
    pub limit: u16,
}
