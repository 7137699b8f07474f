//! ELF kernels: segments to load, the entry, and the note of PVH.

use object::elf::{
    EM_386, EM_X86_64, ET_DYN, ET_EXEC, FileHeader32, FileHeader64, NoteType, PT_LOAD, PT_NOTE,
};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader, ProgramHeader};

use super::BootError;
use super::plan::Plan;

/// The note that holds the physical address of the 32-bit entry of a PVH kernel.
const XEN_ELFNOTE_PHYS32_ENTRY: NoteType = NoteType(18);

/// More than any kernel has. Both bounds keep the work that a file can ask for small.
const MAX_PROGRAM_HEADERS: usize = 256;
const MAX_NOTES: u64 = 1 << 20;

/// A piece of memory as a file wants it.
#[derive(Debug)]
pub(super) struct LoadSegment<'a> {
    physical: u64,
    virtual_address: u64,
    bytes: &'a [u8],
    /// Bytes in memory; not fewer than `bytes`.
    len: u64,
}

/// What an ELF file says.
#[derive(Debug)]
pub(super) struct ElfImage<'a> {
    entry: u64,
    segments: Vec<LoadSegment<'a>>,
    /// What the PVH note says.
    pub(super) pvh_entry: Option<u64>,
}

/// Whether it begins like an ELF file.
pub(super) fn is_elf(file: &[u8]) -> bool {
    file.starts_with(b"\x7fELF")
}

/// Whether it begins like an ELF file of 32 bits.
pub(super) fn is_elf32(file: &[u8]) -> bool {
    file.starts_with(b"\x7fELF\x01")
}

fn bad(reason: impl Into<String>) -> BootError {
    BootError::BadHeader { header: "ELF header", reason: reason.into() }
}

impl<'a> ElfImage<'a> {
    /// Takes a file apart and checks all of it that counts.
    pub(super) fn parse(file: &'a [u8]) -> Result<Self, BootError> {
        // Class and data, then by class; everything from here on is `object`'s.
        match file.get(4..6) {
            Some([1, 1]) => Self::parse_as::<FileHeader32<LittleEndian>>(file),
            Some([2, 1]) => Self::parse_as::<FileHeader64<LittleEndian>>(file),
            Some([_, 2]) => Err(bad("it is big-endian")),
            Some(_) => Err(bad("it is of an unknown class")),
            None => Err(BootError::Truncated {
                what: "the kernel's ELF header",
                needed: 52,
                actual: file.len() as u64,
            }),
        }
    }

    fn parse_as<H: FileHeader<Endian = LittleEndian>>(file: &'a [u8]) -> Result<Self, BootError> {
        let endian = LittleEndian;
        let header = H::parse(file).map_err(|error| bad(error.to_string()))?;
        let (kind, machine) = (header.e_type(endian), header.e_machine(endian));
        if kind != ET_EXEC && kind != ET_DYN {
            return Err(bad(format!("type {} is not that of an executable", kind.0)));
        }
        if machine != EM_386 && machine != EM_X86_64 {
            return Err(bad(format!("machine {} is not x86", machine.0)));
        }
        let program_headers = header.program_headers(endian, file).map_err(|error| bad(error.to_string()))?;

        if program_headers.len() > MAX_PROGRAM_HEADERS {
            let count = program_headers.len();
            return Err(bad(format!("it has {count} program headers, more than {MAX_PROGRAM_HEADERS}")));
        }

        let mut image = Self { entry: header.e_entry(endian).into(), segments: Vec::new(), pvh_entry: None };
        for header in program_headers {
            let kind = header.p_type(endian);
            if kind == PT_LOAD {
                image.add_segment::<H>(header, file)?;
            } else if kind == PT_NOTE && image.pvh_entry.is_none() {
                image.pvh_entry = pvh_note::<H>(header, file)?;
            }
        }
        if image.segments.is_empty() {
            return Err(bad("it has nothing to load"));
        }
        Ok(image)
    }

