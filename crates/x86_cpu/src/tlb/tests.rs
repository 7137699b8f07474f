//! The TLB against a model that keeps it simple, and the cases of SDM 3A 4.10.4.1 by name.

use guest_memory::{GuestMemory, Slot};
use saved_state::{Restore, Save};
use x86_defs::control::{CR0_PG, CR0_WP, CR4_PAE, CR4_PCIDE, CR4_PGE, CR4_SMAP, CR4_SMEP};

use super::*;
use crate::random::Generator;

fn page(frame: u64) -> Translation {
    Translation {
        frame,
        rights: Rights { writable: true, user: true, no_execute: false },
        size: PageSize::Size4K,
        global: false,
        dirty: true,
    }
}

fn global(frame: u64) -> Translation {
    Translation { global: true, ..page(frame) }
}

fn large(frame: u64, size: PageSize) -> Translation {
    Translation { size, ..page(frame) }
}

fn memory() -> GuestMemory {
    GuestMemory::new(&[Slot { base: 0, len: 0x10_0000 }]).expect("a small slot")
}

/// Which of three translations are left: one of address space 1, one of 2, a global one.
fn left(flush: impl FnOnce(&mut Tlb)) -> [bool; 3] {
    let mut tlb = Tlb::new();
    tlb.select(Some(1), Kind::Supervisor, false);
    tlb.insert(0x1000, 1, page(0xa000));
    tlb.insert(0x2000, 2, page(0xb000));
    tlb.insert(0x3000, 1, global(0xc000));
    tlb.fetch = FetchTranslation { linear_page: 0x1000, frame: 0xa000, valid: true };
    flush(&mut tlb);
    assert!(!tlb.fetch.valid, "instructions are fetched anew after every invalidation");
    [tlb.lookup(0x1fff, 1).is_some(), tlb.lookup(0x2000, 2).is_some(), tlb.lookup(0x3000, 2).is_some()]
}

#[test]
fn what_each_instruction_invalidates() {
    const PCID: u64 = CR4_PCIDE | CR4_PAE;
    assert_eq!(left(|tlb| tlb.flush_all()), [false, false, false], "INVPCID type 2");
    assert_eq!(left(|tlb| tlb.flush_all_but_global()), [false, false, true], "INVPCID type 3");
    assert_eq!(left(|tlb| tlb.flush_asid(1)), [false, true, true], "INVPCID type 1");
    assert_eq!(left(|tlb| tlb.flush_asid(2)), [true, false, true], "INVPCID type 1, another");
    assert_eq!(left(|tlb| tlb.invalidate_page(0x1abc, 1, true)), [false, true, true], "INVLPG");
    assert_eq!(left(|tlb| tlb.invalidate_page(0x2000, 1, true)), [true, true, true], "INVLPG, foreign page");
    assert_eq!(left(|tlb| tlb.invalidate_page(0x3000, 2, true)), [true, true, false], "INVLPG, global page");
    assert_eq!(left(|tlb| tlb.invalidate_page(0x3000, 1, false)), [true; 3], "INVPCID type 0 spares globals");
    assert_eq!(left(|tlb| tlb.invalidate_page(0x2000, 2, false)), [true, false, true], "INVPCID type 0");
    assert_eq!(left(|tlb| tlb.cr3_loaded(0x5001, PCID, false)), [false, true, true], "MOV to CR3");
    assert_eq!(left(|tlb| tlb.cr3_loaded(0x5001, PCID, true)), [true; 3], "MOV to CR3 with bit 63");
    assert_eq!(
        left(|tlb| tlb.cr3_loaded(0x5002, PCID, false)),
        [true, false, true],
        "MOV to CR3, another PCID"
    );
    assert_eq!(left(|tlb| tlb.cr0_changed(CR0_PG, 0)), [false; 3], "clearing CR0.PG");
    assert_eq!(left(|tlb| tlb.cr0_changed(CR0_PG, CR0_PG | CR0_WP)), [true; 3], "CR0.WP flushes nothing");
    assert_eq!(left(|tlb| tlb.cr4_changed(PCID, PCID | CR4_PGE, 1)), [false; 3], "CR4.PGE");
    assert_eq!(left(|tlb| tlb.cr4_changed(PCID | CR4_PGE, PCID, 1)), [false; 3], "CR4.PGE cleared");
    assert_eq!(left(|tlb| tlb.cr4_changed(PCID, CR4_PAE, 1)), [false; 3], "CR4.PCIDE cleared");
    assert_eq!(left(|tlb| tlb.cr4_changed(CR4_PAE, PCID, 0)), [true; 3], "CR4.PCIDE set");
    assert_eq!(left(|tlb| tlb.cr4_changed(PCID, PCID | CR4_SMEP, 1)), [false, true, true], "CR4.SMEP set");
    assert_eq!(left(|tlb| tlb.cr4_changed(PCID | CR4_SMEP, PCID, 1)), [true; 3], "CR4.SMEP cleared");
    assert_eq!(left(|tlb| tlb.cr4_changed(PCID, PCID | CR4_SMAP, 1)), [true; 3], "CR4.SMAP");
}

