//! Memory slots and every access to them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use crate::{PAGE_SIZE, PageBitmap, Word};

/// A range of guest-physical addresses backed by RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// First guest-physical address, a multiple of the page size.
    pub base: u64,
    /// Bytes, a multiple of the page size.
    pub len: u64,
}

/// Why memory could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// A slot is not made of whole pages, or is empty.
    #[error(
        "memory slot at {base:#x} with {len:#x} bytes is not made of whole {PAGE_SIZE}-byte pages; choose a size that is a multiple of {PAGE_SIZE}"
    )]
    NotWholePages {
        /// First address.
        base: u64,
        /// Bytes.
        len: u64,
    },
    /// Two slots share an address, or one wraps.
    #[error(
        "memory slot at {base:#x} with {len:#x} bytes overlaps another slot or wraps around the address space"
    )]
    Overlap {
        /// First address.
        base: u64,
        /// Bytes.
        len: u64,
    },
    /// The host would not give the memory.
    #[error("the host cannot map {bytes} bytes of guest memory; ask for less with --memory")]
    HostRefused {
        /// Bytes asked for.
        bytes: u64,
        /// The host's reason.
        #[source]
        source: std::io::Error,
    },
}

/// An access touched an address that is not RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("guest-physical address {address:#x} is not in RAM")]
pub struct OutsideRam {
    /// The first address that is not RAM.
    pub address: u64,
}

/// Bytes mapped behind the last slot, so that one compare bounds an access of any size. No guest address leads there.
const PADDING: usize = 16;

#[derive(Clone, Copy, Debug)]
struct PlacedSlot {
    slot: Slot,
    offset: u64,
}

/// The RAM of one guest.
#[derive(Debug)]
pub struct GuestMemory {
    map: MmapRaw,
    /// Bytes of RAM, all slots together.
    len: u64,
    slots: Vec<PlacedSlot>,
    dirty: PageBitmap,
    /// For each page, one bit per 64 bytes: decoded code came from there.
    code: Box<[AtomicU64]>,
    code_writes: Mutex<Vec<u64>>,
    code_written: AtomicBool,
    epoch: AtomicU64,
}

impl GuestMemory {
    /// Maps RAM for `slots`, zero-filled and lazily backed by the host. Every page starts dirty.
    ///
    /// # Errors
    /// [`MemoryError`], naming the slot.
    pub fn new(slots: &[Slot]) -> Result<Self, MemoryError> {
        let mut placed: Vec<PlacedSlot> = Vec::with_capacity(slots.len());
        let mut len = 0_u64;
        for &slot in slots {
            let Slot { base, len: bytes } = slot;
            if bytes == 0 || base % PAGE_SIZE != 0 || bytes % PAGE_SIZE != 0 {
                return Err(MemoryError::NotWholePages { base, len: bytes });
            }
            let end = base.checked_add(bytes).ok_or(MemoryError::Overlap { base, len: bytes })?;
            if placed.iter().any(|p| base < p.slot.base + p.slot.len && p.slot.base < end) {
                return Err(MemoryError::Overlap { base, len: bytes });
            }
            placed.push(PlacedSlot { slot, offset: len });
            len = len.checked_add(bytes).ok_or(MemoryError::Overlap { base, len: bytes })?;
        }
        placed.sort_by_key(|p| p.slot.base);
        let refused = |source| MemoryError::HostRefused { bytes: len, source };
        // A size nothing can hold is refused before anything is sized by it.
        if len > available_memory().unwrap_or(u64::MAX) {
            return Err(refused(std::io::Error::from(std::io::ErrorKind::OutOfMemory)));
        }
        let host_len = usize::try_from(len)
            .map_err(|_| refused(std::io::Error::from(std::io::ErrorKind::OutOfMemory)))?;
        let map = MmapOptions::new()
            .len(host_len.saturating_add(PADDING))
            .no_reserve_swap()
            .map_anon()
            .map(MmapRaw::from)
            .map_err(refused)?;
        let dirty = PageBitmap::new(len / PAGE_SIZE);
        dirty.set_all();
        Ok(Self {
            map,
            len,
            slots: placed,
            dirty,
            code: (0..len / PAGE_SIZE).map(|_| AtomicU64::new(0)).collect(),
            code_writes: Mutex::new(Vec::new()),
            code_written: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
        })
    }

