//! What stays cached, what does not, and that nothing but the architectural TLB shows.

use saved_state::{Restore, Save};
use x86_defs::control::CR4_PCIDE;
use x86_defs::paging::{GLOBAL, LARGE};

use super::*;
use crate::random::Generator;

#[test]
fn a_changed_entry_is_seen_after_a_flush_and_not_before() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 0);
    mem.write::<u32>(0x8000, 0x8888).expect("in RAM");
    mem.write::<u32>(0x9000, 0x9999).expect("in RAM");
    map(&mem, 0x5000, 0x8000, P | RW | ACCESSED | DIRTY);
    assert_eq!(cpu.read::<u32>(&mem, 0x5000, SEG_DS), Ok(0x8888));
    assert_eq!(cpu.translate_fetch(&mem, 0x5000), Ok(0x8000));
    map(&mem, 0x5000, 0x9000, P);
    for _ in 0..2 {
        assert_eq!(cpu.read::<u32>(&mem, 0x5000, SEG_DS), Ok(0x8888), "no flush yet");
        assert_eq!(cpu.translate_fetch(&mem, 0x5000), Ok(0x8000), "no flush yet");
        cpu.tlb.drop_fast();
    }
    cpu.write::<u32>(&mem, 0x5000, 0x7777, SEG_DS).expect("cached as writable and dirty");
    assert_eq!(mem.read::<u32>(0x8000), Ok(0x7777));
    cpu.tlb.invalidate_page(0x5fff, 0, true);
    assert_eq!(cpu.read::<u32>(&mem, 0x5000, SEG_DS), Ok(0x9999));
    assert_eq!(cpu.write::<u32>(&mem, 0x5000, 0, SEG_DS), Err(Fault));
    assert_eq!(exception(&mut cpu), page_fault(PF_WRITE | PF_PRESENT, 0x5000));
}

#[test]
fn an_entry_made_more_permissive_needs_no_flush() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 3);
    map(&mem, 0x5000, 0x8000, P | U | NO_EXECUTE);
    assert_eq!(cpu.read::<u32>(&mem, 0x5000, SEG_DS), Ok(0));
    map(&mem, 0x5000, 0x9000, P | U | RW);
    cpu.write::<u32>(&mem, 0x5000, 5, SEG_DS).expect("writable by the tables");
    assert_eq!(mem.read::<u32>(0x9000), Ok(5), "through the new entry");
    assert_eq!(cpu.read::<u32>(&mem, 0x5000, SEG_DS), Ok(5), "which is cached now");
    assert_eq!(cpu.translate_fetch(&mem, 0x5000), Ok(0x9000));
}

#[test]
fn accessed_and_dirty_are_set_by_walks_alone() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 0);
    map(&mem, 0x5000, 0x8000, P | RW);
    cpu.read::<u32>(&mem, 0x5000, SEG_DS).expect("mapped");
    assert_eq!(entry(&mem, 0x5000) & (ACCESSED | DIRTY), ACCESSED);
    cpu.write::<u32>(&mem, 0x5000, 1, SEG_DS).expect("mapped");
    assert_eq!(entry(&mem, 0x5000) & (ACCESSED | DIRTY), ACCESSED | DIRTY);
    map(&mem, 0x5000, 0x8000, P | RW);
    for _ in 0..2 {
        cpu.write::<u32>(&mem, 0x5000, 1, SEG_DS).expect("mapped");
        assert_eq!(entry(&mem, 0x5000) & (ACCESSED | DIRTY), 0, "cached as accessed and dirty");
        cpu.tlb.drop_fast();
    }
    cpu.tlb.flush_asid(0);
    cpu.read::<u32>(&mem, 0x5000, SEG_DS).expect("mapped");
    assert_eq!(entry(&mem, 0x5000) & (ACCESSED | DIRTY), ACCESSED);
}

#[test]
fn a_fault_drops_what_was_cached() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 3);
    map(&mem, 0x5000, 0x8000, P | U | ACCESSED);
    cpu.read::<u32>(&mem, 0x5000, SEG_DS).expect("mapped");
    map(&mem, 0x5000, 0, 0);
    assert_eq!(cpu.write::<u32>(&mem, 0x5000, 1, SEG_DS), Err(Fault));
    assert_eq!(exception(&mut cpu), page_fault(PF_USER | PF_WRITE, 0x5000));
    assert_eq!(cpu.read::<u32>(&mem, 0x5000, SEG_DS), Err(Fault), "gone with the fault");
}