#[test]
fn a_page_fault_invalidates_its_page_alone() {
    let mut tlb = Tlb::new();
    tlb.insert(0x1000, 1, page(0xa000));
    tlb.insert(0x2000, 1, page(0xb000));
    tlb.fetch = FetchTranslation { linear_page: 0x2000, frame: 0xb000, valid: true };
    tlb.invalidate_faulting(0x1008, 1);
    assert!(tlb.lookup(0x1000, 1).is_none() && tlb.lookup(0x2000, 1).is_some());
    assert!(tlb.fetch.valid, "fetches go on from another page");
    tlb.invalidate_faulting(0x2008, 1);
    assert!(!tlb.fetch.valid);
}

#[test]
fn invalidating_a_piece_of_a_large_page_forgets_all_of_it() {
    for (size, inside, outside) in [
        (PageSize::Size2M, [0x4000_0000, 0x401f_f000, 0x4010_0000], 0x4020_0000),
        (PageSize::Size4M, [0x4000_0000, 0x403f_f000, 0x4020_0000], 0x4040_0000),
        (PageSize::Size1G, [0x4000_0000, 0x7fff_f000, 0x5234_5000], 0x8000_0000_u64),
    ] {
        for by in inside {
            let mut tlb = Tlb::new();
            // Other indices than those of the pieces, so that nothing is replaced.
            let outside = outside + 0x7000;
            for linear in inside.into_iter().chain([outside]) {
                tlb.insert(linear, 1, large(linear, size));
            }
            tlb.invalidate_page(by ^ 0x3_0000, 1, true);
            for linear in inside {
                assert!(tlb.lookup(linear, 1).is_none(), "{size:?}: {linear:#x} by {by:#x}");
            }
            assert!(tlb.lookup(outside, 1).is_some(), "{size:?}: another large page stays");
        }
    }
    let mut tlb = Tlb::new();
    tlb.insert(0x4000_0000, 1, large(0x4000_0000, PageSize::Size2M));
    tlb.insert(0x4000_1000, 1, page(0x9000));
    tlb.insert(0x4000_2000, 2, large(0x8000_0000, PageSize::Size2M));
    tlb.invalidate_page(0x4010_0000, 1, true);
    assert!(tlb.lookup(0x4000_0000, 1).is_none());
    assert!(tlb.lookup(0x4000_1000, 1).is_some(), "a small page of an older mapping stays");
    assert!(tlb.lookup(0x4000_2000, 2).is_some(), "another address space stays");
}

#[test]
fn returning_to_an_address_space_finds_its_fast_entries() {
    let mem = memory();
    let mut tlb = Tlb::new();
    let hit = |tlb: &Tlb, linear: u64| tlb.fast[index_of(linear)].read == linear | tlb.context;
    tlb.select(Some(1), Kind::User, false);
    tlb.insert(0x1000, 1, page(0xa000));
    tlb.allow(&mem, 0x1000, 0xa000, Allow::Read);
    assert!(hit(&tlb, 0x1000));
    tlb.select(Some(2), Kind::User, false);
    assert!(!hit(&tlb, 0x1000), "another address space");
    tlb.select(Some(1), Kind::Supervisor, false);
    assert!(!hit(&tlb, 0x1000), "another privilege");
    tlb.select(Some(1), Kind::User, true);
    assert!(!hit(&tlb, 0x1000), "every access is to be checked");
    tlb.select(Some(1), Kind::User, false);
    assert!(hit(&tlb, 0x1000));
    tlb.flush_asid(2);
    assert!(hit(&tlb, 0x1000), "another address space was flushed");
    tlb.flush_asid(1);
    assert!(!hit(&tlb, 0x1000));
}

