//! The translation lookaside buffer: what the guest can notice, and what makes hits cheap.
//!
//! A guest notices its TLB (it changes page tables without flushing), so there are two arrays with the same index, the low
//! bits of the linear page number:
//!
//! - the **architectural** TLB ([`ArchEntry`]) says which translations are cached. It is part of the saved state, and what it
//!   holds depends on nothing but the instructions executed.
//! - the **fast** array ([`FastEntry`]) holds, in host terms, what the architectural TLB allows right now. It can be emptied at
//!   any time without the guest noticing.
//!
//! Whatever fast allows, the architectural entry at the same index allows too; dropping or replacing the one empties the other.
//! (With paging off nothing is cached architecturally, and fast holds the identity.)
//!
//! Nothing is swept when an address space is flushed. Architectural entries carry the *space* they belong to, a number that is
//! never used twice: a flush gives the address space a new one. Fast tags carry a *slot* of ten bits instead; slots are
//! handed out in turn, and when all were used fast is emptied and they start over.

mod fetch;
mod large;
mod saved;
#[cfg(test)]
mod tests;

pub use saved::{TlbEntryStateV1, TlbStateV1};

pub(crate) use fetch::FetchTranslation;

use fetch::FetchContext;
use large::LargeFilter;

use guest_memory::GuestMemory;
use x86_defs::control::{CR0_PG, CR0_WP, CR4_PAE, CR4_PCIDE, CR4_PGE, CR4_PSE, CR4_SMAP, CR4_SMEP};

use crate::paging::{PageSize, Rights, Translation};

/// Entries of either array.
const ENTRIES: usize = 2048;
/// Cuts a linear page number to an index.
pub(crate) const FAST_MASK: usize = ENTRIES - 1;
/// Cuts a linear address to its page.
pub(crate) const PAGE_MASK: u64 = !0xfff;

/// A tag that no access ever asks for.
const EMPTY_TAG: u64 = 0xfff;
/// A context that no tag ever has: every access misses.
const DISABLED: u64 = 0xffb;
/// The slot of accesses with paging off.
const SLOT_PAGING_OFF: u64 = 0;
/// Slots for address spaces are 1 to this; the others are left for [`EMPTY_TAG`] and [`DISABLED`].
const SLOTS: u64 = 1000;
/// Process-context identifiers.
const ASIDS: usize = 4096;

/// In whose name accesses are made: the low two bits of a context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Supervisor, and SMAP applies (or is off).
    #[default]
    Supervisor = 0,
    /// Supervisor with EFLAGS.AC set while CR4.SMAP is.
    SupervisorOverSmap = 1,
    /// User.
    User = 2,
}

/// What a hit needs: the tags of the kinds of access it allows, and where the page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub(crate) struct FastEntry {
    /// Linear page and context that may read.
    pub(crate) read: u64,
    /// Linear page and context that may write.
    pub(crate) write: u64,
    /// Linear page and context that may fetch.
    pub(crate) exec: u64,
    /// Added to a linear address this gives the offset in [`GuestMemory`].
    pub(crate) add: u64,
}

impl FastEntry {
    const EMPTY: Self = Self { read: EMPTY_TAG, write: EMPTY_TAG, exec: EMPTY_TAG, add: 0 };
}

/// What an access that missed wants from fast from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allow {
    Read,
    /// Writes, and reads with them: no page is writable but not readable.
    Write,
    Exec,
}

/// A cached translation of one 4 KiB page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ArchEntry {
    linear_page: u64,
    /// Which generation of which address space; 0 = never valid.
    space: u64,
    frame: u64,
    /// Process-context identifier; 0 for a global entry.
    asid: u16,
    rights: Rights,
    size: PageSize,
    dirty: bool,
}

impl ArchEntry {
    const EMPTY: Self = Self {
        linear_page: 0,
        space: 0,
        frame: 0,
        asid: 0,
        rights: Rights { writable: false, user: false, no_execute: false },
        size: PageSize::Size4K,
        dirty: false,
    };
}

/// Numbers of an address space.
#[derive(Clone, Copy, Debug, Default)]
struct Space {
    /// Carried by its architectural entries; 0 = none yet.
    id: u64,
    /// Decides its slot; too old = none.
    serial: u64,
}

