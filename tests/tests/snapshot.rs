//! A machine that is saved at a random instruction and goes on in a new process ends as one that never stopped: same digest, same
//! bytes on its serial port.

use std::ffi::OsString;

use tests::fixtures;
use tests::guest::LINUX_COMMAND_LINE;
use tests::program::{GuestRun, testudo};
use tests::random::Random;

fn words(arguments: &[&str]) -> Vec<OsString> {
    arguments.iter().map(OsString::from).collect()
}

/// Runs a guest uninterrupted, and then `rounds` times in `pieces` pieces, each in a process of its own.
fn check(guest: &[OsString], rounds: usize, pieces: usize, seed: u64) {
    let whole = GuestRun::new(guest);
    whole.outcome.expect(0);
    let total = whole.instructions();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let snapshot = folder.path().join("machine");
    let mut random = Random::new(seed);
    for _ in 0..rounds {
        let mut stops: Vec<u64> = (1..pieces).map(|_| 1 + random.below(total - 1)).collect();
        stops.sort_unstable();
        let (mut arguments, mut serial) = (guest.to_vec(), Vec::new());
        for stop in &stops {
            arguments.extend(words(&["--max-instructions", &stop.to_string(), "--snapshot"]));
            arguments.push(snapshot.clone().into());
            let piece = GuestRun::new(&arguments);
            piece.outcome.expect(66);
            assert_eq!(piece.report["ended"]["how"], "instruction-limit");
            assert_eq!(piece.instructions(), *stop, "the stop is exact");
            serial.extend(piece.serial);
            arguments = vec!["--restore".into(), snapshot.clone().into()];
        }
        let last = GuestRun::new(&arguments);
        serial.extend(&last.serial);
        last.outcome.expect(0);
        assert_eq!(last.instructions(), total, "stopped at {stops:?}");
        assert_eq!(last.report["virtual_time_ns"], whole.report["virtual_time_ns"], "stopped at {stops:?}");
        assert_eq!(
            String::from_utf8_lossy(&serial),
            String::from_utf8_lossy(&whole.serial),
            "stopped at {stops:?}"
        );
        assert_eq!(last.digest(), whole.digest(), "stopped at {stops:?}");
    }
}

fn hello(file: &str, more: &[&str]) -> Vec<OsString> {
    let mut arguments = words(&["--memory=16M", "--kernel"]);
    arguments.push(fixtures::path(file).into());
    arguments.extend(words(more));
    arguments
}

fn linux(cpus: u32) -> Vec<OsString> {
    let mut arguments =
        words(&["--memory=256M", "--append", LINUX_COMMAND_LINE, "--cpus", &cpus.to_string()]);
    arguments.push("--kernel".into());
    arguments.push(fixtures::path(fixtures::KERNEL).into());
    arguments.push("--initrd".into());
    arguments.push(fixtures::path(fixtures::INITRAMFS).into());
    arguments
}

#[test]
fn hello_goes_on_in_another_process() {
    check(&hello("hello-pvh.elf", &[]), 20, 3, 1);
}

#[test]
fn hello_goes_on_from_real_mode() {
    // The first 2000 instructions go through real and protected mode to 64-bit mode.
    check(&hello("hello.bin", &["--flat", "0x10000"]), 10, 3, 2);
    let guest = hello("hello.bin", &["--flat", "0x10000"]);
    let whole = GuestRun::new(&guest);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let snapshot = folder.path().join("machine");
    for stop in [1, 2, 5, 11, 23, 47] {
        let mut first = guest.clone();
        first.extend(words(&["--max-instructions", &stop.to_string(), "--snapshot"]));
        first.push(snapshot.clone().into());
        GuestRun::new(&first).outcome.expect(66);
        let rest = GuestRun::new(["--restore".as_ref(), snapshot.as_os_str()]);
        rest.outcome.expect(0);
        assert_eq!(rest.digest(), whole.digest(), "stopped after {stop} instructions");
    }
}

#[test]
fn hello_goes_on_with_several_processors() {
    check(&hello("hello-multiboot.elf", &["--cpus=4"]), 20, 3, 3);
}

#[test]
fn linux_goes_on_in_another_process() {
    check(&linux(1), 1, 3, 4);
}

#[test]
fn linux_goes_on_with_four_processors() {
    check(&linux(4), 1, 4, 5);
}

#[test]
fn a_snapshot_can_be_inspected() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let snapshot = folder.path().join("machine");
    let mut arguments = hello("hello-pvh.elf", &["--cpus=2", "--max-instructions=1M", "--snapshot"]);
    arguments.push(snapshot.clone().into());
    GuestRun::new(&arguments).outcome.expect(66);
    let outcome = testudo(["inspect".as_ref(), snapshot.as_os_str()]);
    outcome.expect(0);
    let text = String::from_utf8(outcome.stdout).expect("text");
    for expected in [
        "machine/0 version 1:",
        "vcpu/0 version",
        "vcpu/1 version",
        "uart/1 version",
        "cpus: 2",
        "ram/0 version 1: ",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    }
}
