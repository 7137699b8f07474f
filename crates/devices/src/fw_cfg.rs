//! QEMU's firmware configuration device: named items that a guest reads by a key, a byte at a time or by DMA.
//!
//! Source: QEMU's `docs/specs/fw_cfg.rst`.
//!
//! | port | what |
//! |---|---|
//! | 0x510 | selector: a key, two bytes, little-endian |
//! | 0x511 | data: the next byte of the item, zero after its end |
//! | 0x514, 0x518 | address of a DMA command, big-endian, high half first; writing the low half starts it |
//!
//! | key | item |
//! |---|---|
//! | 0x0000 | signature `QEMU` |
//! | 0x0001 | features: 1 the ports, 2 DMA |
//! | 0x0003 | bytes of RAM, 8 bytes |
//! | 0x0005, 0x000f | number of processors, most there can be; 2 bytes each |
//! | 0x0019 | directory of the files: a count, then size, key, and name of each, big-endian |
//! | 0x0020.. | files, in the order of their names |
//!
//! Items are read-only: writing the data port does nothing. The items themselves are part of the saved state, so that a copy answers as this
//! machine does, whatever the one that receives it was configured with.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use thiserror::Error;

use crate::isa::{open_bus, part_of, read_bytes};

pub use saved_state::FwCfgStateV1;

const KEY_SIGNATURE: u16 = 0x00;
const KEY_FEATURES: u16 = 0x01;
const KEY_RAM_SIZE: u16 = 0x03;
const KEY_CPUS: u16 = 0x05;
const KEY_MAX_CPUS: u16 = 0x0f;
const KEY_DIRECTORY: u16 = 0x19;
const KEY_FIRST_FILE: u16 = 0x20;

/// The ports and DMA.
const FEATURES: u32 = 0b11;
/// What the DMA address register reads as.
const DMA_SIGNATURE: u64 = u64::from_be_bytes(*b"QEMU CFG");
/// Files there can be, so that their keys stay below those of architecture-specific items.
const FILE_LIMIT: usize = 0x1000;
/// Characters of a file's name; one more byte ends it.
const NAME_LIMIT: usize = 55;

const DMA_ERROR: u32 = 1 << 0;
const DMA_READ: u32 = 1 << 1;
const DMA_SKIP: u32 = 1 << 2;
const DMA_SELECT: u32 = 1 << 3;
const DMA_WRITE: u32 = 1 << 4;
/// Bytes of a DMA command: control, length, address.
const DMA_COMMAND_LEN: usize = 16;

/// Memory as DMA sees it. Both fail, with no effect that matters, where there is no RAM.
pub trait DmaMemory {
    /// Fills `bytes` from guest-physical `address`; false if it is not all RAM.
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool;
    /// Writes `bytes` to guest-physical `address`, marking it dirty; false if it is not all RAM.
    fn write(&mut self, address: u64, bytes: &[u8]) -> bool;
}

/// Why a file cannot be offered.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FileError {
    /// The name is empty, too long, or not plain ASCII.
    #[error("{0:?} cannot name a fw_cfg file: it must be 1 to {NAME_LIMIT} printable ASCII characters")]
    BadName(String),
    /// There is a file of this name.
    #[error("there already is a fw_cfg file {0:?}")]
    Exists(String),
    /// Too many files, or too large a one.
    #[error("fw_cfg file {0:?} is one too many, or has more than 4 GiB")]
    TooLarge(String),
}

/// The device.
#[derive(Debug, Clone)]
pub struct FwCfg {
    ram_size: u64,
    cpus: u16,
    files: BTreeMap<String, Vec<u8>>,
    /// The directory, made from `files`.
    directory: Vec<u8>,
    selected: u16,
    offset: u32,
    dma_address: u64,
    dma_started: bool,
}

impl FwCfg {
    /// All ports.
    pub const PORTS: RangeInclusive<u16> = 0x510..=0x51b;

    /// A device that tells of `ram_size` bytes and `cpus` processors, and has no files.
    pub fn new(ram_size: u64, cpus: u16) -> Self {
        let mut new = Self {
            ram_size,
            cpus,
            files: BTreeMap::new(),
            directory: Vec::new(),
            selected: 0,
            offset: 0,
            dma_address: 0,
            dma_started: false,
        };
        new.directory = new.make_directory();
        new
    }

