//! The page walk: a pure function of the paging controls and of the entries in memory (SDM 3A chapter 4).
//!
//! Entries are reached through [`Entries`], so that one walk serves one dimension (guest-physical memory) and two (behind EPT).
//!
//! Accessed flags of entries that point to other entries are set as the walk passes them, the flags of the entry that maps the
//! page only when the access is allowed (SDM 3A 4.8). An entry that is not in RAM reads as all ones, as an empty bus does:
//! that is a reserved-bit fault in every format but that of 32-bit page tables, which has no reserved bits.

#[cfg(test)]
mod tests;

use guest_memory::GuestMemory;
use x86_defs::PHYSICAL_ADDRESS_BITS;
use x86_defs::control::{CR0_PG, CR0_WP, CR4_PAE, CR4_PGE, CR4_PSE, CR4_SMAP, CR4_SMEP, EFER_LMA, EFER_NXE};
use x86_defs::exception::{PF_FETCH, PF_PRESENT, PF_RESERVED, PF_USER, PF_WRITE};
use x86_defs::paging::{ACCESSED, DIRTY, GLOBAL, LARGE, NO_EXECUTE, PRESENT, USER, WRITABLE};

use crate::Cpu;

/// Bits of a 64-bit entry (and of CR3) that hold a page's physical address.
pub(crate) const ADDRESS: u64 = ((1 << PHYSICAL_ADDRESS_BITS) - 1) & !0xfff;

/// The format of the paging structures (SDM 3A 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// 32-bit paging: two levels of 32-bit entries.
    Bits32,
    /// PAE paging: four PDPTE registers and two levels.
    Pae,
    /// 4-level paging.
    FourLevel,
}

/// Control bits that decide about an access besides the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Controls {
    /// CR0.WP.
    pub(crate) write_protect: bool,
    /// CR4.PSE (32-bit paging only).
    pub(crate) page_size_extension: bool,
    /// CR4.PGE.
    pub(crate) global_pages: bool,
    /// CR4.SMEP.
    pub(crate) smep: bool,
    /// CR4.SMAP.
    pub(crate) smap: bool,
    /// EFER.NXE with 64-bit entries (CR4.PAE); 32-bit entries have no such bit.
    pub(crate) no_execute: bool,
}

impl Controls {
    #[inline]
    pub(crate) const fn new(cr0: u64, cr4: u64, efer: u64) -> Self {
        Self {
            write_protect: cr0 & CR0_WP != 0,
            page_size_extension: cr4 & CR4_PSE != 0,
            global_pages: cr4 & CR4_PGE != 0,
            smep: cr4 & CR4_SMEP != 0,
            smap: cr4 & CR4_SMAP != 0,
            no_execute: cr4 & CR4_PAE != 0 && efer & EFER_NXE != 0,
        }
    }
}

/// Everything a walk depends on but the entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paging {
    pub(crate) mode: Mode,
    pub(crate) cr3: u64,
    /// PDPTE registers (PAE paging).
    pub(crate) pdptes: [u64; 4],
    pub(crate) controls: Controls,
}

impl Paging {
    /// What the processor translates with; `None` while paging is off.
    pub(crate) const fn of(cpu: &Cpu) -> Option<Self> {
        if cpu.cr0 & CR0_PG == 0 {
            return None;
        }
        let mode = if cpu.cr4 & CR4_PAE == 0 {
            Mode::Bits32
        } else if cpu.efer & EFER_LMA == 0 {
            Mode::Pae
        } else {
            Mode::FourLevel
        };
        Some(Self {
            mode,
            cr3: cpu.cr3,
            pdptes: cpu.pdptes,
            controls: Controls::new(cpu.cr0, cpu.cr4, cpu.efer),
        })
    }
}

/// What an access does and on whose behalf (SDM 3A 4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) write: bool,
    pub(crate) fetch: bool,
    /// A user-mode access: explicit, with CPL 3.
    pub(crate) user: bool,
    /// An explicit supervisor-mode access with EFLAGS.AC set: SMAP does not apply.
    pub(crate) smap_override: bool,
}

impl Access {
    /// An implicit supervisor-mode access (descriptor tables, TSS, IDT): SMAP applies whatever EFLAGS.AC says.
    pub(crate) const fn system(write: bool) -> Self {
        Self { write, fetch: false, user: false, smap_override: false }
    }

    /// The error code of a page fault that this access meets, with `cause` of P and RSVD (SDM 3A 4.7).
    pub(crate) const fn error_code(self, cause: u32, controls: Controls) -> u32 {
        let mut code = cause;
        if self.write {
            code |= PF_WRITE;
        }
        if self.user {
            code |= PF_USER;
        }
        if self.fetch && (controls.no_execute || controls.smep) {
            code |= PF_FETCH;
        }
        code
    }
}

/// Access rights of a page, combined over all levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) writable: bool,
    pub(crate) user: bool,
    pub(crate) no_execute: bool,
}

impl Rights {
    const ALL: Self = Self { writable: true, user: true, no_execute: false };

