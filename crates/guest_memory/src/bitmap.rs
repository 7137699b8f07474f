//! One bit per page, settable through a shared reference.

use std::sync::atomic::{AtomicU64, Ordering};

/// One bit per page.
#[derive(Debug)]
pub struct PageBitmap {
    words: Box<[AtomicU64]>,
}

impl PageBitmap {
    /// A bitmap of `pages` bits, all clear.
    #[must_use]
    pub fn new(pages: u64) -> Self {
        let words = usize::try_from(pages.div_ceil(64)).expect("a page count fits in usize");
        Self { words: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Sets the bit of `page`; a page beyond the end is ignored.
    #[inline]
    pub fn set(&self, page: u64) {
        if let Some(word) = self.words.get((page / 64) as usize) {
            word.fetch_or(1 << (page % 64), Ordering::Relaxed);
        }
    }

    /// Whether the bit of `page` is set.
    #[inline]
    #[must_use]
    pub fn get(&self, page: u64) -> bool {
        self.words
            .get((page / 64) as usize)
            .is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (page % 64)) != 0)
    }

    /// Sets every bit.
    pub fn set_all(&self) {
        for word in &self.words {
            word.store(u64::MAX, Ordering::Relaxed);
        }
    }

    /// Returns the bits, 64 pages a word, and clears them.
    #[must_use]
    pub fn take(&self) -> Vec<u64> {
        self.words.iter().map(|word| word.swap(0, Ordering::Relaxed)).collect()
    }
}
