//! Tables of cases from SDM 3A chapter 4, and an oracle that says the rules of 4.6 and 4.7 in another way.

use guest_memory::{GuestMemory, Slot};
use x86_defs::exception::{PF_FETCH, PF_PRESENT, PF_RESERVED, PF_USER, PF_WRITE};
use x86_defs::paging::{ACCESSED, DIRTY, GLOBAL, LARGE, NO_EXECUTE, PRESENT, USER, WRITABLE};

use super::{
    Access, Controls, Entries, InMemory, Mode, PageSize, Paging, ReadOnly, ReservedBitSet, Rights, Stop,
    Translation, load_pdptes, walk,
};
use crate::random::Generator;

/// Tables live here, one page each, from the top level down.
const TABLES: [u64; 4] = [0x1000, 0x2000, 0x3000, 0x4000];
const P: u64 = PRESENT;
const RW: u64 = WRITABLE;
const U: u64 = USER;
const NX: u64 = NO_EXECUTE;

const NOTHING: Controls = Controls {
    write_protect: false,
    page_size_extension: false,
    global_pages: false,
    smep: false,
    smap: false,
    no_execute: false,
};

fn memory() -> GuestMemory {
    GuestMemory::new(&[Slot { base: 0, len: 0x1_0000 }]).expect("a small slot")
}

fn paging(mode: Mode, controls: Controls) -> Paging {
    Paging { mode, cr3: TABLES[0], pdptes: [TABLES[0] | P; 4], controls }
}

const READ: Access = Access { write: false, fetch: false, user: false, smap_override: false };
const WRITE: Access = Access { write: true, ..READ };
const FETCH: Access = Access { fetch: true, ..READ };
const USER_READ: Access = Access { user: true, ..READ };
const USER_WRITE: Access = Access { user: true, ..WRITE };
const USER_FETCH: Access = Access { user: true, ..FETCH };

fn run(mem: &GuestMemory, paging: &Paging, linear: u64, access: Access) -> Result<Translation, u32> {
    walk(paging, linear, access, &mut InMemory(mem)).map_err(|stop| match stop {
        Stop::PageFault(code) => code,
        Stop::Entries(never) => match never {},
    })
}

/// Levels of a format and bytes of its entries.
fn shape(mode: Mode) -> (usize, u64) {
    match mode {
        Mode::Bits32 => (2, 4),
        Mode::Pae => (2, 8),
        Mode::FourLevel => (4, 8),
    }
}

/// The addresses of the entries that translate `linear`, from the top, in tables that are chained in order.
fn entry_addresses(mode: Mode, linear: u64) -> Vec<u64> {
    let (levels, size) = shape(mode);
    let width = if size == 4 { 10 } else { 9 };
    (0..levels)
        .map(|depth| {
            let shift = 12 + width * (levels - 1 - depth) as u32;
            TABLES[depth] + (linear >> shift & ((1 << width) - 1)) * size
        })
        .collect()
}

fn put(mem: &GuestMemory, mode: Mode, address: u64, entry: u64) {
    if shape(mode).1 == 4 {
        mem.write(address, entry as u32).expect("in RAM");
    } else {
        mem.write(address, entry).expect("in RAM");
    }
}

fn get(mem: &GuestMemory, mode: Mode, address: u64) -> u64 {
    if shape(mode).1 == 4 {
        u64::from(mem.read::<u32>(address).expect("in RAM"))
    } else {
        mem.read(address).expect("in RAM")
    }
}

/// Chains tables for `linear` so that the entry of each level has the flags in `flags` (from the top); the one that maps a page
/// maps `frame`.
fn build(mem: &GuestMemory, mode: Mode, linear: u64, flags: &[u64], frame: u64) {
    for (depth, (&flags, address)) in flags.iter().zip(entry_addresses(mode, linear)).enumerate() {
        let maps_page = depth + 1 == shape(mode).0 || flags & LARGE != 0;
        put(mem, mode, address, flags | if maps_page { frame } else { TABLES[depth + 1] });
    }
}

const ALL_MODES: [(Mode, u64); 3] =
    [(Mode::Bits32, 0x1234_5678), (Mode::Pae, 0x1234_5678), (Mode::FourLevel, 0xffff_8765_4321_0fed)];

