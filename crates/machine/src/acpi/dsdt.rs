//! The DSDT: sleep states, processors, the PCI root, and the devices that no bus can tell of.

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Name, Package, ResourceTemplate, Scope,
};
use acpi_tables::{Aml, AmlSink};

use super::AcpiConfig;
use super::fixed::{PM1A_EVENT_PORT, SLEEP_TYPE_S5};

/// An ISA device: name, plug-and-play ID, unique number, (first port, ports), interrupt.
struct IsaDevice {
    name: &'static str,
    id: &'static str,
    uid: u8,
    ports: &'static [(u16, u8)],
    irq: Option<u8>,
}

/// PCI configuration, which the root itself takes.
const PCI_CONFIG: (u16, u8) = (0xcf8, 8);

/// The keyboard controller, which a machine need not have.
const KEYBOARD: &str = "KBD_";

/// What is on the board. The reset register lies among the ports of PCI configuration.
const ISA_DEVICES: [IsaDevice; 8] = [
    IsaDevice {
        name: "PIC_",
        id: "PNP0000",
        uid: 0,
        ports: &[(0x20, 2), (0xa0, 2), (0x4d0, 2)],
        irq: Some(2),
    },
    IsaDevice { name: "TIMR", id: "PNP0100", uid: 0, ports: &[(0x40, 4)], irq: Some(0) },
    IsaDevice { name: "RTC_", id: "PNP0B00", uid: 0, ports: &[(0x70, 2)], irq: Some(8) },
    IsaDevice { name: "SPKR", id: "PNP0800", uid: 0, ports: &[(0x61, 1)], irq: None },
    IsaDevice { name: KEYBOARD, id: "PNP0303", uid: 0, ports: &[(0x60, 1), (0x64, 1)], irq: Some(1) },
    IsaDevice { name: "COM1", id: "PNP0501", uid: 1, ports: &[(0x3f8, 8)], irq: Some(4) },
    IsaDevice { name: "COM2", id: "PNP0501", uid: 2, ports: &[(0x2f8, 8)], irq: Some(3) },
    // Ports of the board: ACPI's fixed registers.
    IsaDevice { name: "PMIO", id: "PNP0C02", uid: 0, ports: &[(PM1A_EVENT_PORT, 12)], irq: None },
];

/// A small IRQ descriptor (ACPI 6.5, 6.4.2.1), two bytes: edge, active high, not shared, as ISA has it.
struct IsaIrq(u8);

impl Aml for IsaIrq {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x22);
        sink.word(1 << self.0);
    }
}

/// An object in its final form.
struct Encoded(Vec<u8>);

impl Aml for Encoded {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

/// Objects one after the other.
struct All(Vec<Box<dyn Aml>>);

impl Aml for All {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        for object in &self.0 {
            object.to_aml_bytes(sink);
        }
    }
}

/// Everything behind the header.
pub(super) fn body(config: &AcpiConfig) -> Vec<u8> {
    let mut body = Vec::new();
    let (zero, sleep_type) = (0u8, SLEEP_TYPE_S5);
    // SLP_TYPa, SLP_TYPb, two reserved.
    let s5 = Package::new(vec![&sleep_type, &zero, &zero, &zero]);
    Name::new("_S5_".into(), &s5).to_aml_bytes(&mut body);

    let processors = All((0..config.cpus).map(processor).collect());
    let root = pci_root(config);
    Scope::new("_SB_".into(), vec![&processors, root.as_ref()]).to_aml_bytes(&mut body);
    body
}

/// A processor, with the number that the MADT gives it.
fn processor(number: u8) -> Box<dyn Aml> {
    let name = format!("C{number:03X}");
    let hid = Name::new("_HID".into(), &"ACPI0007");
    let uid = Name::new("_UID".into(), &number);
    encoded(&Device::new(name.as_str().into(), vec![&hid, &uid]))
}

/// The PCI root and, behind it, ISA.
fn pci_root(config: &AcpiConfig) -> Box<dyn Aml> {
    let (port, ports) = PCI_CONFIG;
    let behind = port + u16::from(ports);
    let (first, last) = config.pci_window;
    let buses = AddressSpace::new_bus_number(0u16, 0xff);
    let own = IO::new(port, port, 1, ports);
    let below = AddressSpace::new_io(0u16, port - 1, None);
    let above = AddressSpace::new_io(behind, 0xffff, None);
    let memory = AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, first, last, None);
    let resources = ResourceTemplate::new(vec![&buses, &own, &below, &above, &memory]);

    let hid = Name::new("_HID".into(), &EISAName::new("PNP0A03"));
    let uid = Name::new("_UID".into(), &0u8);
    let resources = Name::new("_CRS".into(), &resources);
    let wanted = |device: &&IsaDevice| config.keyboard_controller || device.name != KEYBOARD;
    let isa = All(ISA_DEVICES.iter().filter(wanted).map(isa_device).collect());
    encoded(&Device::new("PCI0".into(), vec![&hid, &uid, &resources, &isa]))
}

fn isa_device(device: &IsaDevice) -> Box<dyn Aml> {
    let &IsaDevice { name, id, uid, ports, irq } = device;
    let ports: Vec<_> = ports.iter().map(|&(port, count)| IO::new(port, port, 1, count)).collect();
    let irq = irq.map(IsaIrq);
    let mut resources: Vec<&dyn Aml> = ports.iter().map(|ports| ports as &dyn Aml).collect();
    resources.extend(irq.as_ref().map(|irq| irq as &dyn Aml));
    let hid = Name::new("_HID".into(), &EISAName::new(id));
    let uid = Name::new("_UID".into(), &uid);
    let resources = Name::new("_CRS".into(), &ResourceTemplate::new(resources));
    encoded(&Device::new(name.into(), vec![&hid, &uid, &resources]))
}

/// An object as its bytes, which borrow nothing.
fn encoded(object: &dyn Aml) -> Box<dyn Aml> {
    let mut bytes = Vec::new();
    object.to_aml_bytes(&mut bytes);
    Box::new(Encoded(bytes))
}
