//! Checksums, and the graph of tables as a guest walks it.

use super::*;

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl AcpiTables {
    /// The table at a guest-physical address, by the length it claims.
    fn at(&self, address: u64) -> &[u8] {
        let bytes = &self.bytes[usize::try_from(address - self.base).expect("in the block")..];
        &bytes[..u32_at(bytes, 4) as usize]
    }

    /// The same, with its checksum verified.
    fn table(&self, address: u64, signature: &[u8; 4]) -> &[u8] {
        let table = self.at(address);
        assert_eq!(&table[..4], signature, "signature at {address:#x}");
        assert_eq!(sum(table), 0, "checksum of {}", String::from_utf8_lossy(signature));
        table
    }

    /// What XSDT has: FADT and MADT.
    fn entries(&self) -> [u64; 2] {
        let xsdt = self.table(u64_at(&self.bytes, 24), b"XSDT");
        assert_eq!(xsdt.len(), 36 + 16, "two entries");
        [u64_at(xsdt, 36), u64_at(xsdt, 44)]
    }
}

fn tables(cpus: u8) -> AcpiTables {
    build(&AcpiConfig::new(cpus)).expect("the default configuration fits")
}

#[test]
fn the_rsdp_is_first_and_sound() {
    let tables = tables(1);
    assert_eq!(tables.rsdp_address() % 16, 0, "scans look at multiples of 16");
    let rsdp = &tables.bytes[..36];
    assert_eq!(&rsdp[..8], b"RSD PTR ", "signature");
    assert_eq!(sum(&rsdp[..20]), 0, "checksum of the first 20 bytes");
    assert_eq!(sum(rsdp), 0, "checksum of all");
    assert_eq!((rsdp[15], u32_at(rsdp, 20)), (2, 36), "revision and length");
}

#[test]
fn every_table_can_be_reached_and_is_sound() {
    for cpus in [1, 4, 16, 254] {
        for base in [0xe_0000, 0x7fff_0000] {
            let config = AcpiConfig { base, ..AcpiConfig::new(cpus) };
            let tables = build(&config).expect("fits");
            let [fadt, madt] = tables.entries();
            let fadt = tables.table(fadt, b"FACP");
            tables.table(madt, b"APIC");
            assert_eq!(u64::from(u32_at(fadt, 40)), u64_at(fadt, 140), "DSDT in both sizes");
            tables.table(u64_at(fadt, 140), b"DSDT");
            let facs = u64_at(fadt, 132);
            assert_eq!(u64::from(u32_at(fadt, 36)), facs, "FACS in both sizes");
            assert_eq!(&tables.at(facs)[..4], b"FACS", "FACS, which has no checksum");
            assert_eq!((facs % 64, tables.at(facs).len()), (0, 64), "its alignment and length");
        }
    }
}

#[test]
fn the_fadt_tells_the_ports() {
    let tables = tables(2);
    let fadt = tables.table(tables.entries()[0], b"FACP");
    assert_eq!(fadt.len(), 276, "length of revision 6");
    for (at, value, name) in [
        (48, 0, "SMI_CMD"),
        (56, 0x600, "PM1a_EVT_BLK"),
        (64, 0x604, "PM1a_CNT_BLK"),
        (76, 0x608, "PM_TMR_BLK"),
        (80, 0, "GPE0_BLK"),
        (112, 1 << 0 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10, "flags: not hardware-reduced"),
    ] {
        assert_eq!(u32_at(fadt, at), value, "{name}");
    }
    for (at, bits, port, name) in [
        (116, 8, 0xcf9, "RESET_REG"),
        (148, 32, 0x600, "X_PM1a_EVT_BLK"),
        (172, 16, 0x604, "X_PM1a_CNT_BLK"),
        (208, 32, 0x608, "X_PM_TMR_BLK"),
    ] {
        assert_eq!(fadt[at..at + 3], [1, bits, 0], "{name}: in I/O space");
        assert_eq!(u64_at(fadt, at + 4), port, "{name}: port");
    }
    assert_eq!(u16_at(fadt, 46), 9, "SCI_INT");
    assert_eq!([fadt[88], fadt[89], fadt[91]], [4, 2, 4], "lengths of the blocks");
    assert_eq!(u16_at(fadt, 109), 0b1_0111, "IAPC_BOOT_ARCH");
    assert_eq!(fadt[128], 6, "RESET_VALUE");
    let without = AcpiConfig { keyboard_controller: false, ..AcpiConfig::new(1) };
    let without = build(&without).expect("fits");
    let fadt = without.table(without.entries()[0], b"FACP");
    assert_eq!(u16_at(fadt, 109), 0b1_0101, "IAPC_BOOT_ARCH without an 8042");
}

