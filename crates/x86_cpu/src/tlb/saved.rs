//! The saved state of the TLB.

use saved_state::{Restore, RestoreError, Save, SavedState};
use serde::{Deserialize, Serialize};
use x86_defs::is_canonical;

use super::{ASIDS, ArchEntry, FetchContext, FetchTranslation, PAGE_MASK, Tlb, index_of};
use crate::paging::{ADDRESS, PageSize, Rights, Translation};

/// What a guest can notice of the TLB: the cached translations in order of their index, and the translation in use by fetches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlbStateV1 {
    /// Cached translations.
    pub entries: Vec<TlbEntryStateV1>,
    /// Whether instructions are being fetched with the translation in the two fields below.
    pub fetch_valid: bool,
    /// Linear address of the page being fetched from; 0 if there is none.
    pub fetch_linear_page: u64,
    /// Guest-physical address of the page being fetched from; 0 if there is none.
    pub fetch_frame: u64,
    /// Address space that fetches go through: a process-context identifier, or nothing with paging off.
    pub fetch_asid: Option<u16>,
    /// Whether fetches are user-mode accesses.
    pub fetch_user: bool,
}

/// One cached translation of a 4 KiB page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlbEntryStateV1 {
    /// Linear address of the page.
    pub linear_page: u64,
    /// Guest-physical address of the page.
    pub frame: u64,
    /// Process-context identifier; 0 for a global page.
    pub asid: u16,
    /// Valid in every address space.
    pub global: bool,
    /// Writable at every level.
    pub writable: bool,
    /// User-accessible at every level.
    pub user: bool,
    /// Execute-disabled at some level.
    pub no_execute: bool,
    /// The dirty flag was set when the translation was cached.
    pub dirty: bool,
    /// log2 of the size of the page that this is a piece of: 12, 21, 22 or 30.
    pub size: u8,
}

impl SavedState for TlbStateV1 {
    const KIND: &'static str = "cpu.tlb";
    const VERSION: u16 = 1;
}

impl Save for Tlb {
    type State = TlbStateV1;

    fn save(&self) -> TlbStateV1 {
        let Self {
            // Rebuilt as it is used: host offsets and what they are tagged with.
            fast: _,
            context: _,
            kind: _,
            checks: _,
            oldest_serial: _,
            last_serial: _,
            large: _,
            epoch: _,
            // Decide which entries are live.
            spaces: _,
            global_space: _,
            oldest_space: _,
            last_number: _,
            arch,
            fetch: FetchTranslation { linear_page, frame, valid },
            fetch_context: FetchContext { asid, user },
        } = self;
        TlbStateV1 {
            entries: arch
                .iter()
                .filter(|entry| self.is_live(entry))
                .map(|entry| {
                    let ArchEntry { linear_page, space, frame, asid, rights, size, dirty } = *entry;
                    let Rights { writable, user, no_execute } = rights;
                    TlbEntryStateV1 {
                        linear_page,
                        frame,
                        asid,
                        global: space == self.global_space,
                        writable,
                        user,
                        no_execute,
                        dirty,
                        size: size.bytes().trailing_zeros() as u8,
                    }
                })
                .collect(),
            fetch_valid: *valid,
            fetch_linear_page: if *valid { *linear_page } else { 0 },
            fetch_frame: if *valid { *frame } else { 0 },
            fetch_asid: *asid,
            fetch_user: *user,
        }
    }
}

fn invalid(field: &'static str, reason: impl Into<String>) -> RestoreError {
    RestoreError::invalid::<TlbStateV1>(field, reason)
}

impl Restore for Tlb {
    /// Afterwards the address space and privilege have to be selected again, as after every change of mode.
    fn restore(&mut self, state: TlbStateV1) -> Result<(), RestoreError> {
        let TlbStateV1 { entries, fetch_valid, fetch_linear_page, fetch_frame, fetch_asid, fetch_user } =
            state;
        let mut restored = Self::new();
        let mut next_index = 0;
        for entry in entries {
            let TlbEntryStateV1 { linear_page, frame, asid, global, writable, user, no_execute, dirty, size } =
                entry;
            if linear_page & !PAGE_MASK != 0 || !is_canonical(linear_page) {
                return Err(invalid("linear_page", format!("is {linear_page:#x}, must be a canonical page")));
            }
            if index_of(linear_page) < next_index {
                return Err(invalid("linear_page", format!("is {linear_page:#x}, which is out of order")));
            }
            next_index = index_of(linear_page) + 1;
            if frame & !ADDRESS != 0 {
                return Err(invalid("frame", format!("is {frame:#x}, must be a guest-physical page")));
            }
            if usize::from(asid) >= ASIDS || (global && asid != 0) {
                return Err(invalid("asid", format!("is {asid}, must be below {ASIDS}, and 0 if global")));
            }
            let size = match size {
                12 => PageSize::Size4K,
                21 => PageSize::Size2M,
                22 => PageSize::Size4M,
                30 => PageSize::Size1G,
                _ => return Err(invalid("size", format!("is {size}, must be 12, 21, 22 or 30"))),
            };
            let rights = Rights { writable, user, no_execute };
            restored.insert(linear_page, asid, Translation { frame, rights, size, global, dirty });
        }
        if fetch_linear_page & !PAGE_MASK != 0 || !is_canonical(fetch_linear_page) {
            return Err(invalid(
                "fetch_linear_page",
                format!("is {fetch_linear_page:#x}, must be a canonical page"),
            ));
        }
        if fetch_frame & !ADDRESS != 0 {
            return Err(invalid(
                "fetch_frame",
                format!("is {fetch_frame:#x}, must be a guest-physical page"),
            ));
        }
        if !fetch_valid && (fetch_linear_page != 0 || fetch_frame != 0) {
            return Err(invalid("fetch_valid", "is false although there is a translation"));
        }
        if fetch_asid.is_some_and(|asid| usize::from(asid) >= ASIDS) {
            return Err(invalid("fetch_asid", format!("is {fetch_asid:?}, must be below {ASIDS}")));
        }
        restored.fetch =
            FetchTranslation { linear_page: fetch_linear_page, frame: fetch_frame, valid: fetch_valid };
        restored.fetch_context = FetchContext { asid: fetch_asid, user: fetch_user };
        restored.choose_context();
        *self = restored;
        Ok(())
    }
}
