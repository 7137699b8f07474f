//! Bits of paging-structure entries (SDM 3A 4.3 to 4.5).

use x86_64::structures::paging::PageTableFlags;

/// Present.
pub const PRESENT: u64 = PageTableFlags::PRESENT.bits();
/// Writable.
pub const WRITABLE: u64 = PageTableFlags::WRITABLE.bits();
/// User-mode accessible.
pub const USER: u64 = PageTableFlags::USER_ACCESSIBLE.bits();
/// Page-level write-through.
pub const WRITE_THROUGH: u64 = PageTableFlags::WRITE_THROUGH.bits();
/// Page-level cache disable.
pub const CACHE_DISABLE: u64 = PageTableFlags::NO_CACHE.bits();
/// Accessed.
pub const ACCESSED: u64 = PageTableFlags::ACCESSED.bits();
/// Dirty.
pub const DIRTY: u64 = PageTableFlags::DIRTY.bits();
/// Maps a large page (in directory entries).
pub const LARGE: u64 = PageTableFlags::HUGE_PAGE.bits();
/// Global.
pub const GLOBAL: u64 = PageTableFlags::GLOBAL.bits();
/// Execute-disable.
pub const NO_EXECUTE: u64 = PageTableFlags::NO_EXECUTE.bits();