/// The TLB of one processor.
pub(crate) struct Tlb {
    pub(crate) fast: Box<[FastEntry; ENTRIES]>,
    /// Low 12 bits of the tags that accesses match: slot and [`Kind`], or a value that no tag has.
    pub(crate) context: u64,
    pub(crate) fetch: FetchTranslation,
    arch: Box<[ArchEntry; ENTRIES]>,
    fetch_context: FetchContext,
    kind: Kind,
    checks: bool,
    spaces: Box<[Space; ASIDS]>,
    /// What global entries carry.
    global_space: u64,
    /// Spaces below this were flushed.
    oldest_space: u64,
    /// The last space or serial given out.
    last_number: u64,
    /// Serials below this have lost their slot.
    oldest_serial: u64,
    last_serial: u64,
    /// Which regions may hold pieces of large pages; bits too many cost time, none may be missing.
    large: LargeFilter,
    /// [`GuestMemory::epoch`] in which the write tags were admitted.
    epoch: u64,
}

impl std::fmt::Debug for Tlb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tlb")
            .field("context", &self.context)
            .field("fetch", &self.fetch)
            .field("entries", &self.arch.iter().filter(|entry| self.is_live(entry)).count())
            .finish_non_exhaustive()
    }
}

const fn index_of(linear: u64) -> usize {
    (linear >> 12) as usize & FAST_MASK
}

/// `count` copies of `value` on the heap, never on the stack.
fn boxed<T: Clone, const COUNT: usize>(value: T) -> Box<[T; COUNT]> {
    match vec![value; COUNT].into_boxed_slice().try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("the vector has as many elements as the array"),
    }
}

impl Tlb {
    /// An empty TLB, paging off.
    pub(crate) fn new() -> Self {
        Self {
            fast: boxed(FastEntry::EMPTY),
            context: SLOT_PAGING_OFF << 2,
            fetch: FetchTranslation::default(),
            arch: boxed(ArchEntry::EMPTY),
            fetch_context: FetchContext::default(),
            kind: Kind::default(),
            checks: false,
            spaces: boxed(Space::default()),
            global_space: 1,
            oldest_space: 2,
            last_number: 1,
            oldest_serial: 1,
            last_serial: 0,
            large: LargeFilter::default(),
            epoch: 0,
        }
    }

    // Which address space

    /// Chooses the address space (`None` with paging off) and in whose name accesses are made from now on. With `checks`
    /// every access misses, because something has to be looked at that tags do not say.
    #[inline]
    pub(crate) fn select(&mut self, asid: Option<u16>, kind: Kind, checks: bool) {
        let fetch_context = FetchContext { asid, user: kind == Kind::User };
        if fetch_context != self.fetch_context {
            self.fetch_context = fetch_context;
            self.fetch.valid = false;
        }
        self.kind = kind;
        self.checks = checks;
        self.choose_context();
    }

    /// Computes `context` anew.
    #[inline]
    fn choose_context(&mut self) {
        let slot = match self.fetch_context.asid {
            None => SLOT_PAGING_OFF,
            Some(asid) => self.slot(asid),
        };
        self.context = if self.checks { DISABLED } else { slot << 2 | self.kind as u64 };
    }

    /// The slot of an address space, which gets one (and a space) if it has none.
    #[inline]
    fn slot(&mut self, asid: u16) -> u64 {
        let space = self.spaces[usize::from(asid) % ASIDS];
        if space.id >= self.oldest_space && space.serial >= self.oldest_serial {
            return 1 + space.serial % SLOTS;
        }
        self.give_slot(asid)
    }

    #[cold]
    fn give_slot(&mut self, asid: u16) -> u64 {
        self.space(asid);
        self.last_serial += 1;
        if self.last_serial - self.oldest_serial >= SLOTS {
            self.fast.fill(FastEntry::EMPTY);
            self.oldest_serial = self.last_serial;
        }
        self.spaces[usize::from(asid) % ASIDS].serial = self.last_serial;
        1 + self.last_serial % SLOTS
    }

    /// The space of `asid`, which gets one if it has none.
    fn space(&mut self, asid: u16) -> u64 {
        let index = usize::from(asid) % ASIDS;
        if self.spaces[index].id < self.oldest_space {
            self.last_number += 1;
            self.spaces[index] = Space { id: self.last_number, serial: 0 };
        }
        self.spaces[index].id
    }