    /// Offers a file. Keys follow the order of names, so files are added before the guest runs.
    pub fn add_file(&mut self, name: &str, content: Vec<u8>) -> Result<(), FileError> {
        check_file(name, &content)?;
        if self.files.contains_key(name) {
            return Err(FileError::Exists(name.to_owned()));
        }
        if self.files.len() >= FILE_LIMIT {
            return Err(FileError::TooLarge(name.to_owned()));
        }
        self.files.insert(name.to_owned(), content);
        self.directory = self.make_directory();
        Ok(())
    }

    fn make_directory(&self) -> Vec<u8> {
        let mut out = (self.files.len() as u32).to_be_bytes().to_vec();
        for (key, (name, content)) in (KEY_FIRST_FILE..).zip(&self.files) {
            let mut field = [0; NAME_LIMIT + 1];
            field[..name.len()].copy_from_slice(name.as_bytes());
            out.extend_from_slice(&(content.len() as u32).to_be_bytes());
            out.extend_from_slice(&key.to_be_bytes());
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(&field);
        }
        out
    }

    /// Calls `with` on the bytes of the selected item; there are none if no item has the key.
    fn with_item<T>(&self, with: impl FnOnce(&[u8]) -> T) -> T {
        match self.selected {
            KEY_SIGNATURE => with(b"QEMU"),
            KEY_FEATURES => with(&FEATURES.to_le_bytes()),
            KEY_RAM_SIZE => with(&self.ram_size.to_le_bytes()),
            KEY_CPUS | KEY_MAX_CPUS => with(&self.cpus.to_le_bytes()),
            KEY_DIRECTORY => with(&self.directory),
            key => {
                let index = key.checked_sub(KEY_FIRST_FILE).map(usize::from);
                with(index.and_then(|index| self.files.values().nth(index)).map_or(&[], Vec::as_slice))
            }
        }
    }

    /// Reads `size` bytes at `port`.
    pub fn read(&mut self, port: u16, size: u8, _now: u64) -> u32 {
        match port {
            // The data port is one byte wide; a wider read gives that byte and nothing else.
            0x511 => {
                let byte = self.next_byte();
                open_bus(size) & !0xff | u32::from(byte)
            }
            0x514..=0x51b => read_bytes(port, size, |port| match port {
                0x514..=0x51b => DMA_SIGNATURE.to_be_bytes()[usize::from(port - 0x514)],
                _ => 0xff,
            }),
            // The selector is write-only.
            _ => part_of(0, port & 3, size),
        }
    }

    fn next_byte(&mut self) -> u8 {
        let offset = self.offset as usize;
        let byte = self.with_item(|item| item.get(offset).copied());
        if byte.is_some() {
            self.offset += 1;
        }
        byte.unwrap_or(0)
    }

    /// Writes `size` bytes at `port`. After a write to the DMA register, [`dma_pending`](Self::dma_pending) may hold.
    pub fn write(&mut self, port: u16, size: u8, value: u32, _now: u64) {
        match (port, size) {
            (0x510, 2) => self.select(value as u16),
            (0x514, 4) => {
                self.dma_address = u64::from(value.swap_bytes()) << 32 | self.dma_address & 0xffff_ffff
            }
            (0x518, 4) => {
                self.dma_address = self.dma_address & !0xffff_ffff | u64::from(value.swap_bytes());
                self.dma_started = true;
            }
            _ => {}
        }
    }

    fn select(&mut self, key: u16) {
        self.selected = key;
        self.offset = 0;
    }

    /// Whether a DMA command waits for [`run_dma`](Self::run_dma).
    pub fn dma_pending(&self) -> bool {
        self.dma_started
    }

    /// Carries out the DMA command that waits. It costs no more than the RAM it writes.
    pub fn run_dma(&mut self, memory: &mut impl DmaMemory) {
        if !std::mem::take(&mut self.dma_started) {
            return;
        }
        let command_at = std::mem::take(&mut self.dma_address);
        let mut command = [0; DMA_COMMAND_LEN];
        if !memory.read(command_at, &mut command) {
            // There is nowhere to tell of the error.
            return;
        }
        let [a, b, c, d, e, f, g, h, address @ ..] = command;
        let control = u32::from_be_bytes([a, b, c, d]);
        let length = u32::from_be_bytes([e, f, g, h]);
        let done = self.dma(control, length, u64::from_be_bytes(address), memory);
        let answer = if done { 0 } else { DMA_ERROR };
        memory.write(command_at, &answer.to_be_bytes());
    }

