//! The ACPI tables of the PC (ACPI 6.5), made with the crate `acpi_tables` of rust-vmm (Apache-2.0).
//!
//! They lie in one block of guest memory, from its start: RSDP, FACS, DSDT, FADT, MADT, XSDT. A guest that is not told where the RSDP is
//! finds it by scanning 0xe0000 to 0xfffff, where [`AcpiConfig::DEFAULT_BASE`] puts it (5.2.5.1).
//!
//! The crate has no interrupt source overrides, NMIs and small IRQ descriptors; those few bytes are written here.

mod dsdt;
mod fixed;
mod madt;
#[cfg(test)]
mod tests;

use acpi_tables::Aml;
use acpi_tables::facs::FACS;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use thiserror::Error;

pub use self::fixed::{
    PM_TIMER_PORT, PM1A_CONTROL_PORT, PM1A_EVENT_PORT, RESET_PORT, RESET_VALUE, SCI_IRQ, SLEEP_TYPE_S5,
};

const OEM_ID: [u8; 6] = *b"TESTUD";
const OEM_TABLE_ID: [u8; 8] = *b"TESTUDO ";
const OEM_REVISION: u32 = 1;

/// Of all system description tables: signature, length, revision, checksum, who made it.
const HEADER_LEN: u32 = 36;

/// What the tables tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcpiConfig {
    /// Where the block of tables goes: a multiple of 64, below 4 GiB.
    pub base: u64,
    /// Bytes there are for them.
    pub room: u64,
    /// Processors, with APIC IDs from 0.
    pub cpus: u8,
    /// ID of the I/O APIC; convention is the first that no processor has.
    pub io_apic_id: u8,
    /// The part of the physical address space that PCI devices may be given: first and last byte.
    pub pci_window: (u32, u32),
    /// There is an 8042 that does all a keyboard controller does, not just resets.
    pub keyboard_controller: bool,
}

impl AcpiConfig {
    /// Where a BIOS would be, and RSDPs are looked for.
    pub const DEFAULT_BASE: u64 = 0xe_0000;
    /// To the end of the first MiB.
    pub const DEFAULT_ROOM: u64 = 0x2_0000;

    /// For a PC with so many processors.
    pub const fn new(cpus: u8) -> Self {
        Self {
            base: Self::DEFAULT_BASE,
            room: Self::DEFAULT_ROOM,
            cpus,
            io_apic_id: cpus,
            pci_window: (0xc000_0000, 0xfebf_ffff),
            keyboard_controller: true,
        }
    }
}

/// Tables that are ready to be copied into guest memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcpiTables {
    /// The guest-physical address that `bytes` are made for; the RSDP is first.
    pub base: u64,
    /// All tables.
    pub bytes: Vec<u8>,
}

impl AcpiTables {
    /// Where the RSDP is, as boot protocols tell it.
    pub const fn rsdp_address(&self) -> u64 {
        self.base
    }
}

/// Why there can be no such tables.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum AcpiError {
    /// The block cannot start there.
    #[error("ACPI tables cannot start at {base:#x}: it must be a multiple of 64 below 4 GiB")]
    Base {
        /// Where they were to start.
        base: u64,
    },
    /// No processor, or more than 8-bit APIC IDs can name.
    #[error(
        "{cpus} processors and I/O APIC ID {io_apic_id} cannot be told in ACPI tables: 1 to 254 processors have the IDs from 0, and the I/O APIC one of its own below 255"
    )]
    Processors {
        /// How many there were to be.
        cpus: u8,
        /// ID of the I/O APIC.
        io_apic_id: u8,
    },
    /// The window for PCI devices ends before it starts.
    #[error("the window for PCI devices, {first:#x} to {last:#x}, is empty")]
    PciWindow {
        /// First byte.
        first: u32,
        /// Last byte.
        last: u32,
    },
    /// The tables are larger than the room for them.
    #[error("ACPI tables for {cpus} processors take {needed} bytes, there are {room} at {base:#x}")]
    Room {
        /// For how many processors.
        cpus: u8,
        /// Where.
        base: u64,
        /// Bytes they take.
        needed: u64,
        /// Bytes there are.
        room: u64,
    },
}

/// The block of tables so far.
struct Block {
    base: u64,
    bytes: Vec<u8>,
}

impl Block {
    /// Adds a table at the next multiple of `align` bytes; returns its address.
    fn add(&mut self, table: &dyn Aml, align: usize) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(align), 0);
        let address = self.base + self.bytes.len() as u64;
        table.to_aml_bytes(&mut self.bytes);
        address
    }
}

/// Builds the tables.
///
/// # Errors
/// [`AcpiError`], naming what does not fit.
pub fn build(config: &AcpiConfig) -> Result<AcpiTables, AcpiError> {
    let &AcpiConfig { base, room, cpus, io_apic_id, pci_window: (first, last), keyboard_controller } = config;
    if base % 64 != 0 || base >= 1 << 32 {
        return Err(AcpiError::Base { base });
    }
    if cpus == 0 || cpus == 255 || io_apic_id == 255 || io_apic_id < cpus {
        return Err(AcpiError::Processors { cpus, io_apic_id });
    }
    // The length of a window must fit 32 bits, too.
    if first >= last || (first, last) == (0, u32::MAX) {
        return Err(AcpiError::PciWindow { first, last });
    }

    // Every table tells addresses of earlier ones alone, but the RSDP, which comes first and is filled in last.
    let mut block = Block { base, bytes: vec![0; Rsdp::len()] };
    let facs = block.add(&FACS::new(), 64);
    let dsdt = block.add(&table(*b"DSDT", 2, &dsdt::body(config)), 16);
    let fadt = block.add(&fixed::fadt(facs, dsdt, keyboard_controller), 16);
    let madt = block.add(&table(*b"APIC", 5, &madt::body(cpus, io_apic_id)), 16);
    let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = block.add(&xsdt, 16);
    let mut rsdp = Vec::with_capacity(Rsdp::len());
    Rsdp::new(OEM_ID, xsdt).to_aml_bytes(&mut rsdp);
    block.bytes[..Rsdp::len()].copy_from_slice(&rsdp);

    let Block { base, bytes } = block;
    let needed = bytes.len() as u64;
    if needed > room || base + needed > 1 << 32 {
        return Err(AcpiError::Room { cpus, base, needed, room });
    }
    Ok(AcpiTables { base, bytes })
}

/// A table with the common header.
fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Sdt {
    let mut table = Sdt::new(signature, HEADER_LEN, revision, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    table.append_slice(body);
    table
}