#[test]
fn every_format_translates_and_sets_accessed_and_dirty() {
    for (mode, linear) in ALL_MODES {
        let mem = memory();
        let levels = shape(mode).0;
        build(&mem, mode, linear, &vec![P | RW | U; levels], 0x5000);
        let addresses = entry_addresses(mode, linear);
        let translation = run(&mem, &paging(mode, NOTHING), linear, USER_READ).expect("mapped");
        assert_eq!(
            translation,
            Translation {
                frame: 0x5000,
                rights: Rights { writable: true, user: true, no_execute: false },
                size: PageSize::Size4K,
                global: false,
                dirty: false
            },
            "{mode:?}"
        );
        for &address in &addresses {
            assert_eq!(get(&mem, mode, address) & (ACCESSED | DIRTY), ACCESSED, "{mode:?} {address:#x}");
        }
        assert!(run(&mem, &paging(mode, NOTHING), linear, USER_WRITE).expect("mapped").dirty);
        for &address in &addresses {
            let leaf = address == addresses[levels - 1];
            assert_eq!(get(&mem, mode, address) & DIRTY != 0, leaf, "{mode:?}: dirty in the leaf only");
        }
        assert!(run(&mem, &paging(mode, NOTHING), linear, READ).expect("mapped").dirty, "{mode:?}: still");
    }
}

#[test]
fn a_refused_access_sets_no_flag_in_the_leaf() {
    for (mode, linear) in ALL_MODES {
        let mem = memory();
        let levels = shape(mode).0;
        build(&mem, mode, linear, &vec![P; levels], 0x5000);
        let addresses = entry_addresses(mode, linear);
        assert_eq!(
            run(&mem, &paging(mode, NOTHING), linear, USER_WRITE),
            Err(PF_PRESENT | PF_USER | PF_WRITE),
            "{mode:?}"
        );
        assert_eq!(get(&mem, mode, addresses[levels - 1]), 0x5000 | P, "{mode:?}: leaf untouched");
        assert_eq!(get(&mem, mode, addresses[0]) & ACCESSED, ACCESSED, "{mode:?}: walked through");
    }
}

#[test]
fn probing_sets_no_flags() {
    for (mode, linear) in ALL_MODES {
        let mem = memory();
        let flags = vec![P | RW | U; shape(mode).0];
        build(&mem, mode, linear, &flags, 0x5000);
        assert!(walk(&paging(mode, NOTHING), linear, USER_WRITE, &mut ReadOnly(&mem)).is_ok());
        for address in entry_addresses(mode, linear) {
            assert_eq!(get(&mem, mode, address) & (ACCESSED | DIRTY), 0, "{mode:?}");
        }
    }
}

#[test]
fn not_present_at_each_level_comes_before_everything() {
    let strict = Controls { smep: true, smap: true, write_protect: true, ..NOTHING };
    for (mode, linear) in ALL_MODES {
        let levels = shape(mode).0;
        for missing in 0..levels {
            let mem = memory();
            // Reserved bits and missing rights in an absent entry mean nothing; missing rights above it neither.
            let mut flags = vec![P; levels];
            flags[missing] = if shape(mode).1 == 8 { NX | 1 << 51 } else { RW };
            build(&mem, mode, linear, &flags, 0x5000);
            let case = format!("{mode:?} level {missing}");
            let paging = paging(mode, strict);
            assert_eq!(run(&mem, &paging, linear, READ), Err(0), "{case}");
            assert_eq!(run(&mem, &paging, linear, USER_WRITE), Err(PF_USER | PF_WRITE), "{case}");
            assert_eq!(run(&mem, &paging, linear, USER_FETCH), Err(PF_USER | PF_FETCH), "{case}");
        }
    }
    let mem = memory();
    let mut absent = paging(Mode::Pae, NOTHING);
    absent.pdptes[1] &= !P;
    assert_eq!(run(&mem, &absent, 0x4000_0000, WRITE), Err(PF_WRITE), "PDPTE register 1");
}

