//! Multiboot 1 (the specification, version 0.6.96).
//!
//! The kernel says in a header where it goes, or is an ELF file of 32 bits. Modules go behind it, each at the start of a page. There is no display: a kernel that
//! asks for a video mode finds no VBE information, as the flags of the information structure say.

use x86_defs::gpr;

use super::elf::ElfImage;
use super::plan::Plan;
use super::pvh::c_string;
use super::{BootError, BootSource, InitialState, LOW_MEMORY_END};

/// Where a header may be (3.1): within the first 8192 bytes, at a multiple of 4.
const SEARCH: usize = 8192;
const HEADER_MAGIC: u32 = 0x1bad_b002;
/// What EAX holds at the entry.
const LOADER_MAGIC: u64 = 0x2bad_b002;

// Flags of the header. A loader must refuse what it does not know in bits 15:0.
const KNOWN_REQUIREMENTS: u32 = 0b111;
const HAS_ADDRESSES: u32 = 1 << 16;

// Flags of the information structure.
const INFO_MEMORY: u32 = 1 << 0;
const INFO_COMMAND_LINE: u32 = 1 << 2;
const INFO_MODULES: u32 = 1 << 3;
const INFO_MEMORY_MAP: u32 = 1 << 6;
const INFO_LOADER_NAME: u32 = 1 << 9;
const INFO_LEN: usize = 120;

fn bad(reason: impl Into<String>) -> BootError {
    BootError::BadHeader { header: "multiboot header", reason: reason.into() }
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A header that has been found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    /// Where in the file.
    offset: usize,
    flags: u32,
}

/// A kernel that says itself where it goes.
#[derive(Debug)]
struct Addresses<'a> {
    bytes: &'a [u8],
    load: u32,
    len: u64,
    entry: u32,
}

impl Header {
    /// The first header: magic, flags, and a checksum that makes their sum zero.
    pub(super) fn find(file: &[u8]) -> Option<Self> {
        let searched = &file[..file.len().min(SEARCH)];
        (0..searched.len()).step_by(4).find_map(|offset| {
            let (magic, flags) = (long(searched, offset)?, long(searched, offset + 4)?);
            let checksum = long(searched, offset + 8)?;
            let sum = magic.wrapping_add(flags).wrapping_add(checksum);
            (magic == HEADER_MAGIC && sum == 0).then_some(Self { offset, flags })
        })
    }

    /// Whether the kernel says itself where it goes.
    pub(super) fn has_addresses(self) -> bool {
        self.flags & HAS_ADDRESSES != 0
    }

    /// The address fields (3.1.3), checked against the file.
    fn addresses(self, file: &[u8]) -> Result<Addresses<'_>, BootError> {
        let get = |at: usize| {
            long(file, self.offset + at).ok_or(BootError::Truncated {
                what: "the kernel's multiboot header",
                needed: (self.offset + 32) as u64,
                actual: file.len() as u64,
            })
        };
        let (header, load, load_end) = (get(12)?, get(16)?, get(20)?);
        let (bss_end, entry) = (get(24)?, get(28)?);
        // The header lies in the file as far behind the start of the image as in memory.
        let before = header.checked_sub(load).ok_or_else(|| bad("it lies before the load address"))?;
        let start = (self.offset as u64).checked_sub(u64::from(before));
        let start = start.ok_or_else(|| bad("the image starts before the file"))?;
        // It fits: it is not past the header, which is in the file.
        let image = &file[start as usize..];
        let bytes = if load_end == 0 {
            image
        } else {
            let len = load_end.checked_sub(load).ok_or_else(|| bad("the image ends before it starts"))?;
            image.get(..len as usize).ok_or(BootError::Truncated {
                what: "the multiboot kernel",
                needed: start + u64::from(len),
                actual: file.len() as u64,
            })?
        };
        let loaded = bytes.len() as u64;
        let len = if bss_end == 0 {
            loaded
        } else {
            let len = bss_end.checked_sub(load).map(u64::from).filter(|&len| len >= loaded);
            len.ok_or_else(|| bad("its bss ends before its data"))?
        };
        if entry.checked_sub(load).is_none_or(|within| u64::from(within) >= len) {
            return Err(bad(format!("its entry {entry:#x} is not in the image")));
        }
        Ok(Addresses { bytes, load, len, entry })
    }
}