#[test]
fn address_spaces_and_global_pages() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 0);
    // A second set of tables: its first page maps elsewhere, its second is the same global page.
    mem.write::<u64>(0xa000, 0xb000 | P | RW).expect("in RAM");
    mem.write::<u64>(0xb000, 0xc000 | P | RW).expect("in RAM");
    mem.write::<u64>(0xc000, 0xd000 | P | RW).expect("in RAM");
    mem.write::<u64>(0xd000 + 5 * 8, 0x9000 | P | RW).expect("in RAM");
    map(&mem, 0x5000, 0x8000, P | RW);
    map(&mem, 0x6000, 0xe000, P | RW | GLOBAL);
    for (frame, value) in [(0x8000_u64, 8_u32), (0x9000, 9), (0xe000, 14)] {
        mem.write(frame, value).expect("in RAM");
    }
    let load = |cpu: &mut Cpu, cr3: u64, keep: bool| {
        cpu.cr3 = cr3;
        cpu.tlb.cr3_loaded(cr3, cpu.cr4, keep);
        cpu.mode_changed();
    };
    cpu.cr4 |= CR4_PCIDE;
    cpu.mode_changed();
    for round in 0..3 {
        load(&mut cpu, PML4 | 1, round > 0);
        assert_eq!(cpu.read::<u32>(&mem, 0x5000, SEG_DS), Ok(8), "round {round}");
        assert_eq!(cpu.read::<u32>(&mem, 0x6000, SEG_DS), Ok(14), "round {round}");
        load(&mut cpu, 0xa002, round > 0);
        assert_eq!(cpu.read::<u32>(&mem, 0x5000, SEG_DS), Ok(9), "round {round}");
        assert_eq!(cpu.read::<u32>(&mem, 0x6000, SEG_DS), Ok(14), "global: the second tables have none");
    }
    // A global page outlives MOV to CR3 with a flush, but not a change of CR4.PGE.
    load(&mut cpu, 0xa002, false);
    assert_eq!(cpu.read::<u32>(&mem, 0x6000, SEG_DS), Ok(14));
    let old = cpu.cr4;
    cpu.cr4 &= !CR4_PGE;
    cpu.tlb.cr4_changed(old, cpu.cr4, cpu.cr3);
    cpu.mode_changed();
    assert_eq!(cpu.read::<u32>(&mem, 0x6000, SEG_DS), Err(Fault));
}

#[test]
fn fetches_go_on_from_their_page() {
    let mem = ram();
    let mut cpu = long_mode(&mem, 0);
    map(&mem, 0x5000, 0x8000, P);
    map(&mem, 0x6000, 0x9000, P);
    assert_eq!(cpu.translate_fetch(&mem, 0x5123), Ok(0x8123));
    let fetch = cpu.tlb.fetch;
    assert!(fetch.covers(0x5fff) && fetch.address(0x5fff) == 0x8fff);
    assert_eq!(cpu.translate_fetch_second(&mem, 0x6000), Ok(0x9000));
    assert_eq!(cpu.tlb.fetch, fetch, "the second page of an instruction changes nothing");
    // Pushed out of the TLB by the page with the same index, it stays.
    mem.write::<u64>(DIRECTORY + 4 * 8, 0xf000 | P | RW).expect("in RAM");
    mem.write::<u64>(0xf000 + 5 * 8, 0xa000 | P | RW).expect("in RAM");
    cpu.read::<u8>(&mem, 0x80_5000, SEG_DS).expect("mapped");
    assert!(cpu.tlb.lookup(0x5000, 0).is_none());
    assert_eq!(cpu.tlb.fetch, fetch);
    cpu.cpl = 3;
    cpu.mode_changed();
    assert!(!cpu.tlb.fetch.valid, "another privilege has other rights");
}

/// One processor with its own memory.
struct Side {
    mem: GuestMemory,
    cpu: Cpu,
}

/// What a processor could have cached and a guest could notice, after any interruption of its run.
fn interrupt(side: &mut Side, how: u64) {
    match how % 4 {
        0 => side.cpu.tlb.drop_fast(),
        1 => {
            let state = side.cpu.tlb.save();
            let mut tlb = crate::tlb::Tlb::new();
            tlb.restore(state).expect("its own state");
            side.cpu.tlb = tlb;
            side.cpu.mode_changed();
        }
        2 => {
            let _ = side.mem.take_dirty_log();
            side.cpu.tlb.sync_epoch(&side.mem);
        }
        _ => side.cpu.mode_changed(),
    }
}

