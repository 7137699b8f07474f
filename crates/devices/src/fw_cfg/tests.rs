use ::saved_state::{Restore, Save};

use super::saved_state::FwCfgStateV1;
use super::*;

fn device() -> FwCfg {
    let mut device = FwCfg::new(0x1_2345_6000, 3);
    device.add_file("opt/second", b"two".to_vec()).unwrap();
    device.add_file("etc/first", b"one!".to_vec()).unwrap();
    device
}

fn item(device: &mut FwCfg, key: u32, len: usize) -> Vec<u8> {
    device.write(0x510, 2, key, 0);
    (0..len).map(|_| device.read(0x511, 1, 0) as u8).collect()
}

#[test]
fn items() {
    for (key, expected) in [
        (0x00, &b"QEMU\0\0"[..]),
        (0x01, &[3, 0, 0, 0, 0]),
        (0x03, &[0, 0x60, 0x45, 0x23, 1, 0, 0, 0, 0]),
        (0x05, &[3, 0, 0]),
        (0x0f, &[3, 0, 0]),
        (0x02, &[0, 0]),
        (0x20, b"one!\0\0"),
        (0x21, b"two\0"),
        (0x22, &[0, 0]),
        (0xffff, &[0, 0]),
    ] {
        assert_eq!(item(&mut device(), key, expected.len()), expected, "key {key:#x}");
    }
}

#[test]
fn the_directory() {
    let mut expected = vec![0, 0, 0, 2];
    for (size, key, name) in [(4, 0x20, "etc/first"), (3, 0x21, "opt/second")] {
        expected.extend_from_slice(&[0, 0, 0, size, 0, key, 0, 0]);
        expected.extend_from_slice(name.as_bytes());
        expected.resize(expected.len() + 56 - name.len(), 0);
    }
    assert_eq!(item(&mut device(), 0x19, expected.len()), expected);
    assert_eq!(item(&mut FwCfg::new(0, 1), 0x19, 4), [0; 4]);
}

#[test]
fn ports() {
    let mut device = device();
    assert_eq!(device.read(0x514, 4, 0).to_le_bytes(), *b"QEMU");
    assert_eq!(device.read(0x518, 4, 0).to_le_bytes(), *b" CFG");
    assert_eq!(device.read(0x51b, 2, 0), 0xff00 | u32::from(b'G'));
    assert_eq!(device.read(0x510, 2, 0), 0);
    device.write(0x510, 1, 0x20, 0);
    assert_eq!(device.read(0x511, 1, 0), b'Q'.into(), "the selector is two bytes or nothing");
    device.write(0x511, 1, 9, 0);
    assert_eq!(device.read(0x511, 2, 0), 0xff00 | u32::from(b'E'), "items are read-only");
}

#[test]
fn files_that_cannot_be() {
    let mut device = device();
    let long = "x".repeat(56);
    for name in ["", "a b", "ü", "a\0", &long] {
        assert_eq!(device.add_file(name, vec![]), Err(FileError::BadName(name.to_owned())));
    }
    assert_eq!(device.add_file("etc/first", vec![]), Err(FileError::Exists("etc/first".to_owned())));
    device.add_file(&long[1..], vec![]).unwrap();
}

struct Ram(Vec<u8>);

impl DmaMemory for Ram {
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let Ok(address) = usize::try_from(address) else { return false };
        let Some(from) = self.0.get(address..).and_then(|rest| rest.get(..bytes.len())) else { return false };
        bytes.copy_from_slice(from);
        true
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        let Ok(address) = usize::try_from(address) else { return false };
        let Some(to) = self.0.get_mut(address..).and_then(|rest| rest.get_mut(..bytes.len())) else {
            return false;
        };
        to.copy_from_slice(bytes);
        true
    }
}

