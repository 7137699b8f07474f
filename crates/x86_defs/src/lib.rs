//! The vocabulary of the x86-64 architecture without VMX: registers, control bits, descriptors, page-table entries,
//! MSRs, CPUID leaves, exceptions. Data only: nothing here executes, allocates or keeps state.
//!
//! Bit names come from the `x86_64` crate where it has them; the constants here give them as plain integers, which is
//! what a processor computes with.

pub mod control;
pub mod cpuid;
pub mod exception;
pub mod msr;
pub mod paging;
pub mod rflags;
pub mod segment;

pub use exception::{Exception, Vector};
pub use segment::{Segment, TableRegister};

/// Index of a general-purpose register as instructions encode it (SDM 2A 2.1.3, table 2-2 and REX extensions).
pub mod gpr {
    #![expect(missing_docs, reason = "the names are the registers")]
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSP: usize = 4;
    pub const RBP: usize = 5;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
    pub const R8: usize = 8;
    pub const R9: usize = 9;
    pub const R10: usize = 10;
    pub const R11: usize = 11;
    pub const R12: usize = 12;
    pub const R13: usize = 13;
    pub const R14: usize = 14;
    pub const R15: usize = 15;
}

/// Width of guest-physical addresses of the one processor model (CPUID 0x80000008 EAX bits 7:0).
pub const PHYSICAL_ADDRESS_BITS: u32 = 46;

/// Bytes of a page.
pub const PAGE_SIZE: u64 = 4096;

/// Whether a linear address is canonical with 48-bit linear addresses (SDM 1 3.3.7.1).
#[inline]
#[must_use]
pub const fn is_canonical(address: u64) -> bool {
    ((address << 16).cast_signed() >> 16).cast_unsigned() == address
}