#[test]
fn reserved_bits_of_each_level() {
    let nx_on = Controls { no_execute: true, ..NOTHING };
    let pse = Controls { page_size_extension: true, ..NOTHING };
    let reserved = PF_PRESENT | PF_RESERVED;
    // (mode, controls, flags from the top, access, result)
    type Case = (Mode, Controls, &'static [u64], Access, Result<PageSize, u32>);
    let cases: &[Case] = &[
        // Bit 7 of a PML4E is reserved; the highest address bit is bit 45.
        (Mode::FourLevel, NOTHING, &[P | LARGE], READ, Err(reserved)),
        (Mode::FourLevel, NOTHING, &[P | 1 << 46], READ, Err(reserved)),
        (Mode::FourLevel, NOTHING, &[P | 1 << 51], READ, Err(reserved)),
        (Mode::FourLevel, NOTHING, &[P | 1 << 52, P | 1 << 62, P, P], READ, Ok(PageSize::Size4K)),
        (Mode::FourLevel, NOTHING, &[P, P | 1 << 46], READ, Err(reserved)),
        (Mode::FourLevel, NOTHING, &[P, P, P | 1 << 46], READ, Err(reserved)),
        (Mode::FourLevel, NOTHING, &[P, P, P, P | 1 << 46], WRITE, Err(reserved | PF_WRITE)),
        // Execute-disable is reserved without EFER.NXE, and then a fetch is not told as one.
        (Mode::FourLevel, NOTHING, &[P | NX], READ, Err(reserved)),
        (Mode::FourLevel, NOTHING, &[P, P, P, P | NX], FETCH, Err(reserved)),
        (Mode::FourLevel, nx_on, &[P, P, P, P | NX], READ, Ok(PageSize::Size4K)),
        (Mode::FourLevel, nx_on, &[P, P | NX, P, P], FETCH, Err(PF_PRESENT | PF_FETCH)),
        // Large pages: 1 GiB 29:13, 2 MiB 20:13; bit 12 is PAT.
        (Mode::FourLevel, NOTHING, &[P, P | LARGE | 1 << 12], READ, Ok(PageSize::Size1G)),
        (Mode::FourLevel, NOTHING, &[P, P | LARGE | 1 << 13], READ, Err(reserved)),
        (Mode::FourLevel, NOTHING, &[P, P | LARGE | 1 << 29], READ, Err(reserved)),
        (Mode::FourLevel, NOTHING, &[P, P, P | LARGE | 1 << 12], READ, Ok(PageSize::Size2M)),
        (Mode::FourLevel, NOTHING, &[P, P, P | LARGE | 1 << 13], READ, Err(reserved)),
        (Mode::FourLevel, NOTHING, &[P, P, P | LARGE | 1 << 20], USER_READ, Err(reserved | PF_USER)),
        // Bit 7 of a PTE is PAT.
        (Mode::FourLevel, NOTHING, &[P, P, P, P | 1 << 7], READ, Ok(PageSize::Size4K)),
        // PAE: 62:46 and, without NXE, 63.
        (Mode::Pae, NOTHING, &[P | 1 << 62], READ, Err(reserved)),
        (Mode::Pae, NOTHING, &[P | 1 << 46], READ, Err(reserved)),
        (Mode::Pae, NOTHING, &[P, P | 1 << 52], READ, Err(reserved)),
        (Mode::Pae, NOTHING, &[P, P | NX], READ, Err(reserved)),
        (Mode::Pae, nx_on, &[P, P | NX], READ, Ok(PageSize::Size4K)),
        (Mode::Pae, nx_on, &[P | NX, P], USER_FETCH, Err(PF_PRESENT | PF_USER | PF_FETCH)),
        (Mode::Pae, NOTHING, &[P | LARGE], READ, Ok(PageSize::Size2M)),
        (Mode::Pae, NOTHING, &[P | LARGE | 1 << 13], READ, Err(reserved)),
        // 32-bit: only bit 21 of a 4 MiB entry; without PSE bit 7 is ignored.
        (Mode::Bits32, pse, &[P | LARGE], READ, Ok(PageSize::Size4M)),
        (Mode::Bits32, pse, &[P | LARGE | 1 << 21], READ, Err(reserved)),
        (Mode::Bits32, pse, &[P | LARGE | 1 << 20], READ, Ok(PageSize::Size4M)),
    ];
    for (number, &(mode, controls, flags, access, expected)) in cases.iter().enumerate() {
        let mem = memory();
        let linear = 0x1234_5678;
        build(&mem, mode, linear, flags, 0);
        let result = run(&mem, &paging(mode, controls), linear, access).map(|translation| translation.size);
        assert_eq!(result, expected, "case {number}: {mode:?} {flags:x?}");
    }
}

#[test]
fn without_pse_the_size_bit_is_ignored() {
    let mem = memory();
    let linear = 0x1234_5678;
    let addresses = entry_addresses(Mode::Bits32, linear);
    put(&mem, Mode::Bits32, addresses[0], TABLES[1] | P | LARGE);
    put(&mem, Mode::Bits32, addresses[1], 0x7000 | P);
    let translation = run(&mem, &paging(Mode::Bits32, NOTHING), linear, READ).expect("mapped");
    assert_eq!((translation.frame, translation.size), (0x7000, PageSize::Size4K));
}

#[test]
fn large_pages_and_where_their_pieces_are() {
    let pse = Controls { page_size_extension: true, ..NOTHING };
    // (mode, depth of the entry, entry, linear, frame)
    let cases: &[(Mode, usize, u64, u64, u64)] = &[
        (Mode::Bits32, 0, 0x0040_0000, 0x1234_5678, 0x0074_5000),
        // PSE-36: bits 20:13 are address bits 39:32.
        (Mode::Bits32, 0, 0xffc0_0000 | 0xff << 13, 0x1234_5678, 0xff_fff4_5000),
        (Mode::Bits32, 0, 1 << 13, 0x1234_5678, 0x1_0034_5000),
        (Mode::Pae, 0, 0x3fff_ffe0_0000, 0x1234_5678, 0x3fff_fff4_5000),
        (Mode::FourLevel, 2, 0x3fff_ffe0_0000 | 1 << 12, 0xffff_8765_4321_0fed, 0x3fff_ffe1_0000),
        (Mode::FourLevel, 1, 0x3fff_c000_0000 | 1 << 12, 0xffff_8765_4321_0fed, 0x3fff_c321_0000),
    ];
    for &(mode, depth, entry, linear, frame) in cases {
        let mem = memory();
        let addresses = entry_addresses(mode, linear);
        for above in 0..depth {
            put(&mem, mode, addresses[above], TABLES[above + 1] | P);
        }
        put(&mem, mode, addresses[depth], entry | P | LARGE);
        let translation = run(&mem, &paging(mode, pse), linear, WRITE).expect("mapped");
        assert_eq!(translation.frame, frame, "{mode:?} depth {depth}");
        assert_eq!(get(&mem, mode, addresses[depth]), entry | P | LARGE | ACCESSED | DIRTY, "{mode:?}");
    }
}

#[test]
fn global_needs_pge_and_the_leaf() {
    let mem = memory();
    let linear = 0x1234_5678;
    let pge = Controls { global_pages: true, ..NOTHING };
    let addresses = entry_addresses(Mode::Bits32, linear);
    put(&mem, Mode::Bits32, addresses[0], TABLES[1] | P | GLOBAL);
    put(&mem, Mode::Bits32, addresses[1], P);
    let global = |controls| run(&mem, &paging(Mode::Bits32, controls), linear, READ).expect("mapped").global;
    assert!(!global(pge), "G of a directory entry means nothing");
    put(&mem, Mode::Bits32, addresses[1], P | GLOBAL);
    assert!(global(pge));
    assert!(!global(NOTHING));
}

/// The rules of SDM 3A 4.6.1 as the manual lists them: mode by mode, one sentence at a time.
fn allowed_by_the_manual(rights: [bool; 3], access: Access, controls: Controls) -> bool {
    let [writable, user_page, no_execute] = rights;
    let Controls { write_protect, smep, smap, no_execute: nxe, .. } = controls;
    match (access.user, access.write, access.fetch) {
        // Supervisor-mode data reads.
        (false, false, false) => {
            if user_page {
                !smap || access.smap_override
            } else {
                true
            }
        }
        // Supervisor-mode data writes.
        (false, true, _) => match (user_page, write_protect) {
            (false, false) => true,
            (false, true) => writable,
            (true, false) => !smap || access.smap_override,
            (true, true) => writable && (!smap || access.smap_override),
        },
        // Supervisor-mode instruction fetches.
        (false, false, true) => {
            if user_page {
                !smep && (!nxe || !no_execute)
            } else {
                !nxe || !no_execute
            }
        }
        // User-mode data reads, data writes, instruction fetches.
        (true, false, false) => user_page,
        (true, true, _) => user_page && writable,
        (true, false, true) => user_page && (!nxe || !no_execute),
    }
}

#[test]
fn every_right_access_and_control_against_the_manual() {
    let accesses = [READ, WRITE, FETCH, USER_READ, USER_WRITE, USER_FETCH]
        .into_iter()
        .chain([READ, WRITE].map(|access| Access { smap_override: true, ..access }));
    let mut compared = 0;
    let mem = memory();
    for access in accesses {
        for bits in 0..32_u32 {
            let bit = |n: u32| bits >> n & 1 != 0;
            let controls = Controls {
                write_protect: bit(0),
                smep: bit(1),
                smap: bit(2),
                no_execute: bit(3),
                global_pages: bit(4),
                page_size_extension: bit(4),
            };
            for (mode, linear) in ALL_MODES {
                let levels = shape(mode).0;
                let nx_exists = mode != Mode::Bits32 && controls.no_execute;
                // 32-bit paging never has NXE in its controls.
                let controls = Controls { no_execute: nx_exists, ..controls };
                // Each right taken away at each level, alone and together.
                for takes in 0..1_u32 << (3 * levels.min(3)) {
                    let mut flags = vec![P | RW | U; levels];
                    let mut rights = [true, true, false];
                    for (level, flags) in flags.iter_mut().enumerate().take(3) {
                        let take = takes >> (3 * level) & 7;
                        if take & 1 != 0 {
                            *flags &= !RW;
                            rights[0] = false;
                        }
                        if take & 2 != 0 {
                            *flags &= !U;
                            rights[1] = false;
                        }
                        if take & 4 != 0 && nx_exists {
                            *flags |= NX;
                            rights[2] = true;
                        }
                    }
                    build(&mem, mode, linear, &flags, 0x5000);
                    let expected = if allowed_by_the_manual(rights, access, controls) {
                        Ok(0x5000)
                    } else {
                        let mut code = PF_PRESENT;
                        if access.write {
                            code |= PF_WRITE;
                        }
                        if access.user {
                            code |= PF_USER;
                        }
                        if access.fetch && (controls.smep || nx_exists) {
                            code |= PF_FETCH;
                        }
                        Err(code)
                    };
                    let result = run(&mem, &paging(mode, controls), linear, access);
                    assert_eq!(
                        result.map(|translation| translation.frame),
                        expected,
                        "{mode:?} {access:?} {controls:?} {flags:x?}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 100_000, "only {compared} cases");
}

#[test]
fn tables_outside_ram_read_as_ones_and_never_harm() {
    let mem = memory();
    for (mode, expected) in [
        (Mode::FourLevel, Err(PF_PRESENT | PF_RESERVED)),
        (Mode::Pae, Err(PF_PRESENT | PF_RESERVED)),
        // A page table of ones maps the last page of 4 GiB.
        (Mode::Bits32, Ok(0xffff_f000)),
    ] {
        let mut outside = paging(mode, NOTHING);
        outside.cr3 = 0x8000_0000;
        outside.pdptes = [0x8000_0000 | P; 4];
        let result = run(&mem, &outside, 0x1234_5678, WRITE).map(|translation| translation.frame);
        assert_eq!(result.map_err(|code| code & !PF_WRITE), expected, "{mode:?}");
    }
    let mut pse = paging(Mode::Bits32, Controls { page_size_extension: true, ..NOTHING });
    pse.cr3 = 0x8000_0000;
    assert_eq!(run(&mem, &pse, 0, READ), Err(PF_PRESENT | PF_RESERVED), "bit 21 is reserved");
}

#[test]
fn pdptes_are_checked_as_they_are_loaded() {
    let mem = memory();
    let cr3 = 0x6020_u64;
    let load = || load_pdptes(cr3 | 0x18, &mut InMemory(&mem)).expect("no second dimension");
    let good = [0x1000 | P, 0, 0x3fff_ffff_f000 | P | 0xe18, !P];
    for (pdpte, index) in good.into_iter().zip(0..) {
        mem.write::<u64>(cr3 + index * 8, pdpte).expect("in RAM");
    }
    assert_eq!(load(), Ok(good), "reserved bits matter only in a present PDPTE");
    for bit in [1, 2, 5, 6, 7, 8, 46, 51, 52, 62, 63] {
        mem.write::<u64>(cr3 + 8, P | 1 << bit).expect("in RAM");
        assert_eq!(load(), Err(ReservedBitSet), "bit {bit}");
        mem.write::<u64>(cr3 + 8, 1 << bit).expect("in RAM");
        assert!(load().is_ok(), "bit {bit} without P");
    }
    let outside = load_pdptes(0x8000_0000, &mut InMemory(&mem)).expect("no second dimension");
    assert_eq!(outside, Err(ReservedBitSet), "ones from an empty bus");
}

/// Entries that somebody else changes at the moment of the first update.
struct Raced<'a> {
    inner: InMemory<'a>,
    races: u32,
    replacement: u64,
}

impl Entries for Raced<'_> {
    type Error = std::convert::Infallible;

    fn read(&mut self, address: u64, size: u8) -> Result<u64, Self::Error> {
        self.inner.read(address, size)
    }

    fn compare_exchange(&mut self, address: u64, size: u8, old: u64, new: u64) -> Result<bool, Self::Error> {
        if self.races > 0 && address >= TABLES[3] {
            self.races -= 1;
            self.inner.0.write::<u64>(address, self.replacement).expect("in RAM");
        }
        self.inner.compare_exchange(address, size, old, new)
    }
}

#[test]
fn an_entry_that_changed_meanwhile_is_walked_again() {
    let linear = 0xffff_8765_4321_0fed;
    let mem = memory();
    build(&mem, Mode::FourLevel, linear, &[P | RW; 4], 0x5000);
    let mut raced = Raced { inner: InMemory(&mem), races: 1, replacement: 0x7000 | P | RW };
    let translation =
        walk(&paging(Mode::FourLevel, NOTHING), linear, WRITE, &mut raced).expect("mapped to something else");
    assert_eq!(translation.frame, 0x7000, "never the frame that is not there any more");
    let leaf = entry_addresses(Mode::FourLevel, linear)[3];
    assert_eq!(get(&mem, Mode::FourLevel, leaf), 0x7000 | P | RW | ACCESSED | DIRTY);
    // And if it is gone by then, nothing is written into it.
    build(&mem, Mode::FourLevel, linear, &[P | RW; 4], 0x5000);
    let mut raced = Raced { inner: InMemory(&mem), races: 1, replacement: 0x7000 };
    assert_eq!(
        walk(&paging(Mode::FourLevel, NOTHING), linear, WRITE, &mut raced),
        Err(Stop::PageFault(PF_WRITE))
    );
    assert_eq!(get(&mem, Mode::FourLevel, leaf), 0x7000);
}

#[test]
fn random_tables_end_in_a_translation_or_a_fault() {
    let mem = memory();
    let mut random = Generator::new(7);
    let mut translated = 0;
    for round in 0..200_000_u32 {
        if round % 64 == 0 {
            for word in 0..mem.len() / 8 {
                // Mostly entries that lead on within RAM, some of anything.
                let value = random.next();
                let entry = if value >> 62 == 0 {
                    random.next()
                } else {
                    (value & 0xf000) | (value >> 16 & 0x7e7) | P
                };
                mem.write::<u64>(word * 8, entry).expect("in RAM");
            }
        }
        let bits = random.next();
        let bit = |n: u32| bits >> n & 1 != 0;
        let mode = [Mode::Bits32, Mode::Pae, Mode::FourLevel][(bits >> 32) as usize % 3];
        let controls = Controls {
            write_protect: bit(0),
            page_size_extension: bit(1),
            global_pages: bit(2),
            smep: bit(3),
            smap: bit(4),
            no_execute: bit(5) && mode != Mode::Bits32,
        };
        let cr3 = if bit(6) { random.next() } else { random.next() & 0xffff };
        let paging =
            Paging { mode, cr3, pdptes: [random.next() & 0xffff, random.next(), 1, 0x1001], controls };
        let fetch = bit(7);
        let access =
            Access { write: !fetch && bit(8), fetch, user: bit(9), smap_override: !bit(9) && bit(10) };
        match walk(&paging, random.next(), access, &mut InMemory(&mem)) {
            Ok(translation) => {
                translated += 1;
                assert_eq!(
                    translation.frame & !super::ADDRESS,
                    0,
                    "a page within the physical address width"
                );
                assert!(translation.rights.permit(access, controls));
                assert!(!access.write || translation.dirty);
            }
            Err(Stop::PageFault(code)) => {
                assert_eq!(code & PF_WRITE != 0, access.write);
                assert_eq!(code & PF_USER != 0, access.user);
                assert!(code & PF_RESERVED == 0 || code & PF_PRESENT != 0, "reserved without present");
            }
            Err(Stop::Entries(never)) => match never {},
        }
    }
    assert!(translated > 10_000, "only {translated} of the random walks translated");
}
