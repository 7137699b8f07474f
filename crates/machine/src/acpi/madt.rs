//! The MADT (ACPI 6.5, 5.2.12): processors, I/O APIC, and how ISA interrupts reach it.

use acpi_tables::Aml;
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};

use super::fixed::SCI_IRQ;

const LOCAL_APIC_ADDRESS: u32 = 0xfee0_0000;
const IO_APIC_ADDRESS: u32 = 0xfec0_0000;

/// Flags: there are two 8259s as well.
const PCAT_COMPAT: u32 = 1;

const INTERRUPT_SOURCE_OVERRIDE: u8 = 2;
const LOCAL_APIC_NMI: u8 = 4;

/// MPS INTI flags (table 5.26): polarity and trigger as the bus has them.
const CONFORMS: u16 = 0;
/// MPS INTI flags: active high, level-triggered.
const LEVEL_HIGH: u16 = 0b1101;

/// Everything behind the header.
pub(super) fn body(cpus: u8, io_apic_id: u8) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(LOCAL_APIC_ADDRESS.to_le_bytes());
    body.extend(PCAT_COMPAT.to_le_bytes());
    for cpu in 0..cpus {
        ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled).to_aml_bytes(&mut body);
    }
    IoApic::new(io_apic_id, IO_APIC_ADDRESS, 0).to_aml_bytes(&mut body);
    // The 8254 is wired to pin 2, where the 8259s' cascade leaves room.
    source_override(&mut body, 0, 2, CONFORMS);
    source_override(&mut body, SCI_IRQ, u32::from(SCI_IRQ), LEVEL_HIGH);
    // NMI is at LINT1 of all processors.
    body.extend([LOCAL_APIC_NMI, 6, 0xff]);
    body.extend(CONFORMS.to_le_bytes());
    body.push(1);
    body
}

/// ISA interrupt `irq` is at pin `gsi` of the I/O APIC.
fn source_override(body: &mut Vec<u8>, irq: u8, gsi: u32, flags: u16) {
    body.extend([INTERRUPT_SOURCE_OVERRIDE, 10, 0, irq]);
    body.extend(gsi.to_le_bytes());
    body.extend(flags.to_le_bytes());
}
