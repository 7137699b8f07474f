//! Blocks of decoded code, keyed by guest-physical address and mode, and where they are kept.
//!
//! Blocks are never visible to the guest: they may be dropped at any moment between two of them.

use std::cell::Cell;
use std::collections::HashMap;

use guest_memory::{GuestMemory, PAGE_SIZE};

use crate::op::Op;

/// Entries of the table looked at first.
const FRONT: usize = 1 << 15;
/// Blocks kept at most; then all are dropped.
const MOST_BLOCKS: usize = 1 << 17;
/// Links of a block: one for its end and one for each direct branch in it.
pub(crate) const LINKS: usize = 5;
/// Count of a block that must not be run as a whole: more than any budget, so that one compare sees both.
pub(crate) const NEVER_FITS: u32 = u32::MAX;
/// No block.
pub(crate) const NONE: u32 = u32::MAX;

/// Straight-line code that begins at one guest-physical address and stays within a page (only an instruction alone in its
/// block may reach into the next).
#[derive(Debug)]
pub(crate) struct Block {
    /// [`key`] of its first byte, or `u64::MAX` if it was dropped.
    pub(crate) key: u64,
    pub(crate) ops: Box<[Op]>,
    /// Instructions; [`NEVER_FITS`] if it reaches into a second page.
    pub(crate) count: u32,
    /// Bytes.
    pub(crate) len: u32,
    /// Guest-physical page of the bytes beyond the first page, if there are any.
    pub(crate) second_page: Option<u64>,
    /// The blocks that followed last time: behind the end, and behind each direct branch that was taken; their keys are
    /// compared again.
    pub(crate) links: [Cell<u32>; LINKS],
}

/// Key of a block: guest-physical address and mode.
#[inline(always)]
pub(crate) const fn key(address: u64, mode: u8) -> u64 {
    address | (mode as u64) << 56
}

#[inline(always)]
const fn front_index(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 49) as usize & (FRONT - 1)
}

/// The decoded code of one machine, shared by its processors.
#[derive(Debug)]
pub struct BlockCache {
    blocks: Vec<Block>,
    free: Vec<u32>,
    /// Direct-mapped over all blocks: (key, block).
    front: Box<[(u64, u32)]>,
    index: HashMap<u64, u32>,
    /// Blocks by page of the host mapping.
    pages: HashMap<u64, Vec<u32>>,
}

impl Default for BlockCache {
    fn default() -> Self {
        Self::new()
    }
}

impl BlockCache {
    /// No blocks.
    #[must_use]
    pub fn new() -> Self {
        Self {
            blocks: Vec::new(),
            free: Vec::new(),
            front: vec![(u64::MAX, NONE); FRONT].into_boxed_slice(),
            index: HashMap::new(),
            pages: HashMap::new(),
        }
    }

    /// Drops everything.
    pub fn clear(&mut self, mem: &GuestMemory) {
        *self = Self::new();
        mem.forget_code();
    }

    /// The block `index`.
    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&Block> {
        self.blocks.get(index as usize)
    }

    /// The block for `key`, if the table looked at first knows it.
    #[inline(always)]
    pub(crate) fn peek(&self, key: u64) -> Option<u32> {
        let slot = &self.front[front_index(key)];
        (slot.0 == key).then_some(slot.1)
    }

    /// The block for `key`, if it has been decoded.
    #[inline(always)]
    pub(crate) fn find(&mut self, key: u64) -> Option<u32> {
        let slot = &mut self.front[front_index(key)];
        if slot.0 == key {
            return Some(slot.1);
        }
        let found = *self.index.get(&key)?;
        *slot = (key, found);
        Some(found)
    }

    /// Keeps a block. Its bytes begin at `key`'s address; pages of RAM among them are marked as holding code.
    pub(crate) fn insert(&mut self, mem: &GuestMemory, block: Block) -> u32 {
        if self.blocks.len() - self.free.len() >= MOST_BLOCKS {
            self.clear(mem);
        }
        let address = block.key & ((1 << 56) - 1);
        let first_len = (PAGE_SIZE - address % PAGE_SIZE).min(u64::from(block.len));
        let mut parts = vec![(address, first_len)];
        if let Some(second) = block.second_page {
            parts.push((second, u64::from(block.len) - first_len));
        }
        let key = block.key;
        let index = if let Some(index) = self.free.pop() {
            self.blocks[index as usize] = block;
            index
        } else {
            self.blocks.push(block);
            u32::try_from(self.blocks.len() - 1).expect("bounded by MOST_BLOCKS")
        };
        for (start, len) in parts {
            if let Some(offset) = mem.offset_of(start) {
                mem.mark_code(offset, len);
                self.pages.entry(offset / PAGE_SIZE).or_default().push(index);
            }
        }
        self.front[front_index(key)] = (key, index);
        self.index.insert(key, index);
        index
    }

    /// Drops the blocks of pages whose code was overwritten.
    pub(crate) fn drop_overwritten(&mut self, mem: &GuestMemory) {
        for page in mem.take_code_writes() {
            for index in self.pages.remove(&page).unwrap_or_default() {
                let block = &mut self.blocks[index as usize];
                if block.key == u64::MAX {
                    continue;
                }
                let key = std::mem::replace(&mut block.key, u64::MAX);
                block.ops = Box::default();
                let spans_pages = block.second_page.is_some();
                self.index.remove(&key);
                let slot = &mut self.front[front_index(key)];
                if slot.0 == key {
                    *slot = (u64::MAX, NONE);
                }
                // A block on two pages is still named by the other page's list: its slot is not given away.
                if !spans_pages {
                    self.free.push(index);
                }
            }
        }
    }
}