    /// These rights behind one more entry.
    const fn and(self, entry: u64) -> Self {
        Self {
            writable: self.writable && entry & WRITABLE != 0,
            user: self.user && entry & USER != 0,
            no_execute: self.no_execute || entry & NO_EXECUTE != 0,
        }
    }

    /// Whether `access` is allowed (SDM 3A 4.6.1).
    #[inline]
    pub(crate) const fn permit(self, access: Access, controls: Controls) -> bool {
        let executable = !(self.no_execute && controls.no_execute);
        if access.user {
            self.user && (!access.write || self.writable) && (!access.fetch || executable)
        } else if access.fetch {
            executable && !(self.user && controls.smep)
        } else {
            (!self.user || !controls.smap || access.smap_override)
                && (!access.write || self.writable || !controls.write_protect)
        }
    }
}

/// Size of the page that a translation is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageSize {
    Size4K,
    Size2M,
    Size4M,
    Size1G,
}

impl PageSize {
    /// Bytes.
    pub(crate) const fn bytes(self) -> u64 {
        match self {
            Self::Size4K => 1 << 12,
            Self::Size2M => 1 << 21,
            Self::Size4M => 1 << 22,
            Self::Size1G => 1 << 30,
        }
    }
}

/// The translation of one 4 KiB page, possibly a piece of a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Translation {
    /// Physical address of the 4 KiB page.
    pub(crate) frame: u64,
    pub(crate) rights: Rights,
    pub(crate) size: PageSize,
    /// The G bit, with CR4.PGE.
    pub(crate) global: bool,
    /// The dirty flag is set.
    pub(crate) dirty: bool,
}

/// Access to paging-structure entries by physical address; `size` is 4 or 8.
pub(crate) trait Entries {
    /// Why an entry could not be reached (an EPT violation, say).
    type Error;
    /// The entry at `address`.
    fn read(&mut self, address: u64, size: u8) -> Result<u64, Self::Error>;
    /// Replaces the entry at `address` if it still is `old`; false if it is not. An entry that is not in RAM keeps what it is
    /// and counts as replaced.
    fn compare_exchange(&mut self, address: u64, size: u8, old: u64, new: u64) -> Result<bool, Self::Error>;
}

/// Why a walk ended without a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop<E> {
    /// A page fault with this error code.
    PageFault(u32),
    /// The entries could not be reached.
    Entries(E),
}

impl<E> From<E> for Stop<E> {
    fn from(error: E) -> Self {
        Self::Entries(error)
    }
}

/// Translates `linear` for `access` and sets accessed and dirty flags.
pub(crate) fn walk<E: Entries>(
    paging: &Paging,
    linear: u64,
    access: Access,
    entries: &mut E,
) -> Result<Translation, Stop<E::Error>> {
    loop {
        // Again only if somebody changed an entry between its read and the update of its flags.
        if let Some(translation) = walk_once(paging, linear, access, entries)? {
            return Ok(translation);
        }
    }
}

/// One attempt; `None` if an entry changed meanwhile.
fn walk_once<E: Entries>(
    paging: &Paging,
    linear: u64,
    access: Access,
    entries: &mut E,
) -> Result<Option<Translation>, Stop<E::Error>> {
    let controls = paging.controls;
    let fault = |cause| Err(Stop::PageFault(access.error_code(cause, controls)));
    let (mut table, mut level) = match paging.mode {
        Mode::Bits32 => (paging.cr3 & 0xffff_f000, 2),
        Mode::Pae => {
            let pdpte = paging.pdptes[(linear >> 30) as usize & 3];
            if pdpte & PRESENT == 0 {
                return fault(0);
            }
            (pdpte & ADDRESS, 2)
        }
        Mode::FourLevel => (paging.cr3 & ADDRESS, 4),
    };
    let (size, index_bits) = if paging.mode == Mode::Bits32 { (4, 10) } else { (8, 9) };
    let mut rights = Rights::ALL;
    loop {
        let index = (linear >> (12 + (level - 1) * index_bits)) & ((1 << index_bits) - 1);
        let address = table + index * u64::from(size);
        let entry = entries.read(address, size)?;
        if entry & PRESENT == 0 {
            return fault(0);
        }
        let page = page_size(paging, level, entry);
        if entry & reserved_bits(paging, level, page) != 0 {
            return fault(PF_PRESENT | PF_RESERVED);
        }
        rights = rights.and(entry);
        let mut flags = ACCESSED;
        if page.is_some() {
            if !rights.permit(access, controls) {
                return fault(PF_PRESENT);
            }
            if access.write {
                flags |= DIRTY;
            }
        }
        if entry & flags != flags && !entries.compare_exchange(address, size, entry, entry | flags)? {
            return Ok(None);
        }
        let Some(page) = page else {
            table = if paging.mode == Mode::Bits32 { entry & 0xffff_f000 } else { entry & ADDRESS };
            level -= 1;
            continue;
        };
        return Ok(Some(Translation {
            frame: page_base(paging.mode, page, entry) | (linear & (page.bytes() - 1) & !0xfff),
            rights,
            size: page,
            global: controls.global_pages && entry & GLOBAL != 0,
            dirty: (entry | flags) & DIRTY != 0,
        }));
    }
}