#[test]
fn write_tags_end_with_their_epoch() {
    let mem = memory();
    let mut tlb = Tlb::new();
    tlb.sync_epoch(&mem);
    tlb.allow(&mem, 0x1000, 0x1000, Allow::Write);
    let writes = |tlb: &Tlb| tlb.fast[1].write == 0x1000 | tlb.context;
    assert!(writes(&tlb));
    mem.mark_code(0x5000, 4);
    tlb.sync_epoch(&mem);
    assert!(!writes(&tlb));
    assert_eq!(tlb.fast[1].read, 0x1000 | tlb.context, "reads go on");
    tlb.allow(&mem, 0x1000, 0x1000, Allow::Write);
    assert!(writes(&tlb));
    mem.mark_code(0x1000, 4);
    tlb.sync_epoch(&mem);
    tlb.allow(&mem, 0x1000, 0x1000, Allow::Write);
    assert!(!writes(&tlb), "stores to code are never unseen");
}

#[test]
fn fetches_end_with_their_context() {
    let mut tlb = Tlb::new();
    let fetch = FetchTranslation { linear_page: 0x1000, frame: 0xa000, valid: true };
    let mut kept = |asid, kind| {
        tlb.select(Some(1), Kind::Supervisor, false);
        tlb.fetch = fetch;
        tlb.select(asid, kind, false);
        tlb.fetch.valid
    };
    assert!(kept(Some(1), Kind::Supervisor));
    assert!(kept(Some(1), Kind::SupervisorOverSmap), "EFLAGS.AC does not matter to fetches");
    assert!(!kept(Some(1), Kind::User));
    assert!(!kept(Some(2), Kind::Supervisor));
    assert!(!kept(None, Kind::Supervisor));
    assert!(fetch.covers(0x1fff) && !fetch.covers(0x2000));
    assert_eq!(fetch.address(0x1fff), 0xafff);
}

/// What is cached, in the simplest terms: one optional translation per index.
#[derive(Clone)]
struct Model {
    entries: Vec<Option<(u64, u16, Translation)>>,
}

impl Model {
    fn lookup(&self, linear: u64, asid: u16) -> Option<Translation> {
        self.entries[index_of(linear)]
            .filter(|(page, owner, t)| *page == linear & PAGE_MASK && (t.global || *owner == asid))
            .map(|(_, _, t)| t)
    }

    fn retain(&mut self, keep: impl Fn(u64, u16, &Translation) -> bool) {
        for entry in &mut self.entries {
            if entry.as_ref().is_some_and(|(page, asid, t)| !keep(*page, *asid, t)) {
                *entry = None;
            }
        }
    }
}

/// Every fast tag that some access could match must be backed by the architectural entry of its index.
fn check_fast_is_backed(tlb: &Tlb, model: &Model, mem: &GuestMemory) {
    for (asid, space) in (0_u16..).zip(tlb.spaces.iter()) {
        if space.id < tlb.oldest_space || space.serial < tlb.oldest_serial {
            continue;
        }
        let slot = 1 + space.serial % SLOTS;
        for entry in tlb.fast.iter() {
            for tag in [entry.read, entry.write, entry.exec] {
                if tag & 0xfff == EMPTY_TAG || (tag & 0xfff) >> 2 != slot {
                    continue;
                }
                let linear = tag & PAGE_MASK;
                let backing = model.lookup(linear, asid);
                let backing =
                    backing.unwrap_or_else(|| panic!("{linear:#x} of {asid} is fast but not cached"));
                assert_eq!(mem.offset_of(backing.frame), Some(linear.wrapping_add(entry.add)), "{linear:#x}");
            }
        }
    }
}