/// One random step of a guest: accesses, changes of page tables with and without flush, changes of mode.
fn guest_step(side: &mut Side, random: &mut Generator) -> String {
    let Side { mem, cpu } = side;
    let bits = random.next();
    // Two regions with the same indices, and a large page away from the tables.
    let linear = [0, 0, 0x80_0000, 0xa4_0000][(bits >> 8) as usize & 3] + (bits >> 16 & 0x7fff);
    let value = random.next();
    let outcome = match bits & 0x1f {
        0..=7 => format!("read {:?}", cpu.read::<u64>(mem, linear, SEG_DS)),
        8..=12 => format!("write {:?}", cpu.write::<u32>(mem, linear, value as u32, SEG_DS)),
        13 => format!("modify {:?}", cpu.modify::<u16>(mem, linear, SEG_DS, |_, old| old ^ value as u16)),
        14..=17 => {
            if cpu.tlb.fetch.covers(linear) {
                format!("fetch goes on {:#x}", cpu.tlb.fetch.address(linear))
            } else {
                format!("fetch {:?}", cpu.translate_fetch(mem, linear))
            }
        }
        18 => format!("system {:?}", cpu.read_system::<u64>(mem, linear)),
        19..=22 => {
            // The tables change; sometimes that is followed by a flush.
            let table = if linear < 0x80_0000 { TABLE } else { 0xf000 };
            let flags = value & (RW | U | GLOBAL | ACCESSED | DIRTY | NO_EXECUTE);
            // Some of them are not RAM.
            let frame = 0x4_0000 + (value >> 20 & 0xf_f000);
            let present = u64::from(value >> 10 & 7 != 0);
            mem.write::<u64>(table + (linear >> 12 & 0x1ff) * 8, frame | flags | present).expect("in RAM");
            if value & 1 << 13 != 0 {
                cpu.tlb.invalidate_page(linear, asid_of(cpu.cr3, cpu.cr4), true);
            }
            String::new()
        }
        23 => {
            let flags = value & (RW | U | GLOBAL | ACCESSED | DIRTY);
            mem.write::<u64>(DIRECTORY + 5 * 8, LARGE | flags | P).expect("in RAM");
            if value & 1 << 13 != 0 {
                cpu.tlb.invalidate_page(linear, asid_of(cpu.cr3, cpu.cr4), true);
            }
            String::new()
        }
        24 | 25 => {
            cpu.cpl = if value & 1 != 0 { 3 } else { 0 };
            cpu.mode_changed();
            String::new()
        }
        26 => {
            cpu.load_rflags(value & AC);
            String::new()
        }
        27 => {
            let cr3 = PML4 | (value & 3);
            let keep = value & 4 != 0;
            cpu.cr3 = cr3;
            cpu.tlb.cr3_loaded(cr3, cpu.cr4, keep);
            cpu.mode_changed();
            String::new()
        }
        28 => {
            let old = cpu.cr4;
            let change = [CR4_SMAP, CR4_SMEP, CR4_PGE][value as usize % 3];
            cpu.cr4 ^= change;
            cpu.tlb.cr4_changed(old, cpu.cr4, cpu.cr3);
            cpu.mode_changed();
            String::new()
        }
        29 => {
            let old = cpu.cr0;
            cpu.cr0 ^= if value & 1 != 0 { CR0_WP } else { CR0_AM };
            cpu.tlb.cr0_changed(old, cpu.cr0);
            cpu.mode_changed();
            String::new()
        }
        30 => {
            cpu.dr[0] = linear;
            cpu.dr7 = 0x400 | u64::from(value & 7 == 0) | 3 << 16;
            cpu.mode_changed();
            String::new()
        }
        _ => {
            let offset = mem.offset_of(0x4_0000 + (value & 0xf_ffff) % 0xc_0000).expect("in RAM");
            mem.mark_code(offset, 1);
            cpu.tlb.sync_epoch(mem);
            String::new()
        }
    };
    let left = std::mem::take(&mut cpu.pending);
    let posted = std::mem::take(&mut cpu.posted);
    cpu.replay.clear();
    let debug = std::mem::take(&mut cpu.debug_pending);
    let _ = mem.take_code_writes();
    format!("{outcome} {left:?} {posted:?} {debug:x}")
}

#[test]
fn interruptions_never_show() {
    let new_side = || {
        let mem = ram();
        let mut cpu = long_mode(&mem, 0);
        cpu.cr4 |= CR4_PCIDE;
        cpu.mode_changed();
        mem.write::<u64>(DIRECTORY + 4 * 8, 0xf000 | P | RW | U).expect("in RAM");
        mem.write::<u64>(DIRECTORY + 5 * 8, LARGE | P | RW | U).expect("in RAM");
        Side { mem, cpu }
    };
    for seed in 0..8 {
        let (mut plain, mut interrupted) = (new_side(), new_side());
        let (mut first, mut second) = (Generator::new(seed), Generator::new(seed));
        let mut interruptions = Generator::new(seed + 1000);
        let mut succeeded = 0;
        for step in 0..20_000 {
            let choice = interruptions.next();
            if choice & 7 == 0 {
                interrupt(&mut interrupted, choice >> 8);
            }
            let expected = guest_step(&mut plain, &mut first);
            let seen = guest_step(&mut interrupted, &mut second);
            assert_eq!(seen, expected, "seed {seed} step {step}");
            succeeded += u32::from(expected.contains("Ok"));
        }
        assert!(succeeded > 3_000, "only {succeeded} accesses of seed {seed} succeeded");
        assert_eq!(interrupted.cpu.tlb.save(), plain.cpu.tlb.save(), "seed {seed}");
        let mut page = vec![0; RAM as usize];
        let mut other = page.clone();
        plain.mem.read_bytes(0, &mut page).expect("in RAM");
        interrupted.mem.read_bytes(0, &mut other).expect("in RAM");
        assert!(page == other, "memory differs, seed {seed}");
    }
}
