//! Boot protocols: from the files a user gives to guest memory and the state of the first processor.
//!
//! | protocol | recognized by | entered in |
//! |---|---|---|
//! | [`Protocol::Linux`] | `HdrS` at 0x202 | 64-bit mode, at the kernel's 64-bit entry |
//! | [`Protocol::Multiboot`] | its header in the first 8 KiB | 32-bit protected mode |
//! | [`Protocol::Pvh`] | an ELF note of Xen | 32-bit protected mode |
//! | [`Protocol::Flat`] | an address being given | real mode |
//!
//! A loader first plans where everything goes (`plan.rs`); only when all of it is known to fit is guest memory written. Whatever is wrong with a file is
//! a [`BootError`] that says what, where, and what to do.
//!
//! Of what exists, `linux-loader` of rust-vmm was looked at and is not used: it compiles the x86 boot protocols on x86 hosts alone, and a processor in software
//! runs x86 guests anywhere; it loads through `vm-memory`'s traits, which are not ours; and it leaves zero page, page tables and placement, most of the work, to
//! the caller. ELF files are parsed with `object`, which takes hostile ones calmly and needs no host in particular.

mod elf;
mod error;
mod flat;
mod linux;
mod map;
mod multiboot;
mod plan;
mod pvh;
mod state;
#[cfg(test)]
mod tests;

use guest_memory::GuestMemory;

use crate::acpi::AcpiTables;

use self::plan::Plan;

pub use self::error::BootError;
pub use self::map::{LOW_MEMORY_END, MapEntry, MapKind, memory_map, ram_layout};
pub use self::state::InitialState;

/// How a guest is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A Linux bzImage by the 64-bit boot protocol.
    Linux,
    /// A kernel with a multiboot 1 header.
    Multiboot,
    /// An ELF kernel with the note of Xen's PVH entry.
    Pvh,
    /// A flat binary in real mode.
    Flat,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Linux => "Linux",
            Self::Multiboot => "multiboot",
            Self::Pvh => "PVH",
            Self::Flat => "flat-binary",
        })
    }
}

/// A file handed to the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Module<'a> {
    /// Its content.
    pub bytes: &'a [u8],
    /// What the kernel is told about it; by convention the file's name and arguments.
    pub command_line: &'a str,
}

/// What a guest is started from.
#[derive(Debug, Clone, Copy)]
pub struct BootSource<'a> {
    /// The kernel's file.
    pub kernel: &'a [u8],
    /// Its name, which multiboot puts before the command line.
    pub kernel_name: &'a str,
    /// Its command line.
    pub command_line: &'a str,
    /// The initial RAM disk; multiboot and PVH have it as the first module.
    pub initrd: Option<&'a [u8]>,
    /// More files.
    pub modules: &'a [Module<'a>],
    /// Where a flat binary goes; with it, the kernel is one.
    pub flat_address: Option<u64>,
    /// Tables to put into memory and tell the kernel of.
    pub acpi: Option<&'a AcpiTables>,
}

impl<'a> BootSource<'a> {
    /// A kernel and nothing else.
    pub const fn new(kernel: &'a [u8], kernel_name: &'a str) -> Self {
        Self {
            kernel,
            kernel_name,
            command_line: "",
            initrd: None,
            modules: &[],
            flat_address: None,
            acpi: None,
        }
    }

    /// All modules, the initial RAM disk first.
    fn all_modules(&self) -> impl Iterator<Item = Module<'a>> {
        let initrd = self.initrd.map(|bytes| Module { bytes, command_line: "initrd" });
        initrd.into_iter().chain(self.modules.iter().copied())
    }
}

/// Which protocol a source is for.
///
/// Multiboot is tried before PVH: kernels that have both, Xen among them, get modules with command lines that way.
///
/// # Errors
/// [`BootError::Compressed`] or [`BootError::Unrecognized`].
pub fn detect(source: &BootSource<'_>) -> Result<Protocol, BootError> {
    let kernel = source.kernel;
    if source.flat_address.is_some() {
        return Ok(Protocol::Flat);
    }
    if linux::is_bzimage(kernel) {
        return Ok(Protocol::Linux);
    }
    let is_elf = elf::is_elf(kernel);
    // A multiboot kernel is an ELF32 file, or it says itself where it goes.
    if multiboot::Header::find(kernel).is_some_and(|header| header.has_addresses() || elf::is_elf32(kernel)) {
        return Ok(Protocol::Multiboot);
    }
    if is_elf {
        return Ok(Protocol::Pvh);
    }
    for (magic, with) in
        [(&[0x1f, 0x8b][..], "gzip"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"\x28\xb5\x2f\xfd", "zstd")]
    {
        if kernel.starts_with(magic) {
            return Err(BootError::Compressed { with });
        }
    }
    Err(BootError::Unrecognized { len: kernel.len() as u64 })
}

/// Puts everything into `memory` and says how the first processor starts. On an error nothing has been written.
///
/// # Errors
/// [`BootError`], naming the file, the place and the way out.
pub fn load(memory: &GuestMemory, source: &BootSource<'_>) -> Result<(Protocol, InitialState), BootError> {
    let protocol = detect(source)?;
    if source.command_line.contains('\0') {
        return Err(BootError::CommandLineNul);
    }
    let mut plan = Plan::new(memory, source.acpi)?;
    let state = match protocol {
        Protocol::Linux => linux::plan(source, &mut plan),
        Protocol::Multiboot => multiboot::plan(source, &mut plan),
        Protocol::Pvh => pvh::plan(source, &mut plan),
        Protocol::Flat => flat::plan(source, &mut plan),
    }?;
    plan.carry_out(memory)?;
    Ok((protocol, state))
}