#[test]
fn random_operations_against_the_model() {
    const SIZES: [PageSize; 4] = [PageSize::Size4K, PageSize::Size2M, PageSize::Size4M, PageSize::Size1G];
    let mem = memory();
    let mut random = Generator::new(3);
    let mut tlb = Tlb::new();
    let mut model = Model { entries: vec![None; ENTRIES] };
    let mut current = 0_u16;
    for step in 0..60_000_u32 {
        let bits = random.next();
        let asid = (bits >> 8 & 3) as u16;
        // Few enough pages that they meet: three far apart regions, with conflicts of indices.
        let linear = [0, 0xffff_8000_0000_0000, 0x4000_0000][(bits >> 16) as usize % 3]
            + ((bits >> 20 & 0x1f) << 12)
            + ((bits >> 26 & 3) << 21);
        match bits & 0x3f {
            0 => {
                tlb.flush_all();
                model.retain(|_, _, _| false);
            }
            1 => {
                tlb.flush_all_but_global();
                model.retain(|_, _, t| t.global);
            }
            2 | 3 => {
                tlb.flush_asid(asid);
                model.retain(|_, owner, t| t.global || owner != asid);
            }
            4..=9 => {
                let with_global = bits >> 40 & 1 != 0;
                tlb.invalidate_page(linear, asid, with_global);
                model.retain(|page, owner, t| {
                    let inside = (page ^ linear) & !(t.size.bytes() - 1) == 0;
                    !(inside && if t.global { with_global } else { owner == asid })
                });
            }
            10 | 11 => {
                tlb.invalidate_faulting(linear, asid);
                model.retain(|page, owner, t| page != linear || !(t.global || owner == asid));
            }
            12 => tlb.drop_fast(),
            13..=20 => {
                current = asid;
                let kind =
                    [Kind::Supervisor, Kind::SupervisorOverSmap, Kind::User][(bits >> 41) as usize % 3];
                tlb.select(Some(asid), kind, bits >> 43 & 7 == 0);
            }
            21 => {
                let state = tlb.save();
                let mut restored = Tlb::new();
                restored.restore(state.clone()).expect("its own state");
                assert_eq!(restored.save(), state);
                restored.select(tlb.fetch_context.asid, tlb.kind, tlb.checks);
                assert_eq!(restored.fetch, if tlb.fetch.valid { tlb.fetch } else { Default::default() });
                tlb = restored;
            }
            22..=40 => {
                let translation = Translation {
                    frame: bits >> 44 & 0xf_f000,
                    rights: Rights {
                        writable: bits >> 44 & 1 != 0,
                        user: bits >> 45 & 1 != 0,
                        no_execute: bits >> 46 & 1 != 0,
                    },
                    size: SIZES[(bits >> 47) as usize % 4],
                    global: bits >> 49 & 7 == 0,
                    dirty: bits >> 52 & 1 != 0,
                };
                tlb.insert(linear, asid, translation);
                model.entries[index_of(linear)] = Some((linear, asid, translation));
            }
            _ => {
                let found = tlb.lookup(linear, current);
                assert_eq!(found, model.lookup(linear, current), "step {step}: {linear:#x} of {current}");
                if let Some(found) = found {
                    let allow = [Allow::Read, Allow::Write, Allow::Exec][(bits >> 41) as usize % 3];
                    if tlb.fetch_context.asid == Some(current) {
                        tlb.allow(&mem, linear, found.frame, allow);
                    }
                    tlb.fetch = FetchTranslation { linear_page: linear, frame: found.frame, valid: true };
                }
            }
        }
        if step % 16 == 0 {
            check_fast_is_backed(&tlb, &model, &mem);
        }
    }
}