pub(super) fn plan<'a>(source: &BootSource<'a>, plan: &mut Plan<'a>) -> Result<InitialState, BootError> {
    let file = source.kernel;
    let header = Header::find(file).ok_or_else(|| bad("there is none"))?;
    let unknown = header.flags & 0xffff & !KNOWN_REQUIREMENTS;
    if unknown != 0 {
        return Err(BootError::Unsupported {
            what: format!("multiboot features {unknown:#x}"),
            instead: "the specification knows bits 0 to 2",
        });
    }
    let entry = if header.has_addresses() {
        let Addresses { bytes, load, len, entry } = header.addresses(file)?;
        plan.claim("the multiboot kernel", load.into(), len)?;
        plan.put_padded("the multiboot kernel", load.into(), bytes, len - bytes.len() as u64);
        entry
    } else {
        let image = ElfImage::parse(file)?;
        image.plan(plan)?;
        image.physical_entry()?
    };

    let info = plan_info(source, plan)?;
    let mut state = InitialState::protected_32(plan, entry)?;
    state.registers[gpr::RAX] = LOADER_MAGIC;
    state.registers[gpr::RBX] = info;
    Ok(state)
}

/// The information structure (3.3) and what it points to; returns where it is.
fn plan_info<'a>(source: &BootSource<'a>, plan: &mut Plan<'a>) -> Result<u64, BootError> {
    // By convention the first word is the kernel's name.
    let command_line = if source.command_line.is_empty() {
        source.kernel_name.to_owned()
    } else {
        format!("{} {}", source.kernel_name, source.command_line)
    };
    let command_line = plan.put_low("the command line", c_string(&command_line), 4)?;
    let name = plan.put_low("the loader's name", c_string("testudo"), 4)?;

    // Of each: start, end, string, reserved.
    let mut modules = Vec::new();
    for (number, module) in source.all_modules().enumerate() {
        let what = format!("module {number}");
        if module.bytes.is_empty() {
            return Err(BootError::Empty { what });
        }
        let len = module.bytes.len() as u64;
        // From 1 MiB up: kernels take what is below for themselves. What they asked for, bit 0, is done always: a page's start.
        let address = plan.place_low(what.as_str(), len, 0x1000, 1 << 20, 1 << 32)?;
        plan.put(what, address, module.bytes);
        let text = plan.put_low("a module's command line", c_string(module.command_line), 4)?;
        modules.extend([address, address + len, text, 0]);
    }
    let module_count = modules.len() as u64 / 4;
    // All of it is below 4 GiB; an end may be there, and wrap to the 0 that it is in 32 bits.
    let modules: Vec<u8> = modules.into_iter().flat_map(|field| (field as u32).to_le_bytes()).collect();
    let modules = if module_count == 0 { 0 } else { plan.put_low("the list of modules", modules, 4)? };

    // Of each range: size of the rest, address, length, type.
    let mut map = Vec::new();
    for entry in plan.map() {
        map.extend(20_u32.to_le_bytes());
        map.extend(entry.start.to_le_bytes());
        map.extend(entry.len().to_le_bytes());
        map.extend((entry.kind as u32).to_le_bytes());
    }
    let map_len = map.len() as u64;
    let map = plan.put_low("the memory map", map, 4)?;

    let mut info = vec![0; INFO_LEN];
    let flags = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MEMORY_MAP | INFO_LOADER_NAME;
    let upper = (plan.high_memory_end() - (1 << 20)) / 1024;
    for (at, value) in [
        (0, u64::from(flags)),
        (4, LOW_MEMORY_END / 1024),
        (8, upper),
        (16, command_line),
        (20, module_count),
        (24, modules),
        (44, map_len),
        (48, map),
        (64, name),
    ] {
        // Addresses are below 4 GiB, and KiBs up to there fit.
        info[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
    }
    plan.put_low("the multiboot information", info, 4)
}
