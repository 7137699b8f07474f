//! The operand memory of both engines: what it holds before every case, and how changes to it are found.

use crate::case::{ChangedLine, LINE, MEMORY_SIZE, Patch};
use crate::random::Random;

/// The bytes of operand memory and stack before the patches of a case: the same for all seeds and hosts.
pub fn base_image() -> Vec<u8> {
    let mut image = vec![0; MEMORY_SIZE];
    Random::new(0x6d65_6d6f_7279).fill(&mut image);
    image
}

/// The lines in which `now` differs from `base`.
pub fn changed_lines(base: &[u8], now: &[u8]) -> Vec<ChangedLine> {
    const PAGE: usize = 4096;
    let mut changed = Vec::new();
    for (page, (old_page, new_page)) in base.chunks(PAGE).zip(now.chunks(PAGE)).enumerate() {
        if old_page == new_page {
            continue;
        }
        for (line, (old, new)) in old_page.chunks(LINE).zip(new_page.chunks(LINE)).enumerate() {
            if old != new {
                let mut bytes = [0; LINE];
                bytes.copy_from_slice(new);
                changed.push(ChangedLine { offset: page * PAGE + line * LINE, bytes });
            }
        }
    }
    changed
}

/// The image a case starts from.
pub fn patched(base: &[u8], patches: &[Patch]) -> Vec<u8> {
    let mut image = base.to_vec();
    for (offset, byte) in patches.iter().flat_map(Patch::within_memory) {
        image[offset] = byte;
    }
    image
}