fn dma(device: &mut FwCfg, ram: &mut Ram, control: u32, length: u32, address: u64) -> u32 {
    let command = [&control.to_be_bytes()[..], &length.to_be_bytes(), &address.to_be_bytes()].concat();
    ram.0[0x10..0x20].copy_from_slice(&command);
    device.write(0x514, 4, 0, 0);
    assert!(!device.dma_pending());
    device.write(0x518, 4, 0x10_u32.swap_bytes(), 0);
    assert!(device.dma_pending());
    device.run_dma(ram);
    assert!(!device.dma_pending());
    u32::from_be_bytes(ram.0[0x10..0x14].try_into().unwrap())
}

#[test]
fn dma_commands() {
    let mut ram = Ram(vec![0xee; 0x4000]);
    let mut device = device();
    assert_eq!(dma(&mut device, &mut ram, 0x0020_000a, 3, 0x100), 0, "select and read");
    assert_eq!(&ram.0[0x100..0x104], b"one\xee");
    assert_eq!(dma(&mut device, &mut ram, 0x02, 9, 0x200), 0, "go on, past the end");
    assert_eq!(&ram.0[0x200..0x20a], b"!\0\0\0\0\0\0\0\0\xee");
    assert_eq!(dma(&mut device, &mut ram, 0x0021_0008, 0, 0), 0, "select alone");
    assert_eq!(dma(&mut device, &mut ram, 0x04, 1, 0), 0, "skip");
    assert_eq!(device.read(0x511, 1, 0), b'w'.into());
    assert_eq!(dma(&mut device, &mut ram, 0x04, u32::MAX, 0), 0);
    assert_eq!(device.read(0x511, 1, 0), 0);
    assert_eq!(dma(&mut device, &mut ram, 0x0020_0018, 1, 0x100), 1, "items are read-only");
    assert_eq!(dma(&mut device, &mut ram, 0x0000_000a, 0x3000, 0x1000), 0);
    assert_eq!((&ram.0[0x1000..0x1005], ram.0[0x3fff]), (&b"QEMU\0"[..], 0));
}

#[test]
fn dma_outside_of_ram() {
    let mut ram = Ram(vec![0xee; 0x4000]);
    let mut device = device();
    assert_eq!(dma(&mut device, &mut ram, 0x0020_000a, 4, 0x3ffe), 1);
    assert_eq!(dma(&mut device, &mut ram, 0x0020_000a, u32::MAX, 0x2000), 1);
    assert_eq!(dma(&mut device, &mut ram, 0x0020_000a, u32::MAX, u64::MAX - 2), 1);
    assert_eq!(dma(&mut device, &mut ram, 0x0022_000a, u32::MAX, u64::MAX - 2), 1);
    device.write(0x514, 4, u32::MAX, 0);
    device.write(0x518, 4, u32::MAX, 0);
    let before = ram.0.clone();
    device.run_dma(&mut ram);
    assert_eq!(ram.0, before, "a command outside of RAM does nothing");
}

fn unique() -> FwCfgStateV1 {
    FwCfgStateV1 {
        ram_size: 0x1111_2222_3333_4444,
        cpus: 0x5555,
        files: [("a".to_owned(), vec![1, 2, 3]), ("b".to_owned(), vec![4])].into(),
        selected: 0x20,
        offset: 2,
        dma_address: 0x6666_7777_8888_9999,
        dma_started: true,
    }
}

#[test]
fn every_field_is_saved() {
    let mut device = device();
    device.restore(unique()).unwrap();
    assert_eq!(device.save(), unique());
    assert_eq!(device.read(0x511, 1, 0), 3);
    assert_eq!(item(&mut device, 0x19, 4), [0, 0, 0, 2], "the directory is made again");
    assert_eq!(device.dma_address, 0x6666_7777_8888_9999);
}

#[test]
fn impossible_states_are_refused() {
    let spoil: [fn(&mut FwCfgStateV1); 3] = [
        |state| state.offset = 4,
        |state| state.files = [("ä".to_owned(), vec![])].into(),
        |state| state.files = (0..0x1001).map(|n| (n.to_string(), vec![])).collect(),
    ];
    for spoil in spoil {
        let mut state = unique();
        spoil(&mut state);
        let mut device = device();
        let before = device.save();
        device.restore(state).unwrap_err();
        assert_eq!(device.save(), before);
    }
}
