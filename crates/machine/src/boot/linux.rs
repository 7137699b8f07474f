//! A Linux bzImage by the 64-bit boot protocol (Linux, `Documentation/arch/x86/boot.rst` and `zero-page.rst`).
//!
//! The kernel goes to the address it prefers, has `init_size` bytes from there, and moves itself elsewhere if it randomizes its address. The initial RAM disk
//! goes as high as the kernel allows; zero page, command line, page tables and GDT go below 640 KiB.

use x86_defs::gpr;

use super::plan::Plan;
use super::pvh::c_string;
use super::{BootError, BootSource, InitialState, MapEntry, Protocol};

// The setup header, by offsets in the file, which are those in the zero page too.
const SETUP_SECTS: usize = 0x1f1;
const SYSSIZE: usize = 0x1f4;
const BOOT_FLAG: usize = 0x1fe;
/// The second byte of a jump over the header: how far it reaches.
const JUMP: usize = 0x201;
const MAGIC: usize = 0x202;
const PROTOCOL_VERSION: usize = 0x206;
const TYPE_OF_LOADER: usize = 0x210;
const LOADFLAGS: usize = 0x211;
const CODE32_START: usize = 0x214;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const CMD_LINE_PTR: usize = 0x228;
const INITRD_ADDR_MAX: usize = 0x22c;
const KERNEL_ALIGNMENT: usize = 0x230;
const RELOCATABLE: usize = 0x234;
const XLOADFLAGS: usize = 0x236;
const CMDLINE_SIZE: usize = 0x238;
const SETUP_DATA: usize = 0x250;
const PREF_ADDRESS: usize = 0x258;
const INIT_SIZE: usize = 0x260;
/// End of what protocol 2.12 has, and of what can be copied without touching other fields of the zero page.
const HEADER_END_2_12: usize = 0x268;
const HEADER_END_MAX: usize = 0x290;

// The rest of the zero page.
const ZERO_PAGE_LEN: usize = 0x1000;
const ACPI_RSDP_ADDR: usize = 0x070;
const E820_ENTRIES: usize = 0x1e8;
const E820_TABLE: usize = 0x2d0;
const E820_ENTRY_LEN: usize = 20;
const E820_MAX: usize = 128;

/// 2.12 has XLOADFLAGS, which says whether there is a 64-bit entry.
const MIN_VERSION: u16 = 0x020c;
const LOADED_HIGH: u8 = 1 << 0;
const XLF_KERNEL_64: u16 = 1 << 0;
/// "A loader without a number."
const UNDEFINED_LOADER: u8 = 0xff;
/// The 64-bit entry, from the start of the protected-mode kernel.
const ENTRY_64: u64 = 0x200;
const SECTOR: u64 = 512;

fn bad(reason: impl Into<String>) -> BootError {
    BootError::BadHeader { header: "Linux setup header", reason: reason.into() }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Whether it has the magic of a setup header.
pub(super) fn is_bzimage(file: &[u8]) -> bool {
    field(file, MAGIC) == Some(*b"HdrS") && field(file, BOOT_FLAG) == Some([0x55, 0xaa])
}

/// What counts of a setup header, checked.
#[derive(Debug)]
struct Setup<'a> {
    /// The header itself, from [`SETUP_SECTS`] on.
    header: &'a [u8],
    /// What is loaded at `address`.
    kernel: &'a [u8],
    address: u64,
    /// Bytes the kernel needs from there until it knows memory.
    len: u64,
    /// The highest address that a byte of the RAM disk may have.
    initrd_max: u64,
    /// The longest command line, without NUL.
    command_line_max: u64,
}