    fn is_live(&self, entry: &ArchEntry) -> bool {
        entry.space == self.global_space
            || (entry.space >= self.oldest_space
                && entry.space == self.spaces[usize::from(entry.asid) % ASIDS].id)
    }

    // Entries

    /// The cached translation of `linear` in the address space `asid`.
    #[inline]
    pub(crate) fn lookup(&self, linear: u64, asid: u16) -> Option<Translation> {
        let entry = &self.arch[index_of(linear)];
        let global = entry.space == self.global_space;
        (entry.linear_page == linear & PAGE_MASK && (global || (self.is_live(entry) && entry.asid == asid)))
            .then_some(Translation {
                frame: entry.frame,
                rights: entry.rights,
                size: entry.size,
                global,
                dirty: entry.dirty,
            })
    }

    /// Caches a translation in place of whatever was at its index.
    pub(crate) fn insert(&mut self, linear: u64, asid: u16, translation: Translation) {
        let Translation { frame, rights, size, global, dirty } = translation;
        let space = if global { self.global_space } else { self.space(asid) };
        let index = index_of(linear);
        self.large.add(linear, size);
        self.fast[index] = FastEntry::EMPTY;
        self.arch[index] = ArchEntry {
            linear_page: linear & PAGE_MASK,
            space,
            frame,
            asid: if global { 0 } else { asid },
            rights,
            size,
            dirty,
        };
    }

    /// Lets accesses of the present context go straight to the page of `linear` at `offset` of `mem`.
    pub(crate) fn allow(&mut self, mem: &GuestMemory, linear: u64, offset: u64, allow: Allow) {
        if self.context == DISABLED {
            return;
        }
        let page = linear & PAGE_MASK;
        let tag = page | self.context;
        let add = (offset & PAGE_MASK).wrapping_sub(page);
        let entry = &mut self.fast[index_of(linear)];
        if entry.add != add {
            *entry = FastEntry { add, ..FastEntry::EMPTY };
        }
        match allow {
            Allow::Read => entry.read = tag,
            Allow::Write => {
                entry.read = tag;
                if mem.admit_writes(offset) {
                    entry.write = tag;
                }
            }
            Allow::Exec => entry.exec = tag,
        }
    }

    /// The offset in memory that instructions of the present context at `linear` are fetched from, if that is known.
    #[inline]
    pub(crate) fn fast_fetch(&self, linear: u64) -> Option<u64> {
        let entry = &self.fast[index_of(linear)];
        (entry.exec == linear & PAGE_MASK | self.context).then(|| linear.wrapping_add(entry.add))
    }

    /// Takes back what [`GuestMemory::admit_writes`] admitted in an earlier epoch. Before the first store of a run, and
    /// after code was decoded.
    #[inline]
    pub(crate) fn sync_epoch(&mut self, mem: &GuestMemory) {
        if self.epoch != mem.epoch() {
            self.drop_write_tags(mem.epoch());
        }
    }

    #[cold]
    #[inline(never)]
    fn drop_write_tags(&mut self, epoch: u64) {
        for entry in self.fast.iter_mut() {
            entry.write = EMPTY_TAG;
        }
        self.epoch = epoch;
    }

    /// Empties the fast array. The guest cannot notice.
    pub(crate) fn drop_fast(&mut self) {
        self.fast.fill(FastEntry::EMPTY);
    }

    // Invalidation, as SDM 3A 4.10.4.1 demands

    /// Forgets everything, global pages too.
    pub(crate) fn flush_all(&mut self) {
        self.last_number += 1;
        self.global_space = self.last_number;
        self.large.clear();
        self.flush_all_but_global();
    }

    /// Forgets every address space, but no global page (INVPCID type 3).
    pub(crate) fn flush_all_but_global(&mut self) {
        self.oldest_space = self.last_number + 1;
        self.fetch.valid = false;
        self.choose_context();
    }

    /// Forgets an address space, but no global page (MOV to CR3, INVPCID type 1).
    pub(crate) fn flush_asid(&mut self, asid: u16) {
        self.spaces[usize::from(asid) % ASIDS] = Space::default();
        self.fetch.valid = false;
        self.choose_context();
    }

