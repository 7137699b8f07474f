//! Guests from power-on to their end, on every boot protocol.

use machine::boot::{BootSource, Module, Protocol};
use machine::{Config, End};
use tests::guest::{self, Run};
use tests::{fixtures, guest::run_linux};

fn run_hello(file: &str, address: Option<u64>, cpus: u32) -> Run {
    let kernel = fixtures::read(file);
    let source = BootSource { flat_address: address, ..BootSource::new(&kernel, file) };
    guest::run(Config { memory: 64 << 20, cpus, ..Config::default() }, &source, Some(500_000_000))
}

fn expect_all_checks(run: &Run) {
    run.expect_power_off();
    let serial = run.serial();
    let summary = serial.lines().find(|line| line.starts_with("hello: all ")).expect("a summary");
    assert!(summary.contains("checks passed"), "{summary}");
    assert!(!serial.contains("FAILED"), "{serial}");
    run.expect_line("hello: powering off");
}

#[test]
fn hello_on_every_protocol() {
    let expected =
        ["flat image in real mode", "multiboot in 32-bit", "PVH in 32-bit", "Linux boot protocol, 64-bit"];
    for ((file, address), expected) in fixtures::HELLO.into_iter().zip(expected) {
        let run = run_hello(file, address, 1);
        expect_all_checks(&run);
        assert!(run.serial().contains(&format!("boot: {expected}")), "{file}: {}", run.serial());
    }
}

#[test]
fn hello_with_several_processors() {
    for cpus in [2, 4, 16] {
        for (file, address) in fixtures::HELLO {
            let run = run_hello(file, address, cpus);
            expect_all_checks(&run);
            run.expect_line(&format!("processors: {cpus}"));
            for vcpu in 0..cpus as usize {
                assert!(run.machine.vm().retired_by(vcpu) > 1_000, "processor {vcpu} of {cpus} has worked");
            }
        }
    }
}

#[test]
fn a_flat_image_runs_in_real_mode_wherever_it_is() {
    let kernel = fixtures::read("hello-flat.bin");
    for address in [0x1000, 0x7c00, 0x1_0000, 0x8_fff0] {
        let source = BootSource { flat_address: Some(address), ..BootSource::new(&kernel, "flat") };
        let run = guest::run(Config { memory: 2 << 20, ..Config::default() }, &source, Some(1_000_000));
        assert_eq!(run.end, End::Exit { status: 0x21 }, "at {address:#x}");
        assert_eq!(run.serial(), "hello from real mode\r\n");
    }
}

#[test]
fn kernels_get_command_line_and_modules() {
    let module = [Module { bytes: b"123456789", command_line: "one two=three" }];
    for (file, protocol) in [("hello-multiboot.elf", Protocol::Multiboot), ("hello-pvh.elf", Protocol::Pvh)] {
        let kernel = fixtures::read(file);
        let source = BootSource {
            command_line: "quiet \"quoted\"",
            initrd: Some(&[0; 5000]),
            modules: &module,
            ..BootSource::new(&kernel, "kernel")
        };
        let (machine, found) = guest::boot(Config { memory: 32 << 20, ..Config::default() }, &source);
        assert_eq!(found, protocol);
        let run = guest::go_on(machine, Some(500_000_000));
        expect_all_checks(&run);
        let serial = run.serial();
        assert!(serial.contains("quiet \"quoted\"\""), "{serial}");
        assert!(serial.contains("boot: module 0: 5000 bytes"), "{serial}");
        // The check value that defines CRC-32.
        assert!(serial.contains("boot: module 1: 9 bytes, crc32 cbf43926, \"one two=three\""), "{serial}");
    }
}

#[test]
fn linux_gets_command_line_and_initrd() {
    let kernel = fixtures::read("hello-bzimage");
    let source = BootSource {
        command_line: "root=none",
        initrd: Some(b"123456789"),
        ..BootSource::new(&kernel, "kernel")
    };
    let run = guest::run(Config { memory: 64 << 20, ..Config::default() }, &source, Some(500_000_000));
    expect_all_checks(&run);
    run.expect_line("boot: command line \"root=none\"");
    run.expect_line("boot: module 0: 9 bytes, crc32 cbf43926, \"\"");
}

fn linux_to_userspace(cpus: u32) {
    let run = run_linux(Config { memory: 512 << 20, cpus, ..Config::default() });
    run.expect_power_off();
    for line in [
        "testudo: userspace reached",
        &format!("testudo: processors {cpus}"),
        "testudo: model Testudo v1 software processor",
        // What the same commands print anywhere.
        "testudo: sha256 f6351f5ead9a700e34275480b3856ea738122a7c57bdeb744a631251c069587a",
        "testudo: sorted 32e8bfc1888e4abc71c499baefe2efcad2ecc01d1c18f4a453d5d62b502a2c3e",
        "testudo: zeroes b5cfa9d6c8febd618f91ac2843d50a1c",
        "testudo: sum 2666866670000",
        "testudo: done",
    ] {
        run.expect_line(line);
    }
    let serial = run.serial();
    for bad in [
        "BUG:",
        "WARNING:",
        "Oops",
        "Call Trace",
        "panic - not syncing",
        "unchecked MSR access",
        "soft lockup",
    ] {
        assert!(!serial.contains(bad), "Linux said {bad:?}:\n{serial}");
    }
}

#[test]
fn linux_reaches_userspace_on_one_processor() {
    linux_to_userspace(1);
}

#[test]
fn linux_reaches_userspace_on_four_processors() {
    linux_to_userspace(4);
}
