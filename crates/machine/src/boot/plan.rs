//! What goes where: claimed, checked for overlaps, and written when all of it is known to fit.

use std::borrow::Cow;

use guest_memory::GuestMemory;

use super::{BootError, MapEntry, MapKind, memory_map};
use crate::acpi::AcpiTables;

/// Real mode's interrupt vectors and the BIOS's data; nothing is put there by itself.
const FIRST_FREE: u64 = 0x1000;

/// A place that something has.
#[derive(Debug)]
struct Claim {
    what: String,
    start: u64,
    end: u64,
}

/// Bytes to be written, then zeros.
#[derive(Debug)]
struct Part<'a> {
    what: String,
    address: u64,
    bytes: Cow<'a, [u8]>,
    zeros: u64,
}

/// Where everything goes.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    map: Vec<MapEntry>,
    ram: u64,
    rsdp: Option<u64>,
    claims: Vec<Claim>,
    parts: Vec<Part<'a>>,
}

impl<'a> Plan<'a> {
    /// With the tables in their place, which need not be RAM that guests may use.
    pub(super) fn new(memory: &GuestMemory, acpi: Option<&'a AcpiTables>) -> Result<Self, BootError> {
        let tables = acpi.map(|tables| (tables.base, tables.base.saturating_add(tables.bytes.len() as u64)));
        let mut plan = Self {
            map: memory_map(memory, tables),
            ram: memory.len(),
            rsdp: acpi.map(AcpiTables::rsdp_address),
            claims: Vec::new(),
            parts: Vec::new(),
        };
        if let (Some(tables), Some((start, end))) = (acpi, tables) {
            // Their range is not usable in the map, so a claim of it is not checked against that.
            plan.claims.push(Claim { what: "ACPI tables".to_owned(), start, end });
            plan.put("ACPI tables", start, &tables.bytes);
        }
        Ok(plan)
    }

    /// What the guest is told of memory.
    pub(super) fn map(&self) -> &[MapEntry] {
        &self.map
    }

    /// Where the RSDP is.
    pub(super) fn rsdp(&self) -> Option<u64> {
        self.rsdp
    }

    /// End of the usable range that begins at 1 MiB.
    pub(super) fn high_memory_end(&self) -> u64 {
        let high = |entry: &&MapEntry| entry.kind == MapKind::Usable && entry.start == 1 << 20;
        self.map.iter().find(high).map_or(1 << 20, |entry| entry.end)
    }

    /// Takes exactly this place, which must be usable RAM that nothing has.
    pub(super) fn claim(&mut self, what: impl Into<String>, start: u64, len: u64) -> Result<(), BootError> {
        let what = what.into();
        let end = start.saturating_add(len);
        let usable = |entry: &MapEntry| {
            entry.kind == MapKind::Usable && entry.start <= start && end <= entry.end && end - start == len
        };
        if !self.map.iter().any(usable) {
            return Err(BootError::OutsideRam { what, start, end, ram: self.ram });
        }
        if let Some(claim) = self.claims.iter().find(|claim| start < claim.end && claim.start < end) {
            return Err(BootError::Overlap { what, start, end, other: claim.what.clone() });
        }
        self.claims.push(Claim { what, start, end });
        Ok(())
    }

    /// Finds the lowest place in `from..limit`, a multiple of `align` (a power of two), and takes it.
    pub(super) fn place_low(
        &mut self,
        what: impl Into<String>,
        len: u64,
        align: u64,
        from: u64,
        limit: u64,
    ) -> Result<u64, BootError> {
        let what = what.into();
        // The lowest place begins at the start of a range or where a claim ends.
        let starts = self.map.iter().map(|entry| entry.start);
        let candidates = starts.chain(self.claims.iter().map(|claim| claim.end));
        let mut candidates: Vec<u64> = candidates
            .filter_map(|start| start.max(from).max(FIRST_FREE).checked_next_multiple_of(align))
            .collect();
        candidates.sort_unstable();
        self.take_first(what, len, limit, candidates)
    }

    /// Finds the highest place below `limit`, a multiple of `align` (a power of two), and takes it.
    pub(super) fn place_high(
        &mut self,
        what: impl Into<String>,
        len: u64,
        align: u64,
        limit: u64,
    ) -> Result<u64, BootError> {
        let what = what.into();
        // The highest place ends at the end of a range or where a claim begins.
        let ends = self.map.iter().map(|entry| entry.end);
        let candidates = ends.chain(self.claims.iter().map(|claim| claim.start));
        let mut candidates: Vec<u64> = candidates
            .filter_map(|end| Some(end.min(limit).checked_sub(len)? & !(align - 1)))
            .filter(|&start| start >= FIRST_FREE)
            .collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        self.take_first(what, len, limit, candidates)
    }

    fn take_first(
        &mut self,
        what: String,
        len: u64,
        limit: u64,
        candidates: Vec<u64>,
    ) -> Result<u64, BootError> {
        for start in candidates {
            if start.checked_add(len).is_some_and(|end| end <= limit)
                && self.claim(what.clone(), start, len).is_ok()
            {
                return Ok(start);
            }
        }
        Err(BootError::NoRoom { what, len, limit, ram: self.ram })
    }

    /// Writes `bytes` at `address`, which has been taken.
    pub(super) fn put(&mut self, what: impl Into<String>, address: u64, bytes: impl Into<Cow<'a, [u8]>>) {
        self.put_padded(what, address, bytes, 0);
    }

    /// Writes `bytes` at `address`, which has been taken, and `zeros` zeros behind them.
    pub(super) fn put_padded(
        &mut self,
        what: impl Into<String>,
        address: u64,
        bytes: impl Into<Cow<'a, [u8]>>,
        zeros: u64,
    ) {
        self.parts.push(Part { what: what.into(), address, bytes: bytes.into(), zeros });
    }

    /// Finds a low place for `bytes` and puts them there.
    pub(super) fn put_low(
        &mut self,
        what: &str,
        bytes: impl Into<Cow<'a, [u8]>>,
        align: u64,
    ) -> Result<u64, BootError> {
        let bytes = bytes.into();
        let address = self.place_low(what, bytes.len() as u64, align, 0, 1 << 32)?;
        self.put(what, address, bytes);
        Ok(address)
    }

    /// Writes it all.
    pub(super) fn carry_out(&self, memory: &GuestMemory) -> Result<(), BootError> {
        let no_ram = |what: &String, outside| BootError::NoRam { what: what.clone(), outside };
        // Only the tables can lie where the map has no RAM; they come first, so nothing has been written when they fail.
        for Part { what, address, bytes, zeros } in &self.parts {
            memory.write_bytes(*address, bytes).map_err(|outside| no_ram(what, outside))?;
            clear(memory, address + bytes.len() as u64, *zeros).map_err(|outside| no_ram(what, outside))?;
        }
        Ok(())
    }
}

/// Zeros a range; pages that are zero already are left alone, so that memory nobody uses stays the host's.
fn clear(memory: &GuestMemory, mut address: u64, mut len: u64) -> Result<(), guest_memory::OutsideRam> {
    const CHUNK: usize = 4096;
    let mut chunk = [0; CHUNK];
    while len > 0 {
        let run = len.min(CHUNK as u64);
        let bytes = &mut chunk[..run as usize];
        memory.read_bytes(address, bytes)?;
        if bytes.iter().any(|&byte| byte != 0) {
            bytes.fill(0);
            memory.write_bytes(address, bytes)?;
        }
        address += run;
        len -= run;
    }
    Ok(())
}