    /// Forgets the page of `linear` in the address space `asid`, all of it if it is a large one (INVPCID type 0); with
    /// `global`, a global page too (INVLPG).
    pub(crate) fn invalidate_page(&mut self, linear: u64, asid: u16, global: bool) {
        self.fetch.valid = false;
        self.invalidate_entry(linear, asid, global);
        let pieces = if self.large.may_have_1g(linear) {
            ENTRIES
        } else if self.large.may_have_2m(linear) {
            // As many as a 4 MiB page has, which contains the 2 MiB page.
            1024
        } else {
            return;
        };
        let first = linear & !(PageSize::Size4M.bytes() - 1);
        for piece in 0..pieces {
            let index = (index_of(first) + piece) & FAST_MASK;
            let entry = &self.arch[index];
            let same_page = (entry.linear_page ^ linear) & !(entry.size.bytes() - 1) == 0;
            if same_page && entry.size != PageSize::Size4K {
                self.drop_index(index, asid, global);
            }
        }
    }

    /// Forgets one entry because of a page fault at `linear` (SDM 3A 4.10.4.1: a page fault invalidates as INVLPG does, for
    /// the page itself).
    pub(crate) fn invalidate_faulting(&mut self, linear: u64, asid: u16) {
        self.invalidate_entry(linear, asid, true);
        if self.fetch.linear_page == linear & PAGE_MASK {
            self.fetch.valid = false;
        }
    }

    fn invalidate_entry(&mut self, linear: u64, asid: u16, global: bool) {
        let index = index_of(linear);
        if self.arch[index].linear_page == linear & PAGE_MASK {
            self.drop_index(index, asid, global);
        }
    }

    fn drop_index(&mut self, index: usize, asid: u16, global: bool) {
        let entry = &self.arch[index];
        let is_global = entry.space == self.global_space;
        if if is_global { global } else { entry.asid == asid } {
            self.arch[index] = ArchEntry::EMPTY;
            self.fast[index] = FastEntry::EMPTY;
        }
    }

    /// The control bits changed that rights were checked with (CR0.WP, CR4.SMAP, CR4.SMEP, EFER.NXE); nothing is flushed.
    pub(crate) fn rights_changed(&mut self) {
        self.drop_fast();
        self.fetch.valid = false;
    }

    /// What MOV to CR0 does to the TLB.
    pub(crate) fn cr0_changed(&mut self, old: u64, new: u64) {
        let changed = old ^ new;
        if changed & CR0_PG != 0 {
            // Only clearing it has to flush; what could be there when it is set was cached before it was cleared.
            self.flush_all();
        } else if changed & CR0_WP != 0 {
            self.rights_changed();
        }
        self.fetch.valid = false;
    }

    /// What MOV to CR3 does to the TLB. `keep` is bit 63 of its operand with CR4.PCIDE set.
    pub(crate) fn cr3_loaded(&mut self, cr3: u64, cr4: u64, keep: bool) {
        if !keep {
            self.flush_asid(asid_of(cr3, cr4));
        }
        self.fetch.valid = false;
    }

    /// What MOV to CR4 does to the TLB; `cr3` is what it is then.
    pub(crate) fn cr4_changed(&mut self, old: u64, new: u64, cr3: u64) {
        let changed = old ^ new;
        // PAE and PSE change the format of the entries: forgetting more than is demanded is allowed (SDM 3A 4.10.4.1).
        if changed & (CR4_PGE | CR4_PAE | CR4_PSE) != 0 || old & !new & CR4_PCIDE != 0 {
            self.flush_all();
        }
        if new & !old & CR4_SMEP != 0 {
            self.flush_asid(asid_of(cr3, old));
            self.flush_asid(asid_of(cr3, new));
        }
        if changed & (CR4_SMEP | CR4_SMAP) != 0 {
            self.rights_changed();
        }
        self.fetch.valid = false;
    }
}

/// The address space that CR3 names (SDM 3A 4.10.1).
#[inline]
pub(crate) const fn asid_of(cr3: u64, cr4: u64) -> u16 {
    if cr4 & CR4_PCIDE != 0 { (cr3 & 0xfff) as u16 } else { 0 }
}