#[test]
fn slots_start_over_without_mixing_address_spaces() {
    let mem = memory();
    let mut tlb = Tlb::new();
    // More flushes than there are slots, with one address space that is never flushed and keeps coming back.
    tlb.select(Some(7), Kind::User, false);
    tlb.insert(0x1000, 7, page(0xa000));
    tlb.allow(&mem, 0x1000, 0xa000, Allow::Read);
    for round in 0..3 * SLOTS {
        tlb.select(Some(1), Kind::User, false);
        tlb.flush_asid(1);
        assert_ne!(tlb.fast[1].read, 0x1000 | tlb.context, "round {round}: a tag of another address space");
        assert_ne!(tlb.context, DISABLED);
        assert!(tlb.context < 1 << 12);
        if round % 100 == 0 {
            tlb.select(Some(7), Kind::User, false);
            let tag = tlb.fast[1].read;
            assert!(tag == 0x1000 | tlb.context || tag == EMPTY_TAG, "round {round}");
            assert!(tlb.lookup(0x1000, 7).is_some(), "what is cached does not depend on slots");
        }
    }
}

#[test]
fn damaged_states_are_refused_and_change_nothing() {
    let mut tlb = Tlb::new();
    tlb.insert(0x1000, 1, page(0xa000));
    tlb.insert(0x7000, 2, global(0xb000));
    tlb.fetch = FetchTranslation { linear_page: 0x1000, frame: 0xa000, valid: true };
    let good = tlb.save();
    assert_eq!(good.entries.len(), 2);
    let refused = |damage: &dyn Fn(&mut TlbStateV1), word: &str| {
        let mut state = good.clone();
        damage(&mut state);
        let mut target = Tlb::new();
        target.insert(0x3000, 1, page(0xc000));
        let before = target.save();
        let error = target.restore(state).expect_err(word).to_string();
        assert!(error.contains(word), "{error}");
        assert_eq!(target.save(), before, "{word}: unchanged");
    };
    refused(&|state| state.entries[0].linear_page += 1, "linear_page");
    refused(&|state| state.entries[0].linear_page = 1 << 47, "canonical");
    refused(&|state| state.entries.swap(0, 1), "order");
    refused(&|state| state.entries[1].linear_page = 0x80_1000, "order");
    refused(&|state| state.entries[0].frame = 1 << 46, "frame");
    refused(&|state| state.entries[0].frame |= 1, "frame");
    refused(&|state| state.entries[0].asid = 4096, "asid");
    refused(&|state| state.entries[1].asid = 2, "asid");
    refused(&|state| state.entries[0].size = 13, "size");
    refused(&|state| state.fetch_linear_page = 0x1001, "fetch_linear_page");
    refused(&|state| state.fetch_frame = 0x1001, "fetch_frame");
    refused(&|state| state.fetch_valid = false, "fetch_valid");
    refused(&|state| state.fetch_asid = Some(4096), "fetch_asid");
}

#[test]
fn every_field_survives_saving() {
    let mut tlb = Tlb::new();
    let odd = Translation {
        frame: 0x3abc_dead_b000,
        rights: Rights { writable: false, user: true, no_execute: true },
        size: PageSize::Size1G,
        global: false,
        dirty: true,
    };
    let even = Translation {
        frame: 0x1000,
        rights: Rights { writable: true, user: false, no_execute: false },
        size: PageSize::Size4M,
        global: true,
        dirty: false,
    };
    tlb.insert(0xffff_8123_4567_8000, 0xabc, odd);
    tlb.insert(0x5000, 0xdef, even);
    tlb.select(Some(0xabc), Kind::User, false);
    tlb.fetch = FetchTranslation { linear_page: 0x7fff_ffff_f000, frame: 0x3fff_ffff_f000, valid: true };
    let state = tlb.save();
    let mut restored = Tlb::new();
    restored.restore(state.clone()).expect("its own state");
    assert_eq!(restored.save(), state);
    assert_eq!(restored.lookup(0xffff_8123_4567_8000, 0xabc), Some(odd));
    assert_eq!(restored.lookup(0xffff_8123_4567_8000, 0), None);
    assert_eq!(restored.lookup(0x5000, 0), Some(even));
    restored.select(Some(0xabc), Kind::User, false);
    assert_eq!(restored.fetch, tlb.fetch, "selecting what was selected keeps the fetch translation");
    // Pieces of large pages are still found by the page they are of.
    restored.invalidate_page(0xffff_8123_4000_0000, 0xabc, false);
    assert_eq!(restored.lookup(0xffff_8123_4567_8000, 0xabc), None);
}