impl<'a> Setup<'a> {
    fn parse(file: &'a [u8]) -> Result<Self, BootError> {
        let truncated = |needed: u64| BootError::Truncated {
            what: "the Linux kernel",
            needed,
            actual: file.len() as u64,
        };
        // First that the header is all there; then reading its fields cannot fail.
        let jump = file.get(JUMP).copied().unwrap_or(0);
        let version = field(file, PROTOCOL_VERSION).map(u16::from_le_bytes);
        let version = version.ok_or_else(|| truncated(HEADER_END_2_12 as u64))?;
        if version < MIN_VERSION {
            return Err(BootError::Unsupported {
                what: format!("boot protocol {}.{:02}", version >> 8, version & 0xff),
                instead: "use a kernel with protocol 2.12 or newer (Linux 3.8)",
            });
        }
        let header_end = MAGIC + usize::from(jump);
        if header_end < HEADER_END_2_12 {
            return Err(bad(format!(
                "it ends at {header_end:#x}, protocol 2.12 goes to {HEADER_END_2_12:#x}"
            )));
        }
        let header_end = header_end.min(HEADER_END_MAX);
        let header = file.get(..header_end).ok_or_else(|| truncated(header_end as u64))?;
        let byte = |at: usize| header[at];
        let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 2)) << 16;

        if byte(LOADFLAGS) & LOADED_HIGH == 0 {
            return Err(BootError::Unsupported {
                what: "being loaded below 1 MiB (a zImage)".to_owned(),
                instead: "use a bzImage",
            });
        }
        if word(XLOADFLAGS) & XLF_KERNEL_64 == 0 {
            return Err(BootError::Unsupported {
                what: "its 32-bit entry".to_owned(),
                instead: "use a kernel built for x86-64",
            });
        }

        // 0 stands for 4; the boot sector counts extra.
        let sectors = match byte(SETUP_SECTS) {
            0 => 4,
            sectors => u64::from(sectors),
        };
        let start = (sectors + 1) * SECTOR;
        let loaded = long(SYSSIZE) * 16;
        if loaded <= ENTRY_64 {
            return Err(bad(format!("a kernel of {loaded} bytes has no 64-bit entry")));
        }
        let end = start + loaded;
        // What is behind it, a signature for example, is not loaded. The ends fit: `get` has compared them with the file's length.
        let kernel = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let kernel = kernel.and_then(|(start, end)| file.get(start..end)).ok_or_else(|| truncated(end))?;

        let preferred = long(PREF_ADDRESS) | long(PREF_ADDRESS + 4) << 32;
        let alignment = long(KERNEL_ALIGNMENT);
        let address = if byte(RELOCATABLE) == 0 {
            preferred
        } else if alignment.is_power_of_two() {
            preferred.checked_next_multiple_of(alignment).unwrap_or(u64::MAX)
        } else {
            return Err(bad(format!("its alignment {alignment:#x} is not a power of two")));
        };
        if !(1 << 20..1 << 32).contains(&address) {
            return Err(bad(format!("its address {address:#x} is not from 1 MiB to 4 GiB")));
        }
        Ok(Self {
            header: &header[SETUP_SECTS..],
            kernel,
            address,
            len: long(INIT_SIZE).max(loaded),
            initrd_max: long(INITRD_ADDR_MAX),
            command_line_max: long(CMDLINE_SIZE),
        })
    }
}

pub(super) fn plan<'a>(source: &BootSource<'a>, plan: &mut Plan<'a>) -> Result<InitialState, BootError> {
    if !source.modules.is_empty() {
        return Err(BootError::NotTaken { what: "a module", protocol: Protocol::Linux });
    }
    let setup = Setup::parse(source.kernel)?;
    let command_line_len = source.command_line.len() as u64;
    if command_line_len > setup.command_line_max {
        return Err(BootError::CommandLineTooLong { len: command_line_len, max: setup.command_line_max });
    }

    plan.claim("the Linux kernel, with the room it asks for,", setup.address, setup.len)?;
    plan.put("the Linux kernel", setup.address, setup.kernel);

    let mut zero_page = vec![0; ZERO_PAGE_LEN];
    let mut set = |at: usize, bytes: &[u8]| zero_page[at..at + bytes.len()].copy_from_slice(bytes);
    set(SETUP_SECTS, setup.header);
    set(TYPE_OF_LOADER, &[UNDEFINED_LOADER]);
    set(CODE32_START, &(setup.address as u32).to_le_bytes());
    // A list that only a loader can have put something into.
    set(SETUP_DATA, &[0; 8]);
    set(ACPI_RSDP_ADDR, &plan.rsdp().unwrap_or(0).to_le_bytes());

    let (mut initrd, mut initrd_len) = (0, 0);
    if let Some(bytes) = source.initrd {
        if bytes.is_empty() {
            return Err(BootError::Empty { what: "the initial RAM disk".to_owned() });
        }
        let len = bytes.len() as u64;
        // The kernel reads it through the first 4 GiB, and says how high a byte of it may lie.
        let limit = setup.initrd_max.saturating_add(1).min(1 << 32);
        initrd = plan.place_high("the initial RAM disk", len, 0x1000, limit)?;
        initrd_len = len;
        plan.put("the initial RAM disk", initrd, bytes);
    }
    // Both are below 4 GiB: the limit is.
    set(RAMDISK_IMAGE, &(initrd as u32).to_le_bytes());
    set(RAMDISK_SIZE, &(initrd_len as u32).to_le_bytes());

    let command_line = plan.put_low("the command line", c_string(source.command_line), 16)?;
    set(CMD_LINE_PTR, &(command_line as u32).to_le_bytes());

    let map: Vec<u8> = plan.map().iter().take(E820_MAX).flat_map(e820_entry).collect();
    set(E820_ENTRIES, &[(map.len() / E820_ENTRY_LEN) as u8]);
    set(E820_TABLE, &map);
    let zero_page = plan.put_low("the zero page", zero_page, 0x1000)?;

    let mut state = InitialState::long_64(plan, setup.address + ENTRY_64)?;
    state.registers[gpr::RSI] = zero_page;
    Ok(state)
}

/// An entry of the map as e820 has it: address, size, type.
fn e820_entry(entry: &MapEntry) -> [u8; E820_ENTRY_LEN] {
    let mut bytes = [0; E820_ENTRY_LEN];
    bytes[..8].copy_from_slice(&entry.start.to_le_bytes());
    bytes[8..16].copy_from_slice(&entry.len().to_le_bytes());
    bytes[16..].copy_from_slice(&(entry.kind as u32).to_le_bytes());
    bytes
}