    /// The slots in order of address.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.slots.iter().map(|p| p.slot)
    }

    /// Bytes of RAM, all slots together.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no RAM at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Offset of a guest-physical address in the host mapping, if it is RAM.
    #[inline]
    #[must_use]
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        self.slots.iter().find_map(|p| {
            let within = address.wrapping_sub(p.slot.base);
            (within < p.slot.len).then(|| p.offset + within)
        })
    }

    /// Guest-physical address of an offset; the inverse of [`Self::offset_of`].
    #[inline]
    #[must_use]
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        self.slots.iter().find_map(|p| {
            let within = offset.wrapping_sub(p.offset);
            (within < p.slot.len).then(|| p.slot.base + within)
        })
    }

    /// Loads from an offset; 0 if it does not lie in RAM.
    #[inline(always)]
    #[must_use]
    pub fn load<T: Word>(&self, offset: u64) -> T {
        self.get(offset).unwrap_or_default()
    }

    /// Loads from an offset if it lies in RAM.
    #[inline(always)]
    #[must_use]
    pub fn get<T: Word>(&self, offset: u64) -> Option<T> {
        if offset >= self.len {
            return None;
        }
        // SAFETY: `offset < len` and the mapping has `PADDING` more bytes than that, as many as the largest `T`; it lives as
        // long as `self`; `T` is a plain integer, so any bytes are a value.
        Some(unsafe { self.map.as_ptr().add(offset as usize).cast::<T>().read_unaligned() })
    }

    /// Stores to an offset that [`Self::admit_writes`] admitted in the present epoch. Nothing happens outside RAM.
    #[inline(always)]
    pub fn store<T: Word>(&self, offset: u64, value: T) {
        if offset >= self.len {
            return;
        }
        // SAFETY: as in `load`; the mapping is writable and no Rust reference to its bytes is ever made.
        unsafe { self.map.as_mut_ptr().add(offset as usize).cast::<T>().write_unaligned(value) }
    }

    /// Copies `len` bytes between two ranges, each within one page, of which the destination was admitted for writes in the
    /// present epoch. Nothing happens outside RAM.
    #[inline]
    pub fn copy_admitted(&self, source: u64, destination: u64, len: u64) {
        let fits = |offset: u64| offset < self.len && len <= PAGE_SIZE - offset % PAGE_SIZE;
        if fits(source) && fits(destination) {
            // SAFETY: both ranges lie within a page of the mapping; `copy_to` allows them to overlap.
            unsafe {
                let base = self.map.as_mut_ptr();
                base.add(source as usize).copy_to(base.add(destination as usize), len as usize);
            }
        }
    }

    /// Stores `count` times `value` to a range within one page that was admitted for writes in the present epoch.
    #[inline]
    pub fn fill_admitted<T: Word>(&self, offset: u64, value: T, count: u64) {
        if offset < self.len && count <= (PAGE_SIZE - offset % PAGE_SIZE) / T::SIZE {
            // SAFETY: the range lies within a page of the mapping.
            unsafe {
                let base = self.map.as_mut_ptr().add(offset as usize).cast::<T>();
                for index in 0..count as usize {
                    base.add(index).write_unaligned(value);
                }
            }
        }
    }

    /// Marks the page of `offset` dirty and says whether stores may go straight to it for as long as [`Self::epoch`] stays
    /// the same. They may not where code was decoded from.
    #[inline]
    pub fn admit_writes(&self, offset: u64) -> bool {
        let page = offset / PAGE_SIZE;
        self.dirty.set(page);
        self.code.get(page as usize).is_some_and(|mask| mask.load(Ordering::Relaxed) == 0)
    }

    /// Changes whenever an admission given earlier has ended: when the dirty log was taken, or a page got its first code.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// The one write: marks the page dirty and reports a hit on code. `offset..offset + SIZE` must not cross a page.
    #[inline]
    pub fn write_at<T: Word>(&self, offset: u64, value: T) {
        self.note_write(offset, T::SIZE);
        self.store(offset, value);
    }

    /// Compare-and-swap of an aligned 64-bit word (accessed and dirty bits, SDM 3A 4.8). True if it was `old` and is `new`.
    pub fn compare_exchange_u64(&self, offset: u64, old: u64, new: u64) -> bool {
        if !offset.is_multiple_of(8) || offset >= self.len {
            return false;
        }
        self.note_write(offset, 8);
        // SAFETY: aligned (the mapping is page-aligned) and inside the mapping; only atomics and plain integer accesses touch it.
        let word = unsafe { &*self.map.as_mut_ptr().add(offset as usize).cast::<AtomicU64>() };
        word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Compare-and-swap of an aligned 32-bit word.
    pub fn compare_exchange_u32(&self, offset: u64, old: u32, new: u32) -> bool {
        if !offset.is_multiple_of(4) || offset >= self.len {
            return false;
        }
        self.note_write(offset, 4);
        // SAFETY: as above.
        let word =
            unsafe { &*self.map.as_mut_ptr().add(offset as usize).cast::<std::sync::atomic::AtomicU32>() };
        word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    #[inline]
    fn note_write(&self, offset: u64, size: u64) {
        let page = offset / PAGE_SIZE;
        self.dirty.set(page);
        let Some(mask) = self.code.get(page as usize) else { return };
        let present = mask.load(Ordering::Relaxed);
        if present != 0 && present & chunk_mask(offset % PAGE_SIZE, size) != 0 {
            self.report_code_write(page);
        }
    }

    #[cold]
    fn report_code_write(&self, page: u64) {
        self.code[page as usize].store(0, Ordering::Relaxed);
        self.code_writes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(page);
        self.code_written.store(true, Ordering::Relaxed);
    }

    /// Remembers that code was decoded from `len` bytes at `offset` (within one page).
    pub fn mark_code(&self, offset: u64, len: u64) {
        let page = offset / PAGE_SIZE;
        if let Some(mask) = self.code.get(page as usize) {
            let before = mask.fetch_or(chunk_mask(offset % PAGE_SIZE, len), Ordering::Relaxed);
            if before == 0 {
                self.epoch.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Forgets that code was decoded from anywhere, because nobody holds decoded code any more.
    pub fn forget_code(&self) {
        for mask in &self.code {
            mask.store(0, Ordering::Relaxed);
        }
        let _ = self.take_code_writes();
    }

    /// Whether code was overwritten since [`Self::take_code_writes`].
    #[inline]
    #[must_use]
    pub fn code_written(&self) -> bool {
        self.code_written.load(Ordering::Relaxed)
    }

    /// Pages (numbers of offset pages) whose code was overwritten; their marks are gone already.
    #[must_use]
    pub fn take_code_writes(&self) -> Vec<u64> {
        self.code_written.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.code_writes.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The dirty log since the last call, one bit per page by offset; admissions end with it.
    #[must_use]
    pub fn take_dirty_log(&self) -> Vec<u64> {
        self.epoch.fetch_add(1, Ordering::Relaxed);
        self.dirty.take()
    }

    /// Whether the page of `offset` is in the dirty log.
    #[must_use]
    pub fn is_dirty(&self, offset: u64) -> bool {
        self.dirty.get(offset / PAGE_SIZE)
    }

    /// Reads a value at a guest-physical address; it may cross pages and slots.
    ///
    /// # Errors
    /// [`OutsideRam`] if any byte is not RAM.
    pub fn read<T: Word>(&self, address: u64) -> Result<T, OutsideRam> {
        match self.offset_of(address) {
            Some(offset) if address % PAGE_SIZE <= PAGE_SIZE - T::SIZE => Ok(self.load(offset)),
            _ => {
                let mut value = T::default();
                // SAFETY: `T` is a plain integer: its bytes may be written in any way.
                let bytes = unsafe {
                    std::slice::from_raw_parts_mut((&raw mut value).cast::<u8>(), T::SIZE as usize)
                };
                self.read_bytes(address, bytes)?;
                Ok(value)
            }
        }
    }

    /// Writes a value at a guest-physical address; it may cross pages and slots.
    ///
    /// # Errors
    /// [`OutsideRam`] if any byte is not RAM; nothing is written then.
    pub fn write<T: Word>(&self, address: u64, value: T) -> Result<(), OutsideRam> {
        // SAFETY: `T` is a plain integer without padding: its bytes may be read.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const value).cast::<u8>(), T::SIZE as usize) };
        self.write_bytes(address, bytes)
    }

    /// Reads bytes at a guest-physical address.
    ///
    /// # Errors
    /// [`OutsideRam`] if any byte is not RAM.
    pub fn read_bytes(&self, address: u64, bytes: &mut [u8]) -> Result<(), OutsideRam> {
        self.check(address, bytes.len() as u64)?;
        let mut done = 0;
        while done < bytes.len() {
            let (offset, run) = self.run_at(address + done as u64, (bytes.len() - done) as u64)?;
            // SAFETY: `run_at` says that `run` bytes from `offset` lie in the mapping; the destination is a separate allocation.
            unsafe {
                self.map
                    .as_ptr()
                    .add(offset as usize)
                    .copy_to_nonoverlapping(bytes[done..].as_mut_ptr(), run as usize);
            }
            done += run as usize;
        }
        Ok(())
    }

    /// Writes bytes at a guest-physical address.
    ///
    /// # Errors
    /// [`OutsideRam`] if any byte is not RAM; nothing is written then.
    pub fn write_bytes(&self, address: u64, bytes: &[u8]) -> Result<(), OutsideRam> {
        self.check(address, bytes.len() as u64)?;
        let mut done = 0;
        while done < bytes.len() {
            let (offset, run) = self.run_at(address + done as u64, (bytes.len() - done) as u64)?;
            let mut noted = offset;
            while noted < offset + run {
                let in_page = (PAGE_SIZE - noted % PAGE_SIZE).min(offset + run - noted);
                self.note_write(noted, in_page);
                noted += in_page;
            }
            // SAFETY: as in `read_bytes`, with the mapping as destination.
            unsafe {
                self.map
                    .as_mut_ptr()
                    .add(offset as usize)
                    .copy_from_nonoverlapping(bytes[done..].as_ptr(), run as usize);
            }
            done += run as usize;
        }
        Ok(())
    }

    /// Gives `visit` every page in order of address, as (guest-physical address, bytes).
    pub fn for_each_page(&self, mut visit: impl FnMut(u64, &[u8; PAGE_SIZE as usize])) {
        let mut page = [0; PAGE_SIZE as usize];
        for placed in &self.slots {
            for index in 0..placed.slot.len / PAGE_SIZE {
                let address = placed.slot.base + index * PAGE_SIZE;
                if self.read_bytes(address, &mut page).is_ok() {
                    visit(address, &page);
                }
            }
        }
    }

    fn check(&self, address: u64, len: u64) -> Result<(), OutsideRam> {
        let mut done = 0;
        while done < len {
            let at = address.checked_add(done).ok_or(OutsideRam { address: u64::MAX })?;
            done += self.run_at(at, len - done)?.1;
        }
        Ok(())
    }

    /// Offset of `address`, and how many of `len` bytes follow it in the same slot.
    fn run_at(&self, address: u64, len: u64) -> Result<(u64, u64), OutsideRam> {
        self.slots
            .iter()
            .find_map(|p| {
                let within = address.wrapping_sub(p.slot.base);
                (within < p.slot.len).then(|| (p.offset + within, len.min(p.slot.len - within)))
            })
            .ok_or(OutsideRam { address })
    }
}

/// Bits of the 64-byte chunks that `len` bytes at `start` of a page touch.
const fn chunk_mask(start: u64, len: u64) -> u64 {
    if len == 0 {
        return 0;
    }
    let first = start / 64;
    let last = (start + len - 1) / 64;
    let last = if last > 63 { 63 } else { last };
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}

/// What the host can still give, as Linux tells it; `None` where it does not.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests;