    fn dma(&mut self, control: u32, length: u32, address: u64, memory: &mut impl DmaMemory) -> bool {
        if control & DMA_SELECT != 0 {
            self.select((control >> 16) as u16);
        }
        // As in QEMU: reading goes before writing, writing before skipping.
        if control & DMA_READ != 0 {
            return self.dma_read(length, address, memory);
        }
        if control & DMA_WRITE != 0 {
            return false;
        }
        if control & DMA_SKIP != 0 {
            let end = self.with_item(|item| item.len() as u32);
            self.offset = self.offset.saturating_add(length).min(end);
        }
        true
    }

    fn dma_read(&mut self, length: u32, address: u64, memory: &mut impl DmaMemory) -> bool {
        let offset = self.offset as usize;
        let copied = self.with_item(|item| {
            let left = item.get(offset..).unwrap_or(&[]);
            let left = &left[..left.len().min(length as usize)];
            memory.write(address, left).then_some(left.len() as u32)
        });
        let Some(copied) = copied else { return false };
        self.offset += copied;
        // Zeros follow the end of the item. The first write outside of RAM ends them.
        let zeros = [0; 4096];
        let mut done = copied;
        while done < length {
            let part = (length - done).min(zeros.len() as u32);
            let Some(to) = address.checked_add(done.into()) else { return false };
            if !memory.write(to, &zeros[..part as usize]) {
                return false;
            }
            done += part;
        }
        true
    }
}

fn check_file(name: &str, content: &[u8]) -> Result<(), FileError> {
    if name.is_empty() || name.len() > NAME_LIMIT || !name.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(FileError::BadName(name.to_owned()));
    }
    if u32::try_from(content.len()).is_err() {
        return Err(FileError::TooLarge(name.to_owned()));
    }
    Ok(())
}

mod saved_state {
    use std::collections::BTreeMap;

    use ::saved_state::{Restore, RestoreError, Save, SavedState};
    use serde::{Deserialize, Serialize};

    use super::{FILE_LIMIT, FwCfg, check_file};

    /// The saved state of [`FwCfg`].
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct FwCfgStateV1 {
        pub(super) ram_size: u64,
        pub(super) cpus: u16,
        pub(super) files: BTreeMap<String, Vec<u8>>,
        pub(super) selected: u16,
        pub(super) offset: u32,
        pub(super) dma_address: u64,
        pub(super) dma_started: bool,
    }

    impl SavedState for FwCfgStateV1 {
        const KIND: &'static str = "fw_cfg";
        const VERSION: u16 = 1;
    }

    impl Save for FwCfg {
        type State = FwCfgStateV1;

        fn save(&self) -> FwCfgStateV1 {
            let Self {
                ram_size,
                cpus,
                files,
                // Made from the files.
                directory: _,
                selected,
                offset,
                dma_address,
                dma_started,
            } = self;
            FwCfgStateV1 {
                ram_size: *ram_size,
                cpus: *cpus,
                files: files.clone(),
                selected: *selected,
                offset: *offset,
                dma_address: *dma_address,
                dma_started: *dma_started,
            }
        }
    }

    impl Restore for FwCfg {
        fn restore(&mut self, state: FwCfgStateV1) -> Result<(), RestoreError> {
            let FwCfgStateV1 { ram_size, cpus, files, selected, offset, dma_address, dma_started } = state;
            let invalid = |field, reason| RestoreError::invalid::<FwCfgStateV1>(field, reason);
            if files.len() > FILE_LIMIT {
                return Err(invalid("files", format!("has more than {FILE_LIMIT} of them")));
            }
            for (name, content) in &files {
                check_file(name, content).map_err(|e| invalid("files", format!("has a bad one: {e}")))?;
            }
            let mut new = Self {
                ram_size,
                cpus,
                files,
                directory: Vec::new(),
                selected,
                offset,
                dma_address,
                dma_started,
            };
            new.directory = new.make_directory();
            if new.with_item(|item| offset as usize > item.len()) {
                return Err(invalid("offset", "is past the end of the item".to_owned()));
            }
            *self = new;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
