//! Where RAM is: for the machine that sets it up, and for the guest that is told.

use guest_memory::{GuestMemory, Slot};

/// End of the RAM below 640 KiB that a guest may use; the last KiB is kept, as a BIOS does for its extended data.
pub const LOW_MEMORY_END: u64 = 0x9_fc00;

/// Where the range of a BIOS begins, which ends at 1 MiB.
const BIOS_START: u64 = 0xe_0000;
const MIB: u64 = 1 << 20;
/// RAM does not go into the last GiB below 4 GiB: devices are there.
const HOLE_START: u64 = 3 << 30;
const HOLE_END: u64 = 4 << 30;

/// What a range of memory is. The numbers are those of e820, multiboot and PVH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum MapKind {
    /// RAM for the guest.
    Usable = 1,
    /// Not for the guest.
    Reserved = 2,
}

/// A range of guest-physical memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapEntry {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// What it is.
    pub kind: MapKind,
}

impl MapEntry {
    /// Bytes.
    pub const fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.end == self.start
    }
}

/// The slots for so many bytes of RAM: from 0 up, without the last GiB below 4 GiB.
pub fn ram_layout(bytes: u64) -> Vec<Slot> {
    let low = bytes.min(HOLE_START);
    let mut slots = vec![Slot { base: 0, len: low }];
    if bytes > low {
        slots.push(Slot { base: HOLE_END, len: bytes - low });
    }
    slots
}

/// What a guest is told of memory, in order of address. `tables` is where the firmware's tables are.
pub fn memory_map(memory: &GuestMemory, tables: Option<(u64, u64)>) -> Vec<MapEntry> {
    let mut reserved = vec![(LOW_MEMORY_END, 0xa_0000), (BIOS_START, MIB)];
    reserved.extend(tables.filter(|&(start, end)| start < BIOS_START || end > MIB));
    // What no RAM may be told in: the reserved ranges, and the display's between them.
    let mut taken = reserved.clone();
    taken.push((0xa_0000, BIOS_START));

    let mut usable: Vec<(u64, u64)> = Vec::new();
    for Slot { base, len } in memory.slots() {
        match usable.last_mut() {
            // Slots that touch are one range.
            Some((_, end)) if *end == base => *end += len,
            _ => usable.push((base, base + len)),
        }
    }
    for &(start, end) in &taken {
        usable = usable.into_iter().flat_map(|range| without(range, start, end)).collect();
    }

    let entry = |kind| move |(start, end)| MapEntry { start, end, kind };
    let mut map: Vec<_> = usable
        .into_iter()
        .map(entry(MapKind::Usable))
        .chain(reserved.into_iter().map(entry(MapKind::Reserved)))
        .filter(|entry| !entry.is_empty())
        .collect();
    map.sort_by_key(|entry| entry.start);
    map
}

/// What is left of `range` without `start..end`.
fn without(range: (u64, u64), start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
    let below = (range.0, range.1.min(start));
    let above = (range.0.max(end), range.1);
    [below, above].into_iter().filter(|(start, end)| start < end)
}