    fn add_segment<H: FileHeader<Endian = LittleEndian>>(
        &mut self,
        header: &H::ProgramHeader,
        file: &'a [u8],
    ) -> Result<(), BootError> {
        let endian = LittleEndian;
        let len: u64 = header.p_memsz(endian).into();
        let (offset, in_file) = header.file_range(endian);
        if len == 0 && in_file == 0 {
            return Ok(());
        }
        if in_file > len {
            return Err(bad(format!("a segment has {in_file} bytes in the file and {len} in memory")));
        }
        let needed = offset.saturating_add(in_file);
        let bytes = header.data(endian, file).map_err(|()| BootError::Truncated {
            what: "a segment of the kernel's ELF file",
            needed,
            actual: file.len() as u64,
        })?;
        self.segments.push(LoadSegment {
            physical: header.p_paddr(endian).into(),
            virtual_address: header.p_vaddr(endian).into(),
            bytes,
            len,
        });
        Ok(())
    }

    /// Takes the place of every segment, and has them written.
    pub(super) fn plan(&self, plan: &mut Plan<'a>) -> Result<(), BootError> {
        for (number, segment) in self.segments.iter().enumerate() {
            let &LoadSegment { physical, virtual_address: _, bytes, len } = segment;
            let what = format!("segment {number} of the kernel");
            plan.claim(what.as_str(), physical, len)?;
            // The claim succeeded: `len` bytes are there, and `bytes` are no more.
            plan.put_padded(what, physical, bytes, len - bytes.len() as u64);
        }
        Ok(())
    }

    /// The physical address of the entry. Linkers give it as a virtual one, which tells only by the segment it is in.
    pub(super) fn physical_entry(&self) -> Result<u32, BootError> {
        let inside = |start: u64, len: u64| self.entry.checked_sub(start).filter(|&within| within < len);
        let by_virtual = self.segments.iter().find_map(|segment| {
            let within = inside(segment.virtual_address, segment.len)?;
            segment.physical.checked_add(within)
        });
        let physical = by_virtual.unwrap_or(self.entry);
        self.entry_at(physical)
    }

    /// An entry at a physical address: it must be in a segment, and below 4 GiB.
    pub(super) fn entry_at(&self, physical: u64) -> Result<u32, BootError> {
        let is_loaded = |segment: &LoadSegment<'_>| {
            physical.checked_sub(segment.physical).is_some_and(|within| within < segment.len)
        };
        if !self.segments.iter().any(is_loaded) {
            return Err(bad(format!("its entry {physical:#x} is in no segment that is loaded")));
        }
        u32::try_from(physical).map_err(|_| bad(format!("its entry {physical:#x} is not below 4 GiB")))
    }
}

/// The PVH entry, if this is the note for it.
fn pvh_note<H: FileHeader<Endian = LittleEndian>>(
    header: &H::ProgramHeader,
    file: &[u8],
) -> Result<Option<u64>, BootError> {
    let endian = LittleEndian;
    let (_, len) = header.file_range(endian);
    if len > MAX_NOTES {
        return Err(bad(format!("its notes have {len} bytes, more than {MAX_NOTES}")));
    }
    let wrong = |error: object::read::Error| bad(format!("in its notes: {error}"));
    let Some(mut notes) = header.notes(endian, file).map_err(wrong)? else {
        return Ok(None);
    };
    while let Some(note) = notes.next().map_err(wrong)? {
        if note.name() != b"Xen" || note.n_type(endian) != XEN_ELFNOTE_PHYS32_ENTRY {
            continue;
        }
        // The size of a pointer of the kernel's class.
        return match *note.desc() {
            [a, b, c, d] => Ok(Some(u32::from_le_bytes([a, b, c, d]).into())),
            [a, b, c, d, e, f, g, h] => Ok(Some(u64::from_le_bytes([a, b, c, d, e, f, g, h]))),
            ref other => Err(bad(format!("its PVH note has {} bytes, not 4 or 8", other.len()))),
        };
    }
    Ok(None)
}