#[test]
fn the_madt_lists_processors_and_routes() {
    let tables = tables(3);
    let madt = tables.table(tables.entries()[1], b"APIC");
    assert_eq!((u32_at(madt, 36), u32_at(madt, 40)), (0xfee0_0000, 1), "local APICs and 8259s");
    let mut entries = Vec::new();
    let mut rest = &madt[44..];
    while let [kind, length, ..] = *rest {
        let (entry, behind) = rest.split_at(usize::from(length));
        entries.push((kind, entry[2..].to_vec()));
        rest = behind;
    }
    let expected = [
        (0, vec![0, 0, 1, 0, 0, 0]),
        (0, vec![1, 1, 1, 0, 0, 0]),
        (0, vec![2, 2, 1, 0, 0, 0]),
        (1, vec![3, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]),
        (2, vec![0, 0, 2, 0, 0, 0, 0, 0]),
        (2, vec![0, 9, 9, 0, 0, 0, 0xd, 0]),
        (4, vec![0xff, 0, 0, 1]),
    ];
    assert_eq!(entries, expected, "processors, I/O APIC, overrides of 0 and 9, NMI");
}

#[test]
fn what_cannot_be_is_refused() {
    let good = AcpiConfig::new(1);
    for (config, part) in [
        (AcpiConfig { base: 0xe_0010, ..good.clone() }, "multiple of 64"),
        (AcpiConfig { base: 1 << 32, ..good.clone() }, "below 4 GiB"),
        (AcpiConfig { base: u64::MAX - 63, ..good.clone() }, "below 4 GiB"),
        (AcpiConfig { cpus: 0, ..good.clone() }, "0 processors"),
        (AcpiConfig { cpus: 255, ..good.clone() }, "255 processors"),
        (AcpiConfig { cpus: 4, ..good.clone() }, "I/O APIC ID 1"),
        (AcpiConfig { io_apic_id: 255, ..good.clone() }, "I/O APIC ID 255"),
        (AcpiConfig { pci_window: (5, 4), ..good.clone() }, "is empty"),
        (AcpiConfig { room: 1000, ..good.clone() }, "there are 1000"),
        (AcpiConfig { base: 0xffff_ffc0, ..good.clone() }, "there are"),
    ] {
        let error = build(&config).expect_err(part).to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// The names and the _S5 package, byte for byte; the whole was read back with `iasl -d` when it was made.
#[test]
fn the_dsdt_has_s5_and_the_devices() {
    let tables = tables(2);
    let fadt = tables.table(tables.entries()[0], b"FACP");
    let dsdt = tables.table(u64_at(fadt, 140), b"DSDT");
    let s5 = [0x08, b'_', b'S', b'5', b'_', 0x12, 0x06, 4, 0, 0, 0, 0];
    assert_eq!(dsdt[36..48], s5, "Name (_S5, Package (4) {{ 0, 0, 0, 0 }})");
    for name in [b"C000", b"C001", b"PCI0", b"COM1", b"COM2", b"KBD_", b"RTC_", b"TIMR", b"PIC_", b"PMIO"] {
        let count = dsdt.windows(4).filter(|window| window == name).count();
        assert_eq!(count, 1, "{} is there once", String::from_utf8_lossy(name));
    }
    assert!(!dsdt.windows(4).any(|window| window == b"C002"), "two processors");
}
