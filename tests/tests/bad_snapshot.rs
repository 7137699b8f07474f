//! Snapshots that are damaged, and snapshots that somebody forged: an error, or a machine that behaves badly, never worse.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use machine::boot::BootSource;
use machine::host::Captured;
use machine::{Config, Machine};
use tests::random::Random;
use tests::{fixtures, guest};

/// A machine in the middle of its work.
fn snapshot(cpus: u32) -> Vec<u8> {
    let kernel = fixtures::read("hello-pvh.elf");
    let config = Config { memory: 4 << 20, cpus, ..Config::default() };
    let run = guest::run(config, &BootSource::new(&kernel, "hello"), Some(1_500_000));
    let mut bytes = Cursor::new(Vec::new());
    run.machine.snapshot(&mut bytes).expect("memory takes everything");
    bytes.into_inner()
}

#[test]
fn a_cut_off_snapshot_is_refused() {
    let intact = snapshot(1);
    let mut random = Random::new(1);
    let lengths = (0..200).chain((0..200).map(|_| random.below(intact.len() as u64) as usize));
    for len in lengths {
        assert!(Machine::from_snapshot(&intact[..len]).is_err(), "cut off at {len}");
    }
}

#[test]
fn a_changed_snapshot_is_refused() {
    let intact = snapshot(1);
    let mut random = Random::new(2);
    let mut changed = intact.clone();
    for _ in 0..200 {
        let at = random.below(intact.len() as u64) as usize;
        changed[at] ^= 1 << random.below(8);
        assert!(Machine::from_snapshot(&changed).is_err(), "changed at {at:#x}");
        changed[at] = intact[at];
    }
    Machine::from_snapshot(&intact).expect("the intact snapshot");
}

/// The container's table, as the README of `saved_state` has it: offset and length of each section.
fn sections(bytes: &[u8]) -> Vec<(usize, usize)> {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let count = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes"));
    (0..count as usize)
        .map(|index| 64 + 96 * index)
        .map(|entry| (number(entry + 40) as usize, number(entry + 48) as usize))
        .collect()
}

/// Makes the checksums right again.
fn seal(bytes: &mut [u8]) {
    let sections = sections(bytes);
    for (index, &(offset, len)) in sections.iter().enumerate() {
        let hash = blake3::hash(&bytes[offset..offset + len]);
        let entry = 64 + 96 * index;
        bytes[entry + 64..entry + 96].copy_from_slice(hash.as_bytes());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..32]).update(&bytes[64..64 + 96 * sections.len()]);
    bytes[32..64].copy_from_slice(hasher.finalize().as_bytes());
}

#[test]
fn a_forged_snapshot_does_no_harm() {
    let mut random = Random::new(3);
    let (mut refused, mut ran) = (0, 0);
    for cpus in [1, 3] {
        let intact = snapshot(cpus);
        let states: Vec<(usize, usize)> =
            sections(&intact).into_iter().filter(|&(_, len)| len > 0 && len < 1 << 20).collect();
        for round in 0..700 {
            let mut forged = intact.clone();
            for _ in 0..3 {
                let (offset, len) = states[random.below(states.len() as u64) as usize];
                let at = offset + random.below(len as u64) as usize;
                match forged[at] {
                    // Names of fields: with another one, nothing is looked at.
                    b'a'..=b'z' | b'_' if random.below(100) != 0 => {}
                    // A small number becomes another small number, or the next one grows large.
                    0..0x80 if random.below(2) == 0 => forged[at] = random.below(0x80) as u8,
                    0xcc..=0xcf => {
                        let end = (at + 1 + random.below(8) as usize).min(offset + len);
                        forged[(at + 1).min(end)..end].fill(0xff);
                    }
                    _ => forged[at] = random.next() as u8,
                }
            }
            seal(&mut forged);
            let outcome = catch_unwind(AssertUnwindSafe(|| match Machine::from_snapshot(&forged) {
                Ok(mut machine) => {
                    let most = machine.retired().saturating_add(50_000);
                    machine.run(&mut Captured::default(), Some(most));
                    // All of it can be looked at.
                    assert_eq!(machine.digest(), machine.digest());
                    true
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    false
                }
            }));
            match outcome {
                Ok(true) => ran += 1,
                Ok(false) => refused += 1,
                Err(_) => panic!("a panic in round {round} with {cpus} processors"),
            }
        }
    }
    assert!(refused > 100 && ran > 100, "{refused} refused, {ran} ran");
}
