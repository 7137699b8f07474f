//! The page tables of a case's machine, and the lines that change and look at their entries.

use crate::machine::{LEVEL2, Machine, Paging, ROOT};
use crate::text::Line;
use crate::values::number;

const LEVEL3: u64 = 0x8_1000;
const LEVEL1: u64 = 0x8_3000;

/// The bits of page-table entries by name.
pub(crate) const ENTRY_BITS: [(&str, u32); 8] =
    [("P", 0), ("W", 1), ("U", 2), ("A", 5), ("D", 6), ("PS", 7), ("G", 8), ("NX", 63)];

fn changed_entry(mut entry: u64, changes: &[&str]) -> Result<u64, String> {
    for change in changes {
        if let Some(("frame", address)) = change.split_once('=') {
            entry = entry & !0x000f_ffff_ffff_f000 | number(address)? as u64;
        } else if let Some(("bit", bit)) = change.split_once('=') {
            entry |= 1 << (number(bit)? & 63);
        } else {
            let bit = ENTRY_BITS
                .iter()
                .find(|(name, _)| Some(*name) == change.get(1..))
                .ok_or_else(|| format!("{change:?} changes no entry"))?
                .1;
            if change.starts_with('+') {
                entry |= 1 << bit;
            } else {
                entry &= !(1 << bit);
            }
        }
    }
    Ok(entry)
}

impl Machine {
    /// Tables that map the first megabytes to themselves, for everybody.
    pub(crate) fn write_page_tables(&self) {
        let pointer = 7_u64;
        match self.mode.paging {
            Paging::Off => {}
            Paging::Bits32 => {
                self.put64(ROOT, LEVEL1 | pointer);
                for page in 0..1024_u64 {
                    self.mem.write::<u32>(LEVEL1 + 4 * page, (page << 12 | pointer) as u32).expect("in RAM");
                }
            }
            Paging::Pae | Paging::Long => {
                if self.mode.paging == Paging::Pae {
                    self.put64(ROOT, LEVEL2 | 1);
                } else {
                    self.put64(ROOT, LEVEL3 | pointer);
                    self.put64(LEVEL3, LEVEL2 | pointer);
                }
                self.put64(LEVEL2, LEVEL1 | pointer);
                for page in 0..512_u64 {
                    self.put64(LEVEL1 + 8 * page, page << 12 | pointer);
                }
            }
        }
    }

    /// Where the entry of `linear` is in the tables of the level `keyword`, and its bytes.
    pub(crate) fn entry_address(&self, keyword: &str, linear: u64) -> Result<(u64, u64), String> {
        Ok(match (self.mode.paging, keyword) {
            (Paging::Bits32, "page") => (LEVEL1 + 4 * (linear >> 12 & 0x3ff), 4),
            (Paging::Bits32, "pde") => (ROOT + 4 * (linear >> 22 & 0x3ff), 4),
            (Paging::Pae | Paging::Long, "page") => (LEVEL1 + 8 * (linear >> 12 & 0x1ff), 8),
            (Paging::Pae | Paging::Long, "pde") => (LEVEL2 + 8 * (linear >> 21 & 0x1ff), 8),
            (Paging::Pae, "pdpte") => (ROOT + 8 * (linear >> 30 & 3), 8),
            (Paging::Long, "pdpte") => (LEVEL3 + 8 * (linear >> 30 & 0x1ff), 8),
            (Paging::Long, "pml4e") => (ROOT + 8 * (linear >> 39 & 0x1ff), 8),
            _ => return Err(format!("this mode has no {keyword}")),
        })
    }

    /// The entry at `address`.
    pub(crate) fn entry(&self, address: u64, bytes: u64) -> u64 {
        if bytes == 4 {
            self.mem.read::<u32>(address).expect("tables are in RAM").into()
        } else {
            self.mem.read::<u64>(address).expect("tables are in RAM")
        }
    }

    /// `page 0x30000 -U +NX`, `page 0x0-0xfffff -U`, `pde 0x0 +PS frame=0x0 bit=13`.
    pub(crate) fn entry_line(&mut self, line: &Line) -> Result<(), String> {
        let mut words = line.words();
        let range = words.next().ok_or("an address is missing")?;
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first)? as u64, number(last)? as u64);
        let changes: Vec<&str> = words.collect();
        let mut linear = first;
        while linear <= last {
            let (address, bytes) = self.entry_address(&line.keyword, linear)?;
            let entry = changed_entry(self.entry(address, bytes), &changes)?;
            if bytes == 4 {
                let entry = u32::try_from(entry).map_err(|_| "the entry has 32 bits".to_owned())?;
                self.mem.write(address, entry).expect("tables are in RAM");
            } else {
                self.put64(address, entry);
            }
            linear += 0x1000;
        }
        Ok(())
    }
}
