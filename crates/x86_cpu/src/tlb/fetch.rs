//! The translation that instructions are being fetched with.

use super::PAGE_MASK;

/// The translation instructions are being fetched with. It outlives the entry it came from, as a processor's fetch buffers
/// do, so that it does not show when a run of instructions is interrupted and gone on with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FetchTranslation {
    /// Linear address of the page.
    pub(crate) linear_page: u64,
    /// Guest-physical address of the page.
    pub(crate) frame: u64,
    pub(crate) valid: bool,
}

impl FetchTranslation {
    /// Fetches go on from the page of `linear`, which is at the guest-physical `address`.
    #[inline(always)]
    pub(crate) const fn new(linear: u64, address: u64) -> Self {
        Self { linear_page: linear & PAGE_MASK, frame: address & PAGE_MASK, valid: true }
    }

    /// Whether the page of `linear` is the one being fetched from.
    #[inline(always)]
    pub(crate) const fn covers(&self, linear: u64) -> bool {
        self.valid && linear & PAGE_MASK == self.linear_page
    }

    /// Guest-physical address of `linear`, which must be covered.
    #[inline(always)]
    pub(crate) const fn address(&self, linear: u64) -> u64 {
        self.frame | (linear & !PAGE_MASK)
    }
}

/// What [`FetchTranslation`] depends on besides the TLB: a change ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FetchContext {
    pub(super) asid: Option<u16>,
    pub(super) user: bool,
}
