//! Which regions may hold pieces of large pages.

use crate::paging::PageSize;

/// Where there may be pieces of large pages: one bit per 2 MiB region and one per 1 GiB region, both hashed.
#[derive(Clone, Debug, Default)]
pub(super) struct LargeFilter {
    regions_2m: [u64; 32],
    regions_1g: u64,
}

impl LargeFilter {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Word and bit of the 2 MiB region of `linear`.
    const fn place_2m(linear: u64) -> (usize, u64) {
        let region = (linear >> 21).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53;
        ((region >> 6) as usize & 31, 1 << (region & 63))
    }

    const fn bit_1g(linear: u64) -> u64 {
        1 << ((linear >> 30) & 63)
    }

    pub(super) fn add(&mut self, linear: u64, size: PageSize) {
        match size {
            PageSize::Size4K => {}
            PageSize::Size2M => self.add_2m(linear),
            PageSize::Size4M => {
                self.add_2m(linear);
                self.add_2m(linear ^ PageSize::Size2M.bytes());
            }
            PageSize::Size1G => self.regions_1g |= Self::bit_1g(linear),
        }
    }

    fn add_2m(&mut self, linear: u64) {
        let (word, bit) = Self::place_2m(linear);
        self.regions_2m[word] |= bit;
    }

    pub(super) const fn may_have_2m(&self, linear: u64) -> bool {
        let (word, bit) = Self::place_2m(linear);
        self.regions_2m[word] & bit != 0
    }

    pub(super) const fn may_have_1g(&self, linear: u64) -> bool {
        self.regions_1g & Self::bit_1g(linear) != 0
    }
}
