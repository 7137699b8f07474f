//! Guest-physical RAM in memory slots over one host mapping, with a dirty log.
//!
//! There is **one** way to write guest memory, and it marks the page dirty: every write function here does. The processor's
//! fast path is the same way cut in two: [`GuestMemory::admit_writes`] marks the page and says whether stores may go straight
//! to it ([`GuestMemory::store`]) until [`GuestMemory::epoch`] changes.
//!
//! Pages from which code was decoded are remembered ([`GuestMemory::mark_code`]); a write to such bytes is reported through
//! [`GuestMemory::take_code_writes`], so that decoded code can be dropped.
//!
//! RAM is addressed in two ways: by guest-physical address, and by *offset* into the one host mapping that holds all slots.
//! Nothing outside this crate ever holds a host pointer.

mod bitmap;
mod slots;
mod word;

pub use bitmap::PageBitmap;
pub use slots::{GuestMemory, MemoryError, OutsideRam, Slot};
pub use word::Word;

/// Bytes of a page, the unit of the dirty log.
pub const PAGE_SIZE: u64 = 4096;
