//! Bits of RFLAGS (SDM 1 3.4.3).

use x86_64::registers::rflags::RFlags;

/// Carry.
pub const CF: u64 = RFlags::CARRY_FLAG.bits();
/// Bit 1, always 1.
pub const FIXED_1: u64 = 1 << 1;
/// Parity.
pub const PF: u64 = RFlags::PARITY_FLAG.bits();
/// Auxiliary carry.
pub const AF: u64 = RFlags::AUXILIARY_CARRY_FLAG.bits();
/// Zero.
pub const ZF: u64 = RFlags::ZERO_FLAG.bits();
/// Sign.
pub const SF: u64 = RFlags::SIGN_FLAG.bits();
/// Single step.
pub const TF: u64 = RFlags::TRAP_FLAG.bits();
/// Interrupts enabled.
pub const IF: u64 = RFlags::INTERRUPT_FLAG.bits();
/// Direction.
pub const DF: u64 = RFlags::DIRECTION_FLAG.bits();
/// Overflow.
pub const OF: u64 = RFlags::OVERFLOW_FLAG.bits();
/// I/O privilege level, two bits.
pub const IOPL: u64 = 3 << 12;
/// Position of IOPL.
pub const IOPL_SHIFT: u32 = 12;
/// Nested task.
pub const NT: u64 = RFlags::NESTED_TASK.bits();
/// Resume: no instruction breakpoint at the next instruction.
pub const RF: u64 = RFlags::RESUME_FLAG.bits();
/// Virtual-8086 mode.
pub const VM: u64 = RFlags::VIRTUAL_8086_MODE.bits();
/// Alignment check; with SMAP, access to user pages.
pub const AC: u64 = RFlags::ALIGNMENT_CHECK.bits();
/// Virtual interrupt flag.
pub const VIF: u64 = RFlags::VIRTUAL_INTERRUPT.bits();
/// Virtual interrupt pending.
pub const VIP: u64 = RFlags::VIRTUAL_INTERRUPT_PENDING.bits();
/// CPUID may be used.
pub const ID: u64 = RFlags::ID.bits();

/// The six status flags.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
/// Every flag that exists.
pub const DEFINED: u64 = STATUS | TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID;