/// The size of the page that an entry of `level` maps; `None` if it points to a table.
const fn page_size(paging: &Paging, level: u32, entry: u64) -> Option<PageSize> {
    match (level, paging.mode) {
        (1, _) => Some(PageSize::Size4K),
        _ if entry & LARGE == 0 => None,
        (2, Mode::Bits32) if paging.controls.page_size_extension => Some(PageSize::Size4M),
        (2, Mode::Pae | Mode::FourLevel) => Some(PageSize::Size2M),
        (3, Mode::FourLevel) => Some(PageSize::Size1G),
        _ => None,
    }
}

/// Bits that must be 0 in a present entry (SDM 3A 4.3, tables 4-4 to 4-6; 4.4.2, tables 4-9 to 4-11; 4.5.4, tables 4-15 to 4-20).
const fn reserved_bits(paging: &Paging, level: u32, page: Option<PageSize>) -> u64 {
    let above_address = match paging.mode {
        // PSE-36 with M = 40: bit 21 (SDM 3A table 4-4). Entries of other kinds have no reserved bits.
        Mode::Bits32 => return if matches!(page, Some(PageSize::Size4M)) { 1 << 21 } else { 0 },
        Mode::Pae => bits(PHYSICAL_ADDRESS_BITS, 62),
        Mode::FourLevel => bits(PHYSICAL_ADDRESS_BITS, 51),
    };
    let below_page = match (level, page) {
        (4, _) => LARGE,
        (_, Some(PageSize::Size2M)) => bits(13, 20),
        (_, Some(PageSize::Size1G)) => bits(13, 29),
        _ => 0,
    };
    let no_execute = if paging.controls.no_execute { 0 } else { NO_EXECUTE };
    above_address | below_page | no_execute
}

/// Bits `low` to `high`.
const fn bits(low: u32, high: u32) -> u64 {
    (u64::MAX << low) & (u64::MAX >> (63 - high))
}

/// Physical address of the page that `entry` maps.
const fn page_base(mode: Mode, page: PageSize, entry: u64) -> u64 {
    match (mode, page) {
        // PSE-36: bits 39:32 of the address are in bits 20:13 (SDM 3A table 4-4).
        (Mode::Bits32, PageSize::Size4M) => (entry & 0xffc0_0000) | ((entry & bits(13, 20)) << 19),
        (Mode::Bits32, _) => entry & 0xffff_f000,
        _ => entry & ADDRESS & !(page.bytes() - 1),
    }
}

/// A PDPTE has a reserved bit set, so that CR3 cannot be loaded (#GP(0)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReservedBitSet;

/// Reads the four PDPTEs that `cr3` points to (SDM 3A 4.4.1).
pub(crate) fn load_pdptes<E: Entries>(
    cr3: u64,
    entries: &mut E,
) -> Result<Result<[u64; 4], ReservedBitSet>, E::Error> {
    // Table 4-8; bit 63 is reserved here even with EFER.NXE.
    const RESERVED: u64 = bits(1, 2) | bits(5, 8) | bits(PHYSICAL_ADDRESS_BITS, 63);
    let mut pdptes = [0; 4];
    for (pdpte, index) in pdptes.iter_mut().zip(0..) {
        *pdpte = entries.read((cr3 & 0xffff_ffe0) + index * 8, 8)?;
        if *pdpte & PRESENT != 0 && *pdpte & RESERVED != 0 {
            return Ok(Err(ReservedBitSet));
        }
    }
    Ok(Ok(pdptes))
}

/// Entries in guest-physical memory, through the one write path.
#[derive(Debug)]
pub(crate) struct InMemory<'a>(pub(crate) &'a GuestMemory);

impl Entries for InMemory<'_> {
    type Error = std::convert::Infallible;

    #[inline]
    fn read(&mut self, address: u64, size: u8) -> Result<u64, Self::Error> {
        // Entries are aligned, so none crosses a slot.
        Ok(match self.0.offset_of(address) {
            Some(offset) if size == 8 => self.0.load::<u64>(offset),
            Some(offset) => u64::from(self.0.load::<u32>(offset)),
            None if size == 8 => u64::MAX,
            None => u64::from(u32::MAX),
        })
    }

    #[inline]
    fn compare_exchange(&mut self, address: u64, size: u8, old: u64, new: u64) -> Result<bool, Self::Error> {
        Ok(match self.0.offset_of(address) {
            Some(offset) if size == 8 => self.0.compare_exchange_u64(offset, old, new),
            Some(offset) => self.0.compare_exchange_u32(offset, old as u32, new as u32),
            None => true,
        })
    }
}

/// The same without ever changing an entry: translations for debuggers and reports.
#[derive(Debug)]
pub(crate) struct ReadOnly<'a>(pub(crate) &'a GuestMemory);

impl Entries for ReadOnly<'_> {
    type Error = std::convert::Infallible;

    fn read(&mut self, address: u64, size: u8) -> Result<u64, Self::Error> {
        InMemory(self.0).read(address, size)
    }

    fn compare_exchange(&mut self, _: u64, _: u8, _: u64, _: u64) -> Result<bool, Self::Error> {
        Ok(true)
    }
}
