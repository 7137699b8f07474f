//! The same inputs, the same run, to the bit: in one process or another, looked at or not.

use machine::boot::BootSource;
use machine::{Config, End};
use tests::guest::{self, LINUX_COMMAND_LINE, Run};
use tests::program::GuestRun;
use tests::random::Random;
use tests::{fixtures, guest::run_linux};

const MEMORY: u64 = 64 << 20;

fn source<'a>(kernel: &'a [u8], address: Option<u64>) -> BootSource<'a> {
    BootSource { flat_address: address, ..BootSource::new(kernel, "hello") }
}

fn same(one: &Run, other: &Run) {
    assert_eq!(one.end, other.end);
    assert_eq!(one.serial(), other.serial());
    assert_eq!(one.output, other.output);
    assert_eq!((one.machine.retired(), one.machine.now()), (other.machine.retired(), other.machine.now()));
    assert_eq!(one.machine.digest(), other.machine.digest());
}

#[test]
fn two_runs_of_hello_are_the_same() {
    for (file, address) in fixtures::HELLO {
        let kernel = fixtures::read(file);
        for cpus in [1, 4] {
            let config = Config { memory: MEMORY, cpus, ..Config::default() };
            let [one, other] = [(); 2].map(|()| guest::run(config.clone(), &source(&kernel, address), None));
            one.expect_power_off();
            same(&one, &other);
        }
    }
}

#[test]
fn other_machines_have_other_digests() {
    let kernel = fixtures::read("hello-pvh.elf");
    let config = Config { memory: MEMORY, ..Config::default() };
    let digest = |config: Config, most| guest::run(config, &source(&kernel, None), most).machine.digest();
    let plain = digest(config.clone(), None);
    assert_ne!(plain, digest(Config { memory: MEMORY + 4096, ..config.clone() }, None));
    assert_ne!(plain, digest(Config { cpus: 2, ..config.clone() }, None));
    assert_ne!(plain, digest(Config { start_time: 0, ..config.clone() }, None));
    assert_ne!(digest(config.clone(), Some(1_000_000)), digest(config, Some(1_000_001)));
}

#[test]
fn stops_and_looks_change_nothing() {
    let kernel = fixtures::read("hello-bzimage");
    let config = Config { memory: 16 << 20, cpus: 3, ..Config::default() };
    let whole = guest::run(config.clone(), &source(&kernel, None), None);
    whole.expect_power_off();
    let mut random = Random::new(1);
    for _ in 0..3 {
        let (mut machine, _) = guest::boot(config.clone(), &source(&kernel, None));
        let mut output = machine::host::Captured::default();
        let (mut at, mut stops) = (0, 0);
        let end = loop {
            at += 1 + random.below(100_000);
            match machine.run(&mut output, Some(at)) {
                End::InstructionLimit => assert_eq!(machine.retired(), at, "a limit is exact"),
                end => break end,
            }
            stops += 1;
            // Both walk through all of the state.
            let digest = machine.digest();
            machine.snapshot(std::io::Cursor::new(Vec::new())).expect("memory takes everything");
            assert_eq!(machine.digest(), digest);
        };
        assert!(stops > 20, "{stops}");
        same(&whole, &Run { machine, output, end });
    }
}

#[test]
fn linux_is_the_same_in_another_process() {
    let ours = run_linux(Config { memory: 256 << 20, cpus: 4, ..Config::default() });
    ours.expect_power_off();
    let theirs = GuestRun::new([
        "--kernel".as_ref(),
        fixtures::path(fixtures::KERNEL).as_os_str(),
        "--initrd".as_ref(),
        fixtures::path(fixtures::INITRAMFS).as_os_str(),
        "--append".as_ref(),
        LINUX_COMMAND_LINE.as_ref(),
        "--memory=256M".as_ref(),
        "--cpus=4".as_ref(),
    ]);
    theirs.outcome.expect(0);
    assert_eq!(String::from_utf8_lossy(&theirs.serial), ours.serial());
    assert_eq!(theirs.instructions(), ours.machine.retired());
    assert_eq!(theirs.digest(), ours.machine.digest().to_string());
}
