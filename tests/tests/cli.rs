//! The command itself: exit statuses, reports, streams, signals, and what it says about bad arguments and files.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::fixtures;
use tests::program::{GuestRun, Outcome, Running, path, testudo};
use tests::terminal::Terminal;

/// Real-mode guests.
const POWER_OFF: &[u8] = &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4];
const TRIPLE_FAULT: &[u8] = &[0x0f, 0x01, 0x1e, 0x00, 0x60, 0xcc];
const STUCK: &[u8] = &[0xfa, 0xf4];
const RESET: &[u8] = &[0xb0, 0xfe, 0xe6, 0x64];
const EXIT_2A: &[u8] = &[0xb0, 0x2a, 0xe6, 0xf4];
const LOOP: &[u8] = &[0xeb, 0xfe];
/// Sends "x" to COM1 for ever.
const CHATTER: &[u8] = &[0xba, 0xf8, 0x03, 0xb0, b'x', 0xee, 0xeb, 0xfd];
/// Sends back what COM1 receives, until "q", which ends with status 1.
const ECHO: &[u8] = &[
    0xba, 0xfb, 0x03, 0xb0, 0x03, 0xee, // mov dx, 0x3fb; mov al, 3; out dx, al: bytes of eight bits
    0xba, 0xfd, 0x03, // wait: mov dx, 0x3fd
    0xec, 0xa8, 0x01, // in al, dx; test al, 1
    0x74, 0xf8, // jz wait
    0xba, 0xf8, 0x03, 0xec, 0xee, // mov dx, 0x3f8; in al, dx; out dx, al
    0x3c, b'q', 0x75, 0xef, // cmp al, 'q'; jne wait
    0x30, 0xc0, 0xe6, 0xf4, // xor al, al; out 0xf4, al
];

/// A folder with guests.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("the folder takes files");
        path
    }

    /// The command that runs a guest in real mode.
    fn command(&self, guest: &[u8]) -> Command {
        let mut command = Command::new(path());
        command.args(["run", "--flat=0x7c00", "--memory=4M", "--kernel"]).arg(self.file("guest", guest));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, guest: &[u8], more: &[&str]) -> Outcome {
        let mut command = self.command(guest);
        command.args(more);
        Running::start(command).wait()
    }
}

fn signal(running: &Running, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(running.child.id()).expect("a process id")).expect("not 0");
    kill_process(pid, signal).expect("a child of ours");
}

#[test]
fn every_end_has_its_exit_status() {
    let folder = Folder::new();
    folder.run(POWER_OFF, &[]).expect(0);
    folder.run(EXIT_2A, &[]).expect(0x55);
    folder.run(TRIPLE_FAULT, &[]).expect(64);
    folder.run(LOOP, &["--max-instructions=1000"]).expect(66);
    folder.run(RESET, &[]).expect(68);
    folder.run(STUCK, &[]).expect(70);
    let help = testudo(["run", "--help"]);
    help.expect(0);
    let help = String::from_utf8(help.stdout).expect("text");
    for line in [
        "  0  the guest powered",
        "  2  the command line",
        " 64  ",
        " 66  ",
        " 68  ",
        " 70  ",
        " 72  ",
        " 74  ",
        " 76  ",
    ] {
        assert!(help.contains(line), "{line:?} is not in:\n{help}");
    }
}

#[test]
fn wrong_arguments_are_told_with_status_2() {
    for (arguments, message) in [
        (&["run"][..], "--kernel"),
        (&["run", "--kernel", "k", "--memory", "1X"], "is no unit"),
        (&["run", "--kernel", "k", "--memory", "1025K"], "not a multiple of the page size"),
        (&["run", "--kernel", "k", "--memory", "0"], "too little"),
        (&["run", "--kernel", "k", "--memory", "17T"], "more than the processor can address"),
        (&["run", "--kernel", "k", "--cpus", "17"], "17"),
        (&["run", "--kernel", "k", "--serial", "tcp:80"], "stdio, file:PATH or none"),
        (&["run", "--kernel", "k", "--report", "xml"], "table, json:PATH or none"),
        (&["run", "--restore", "s", "--kernel", "k"], "cannot be used with"),
        (&["walk"], "walk"),
    ] {
        testudo(arguments).expect_error(2, message);
    }
}

#[test]
fn bad_files_are_told_with_status_76() {
    let folder = Folder::new();
    let kernel = std::fs::read(fixtures::path("hello-bzimage")).expect("a fixture");
    let hole = folder.path("hole");
    File::create(&hole).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    let pipe = folder.path("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    for (path, message) in [
        (folder.path("missing"), "No such file"),
        (folder.folder.path().to_owned(), "is a directory"),
        (pipe, "no regular file"),
        ("/dev/zero".into(), "no regular file"),
        (hole.clone(), "more than the memory of the machine"),
        (folder.file("empty", b""), "neither a Linux bzImage"),
        (folder.file("cut", &kernel[..kernel.len() / 2]), "cut off"),
    ] {
        let run = |flag: &str, file: &Path| {
            let hello = fixtures::path("hello-multiboot.elf");
            let mut arguments = vec!["run".into(), "--memory=16M".into(), "--max-instructions=1000".into()];
            if flag != "--kernel" {
                arguments.extend(["--kernel".into(), hello.into_os_string()]);
            }
            arguments.extend([flag.into(), file.as_os_str().to_owned()]);
            testudo(arguments)
        };
        run("--kernel", &path).expect_error(76, message);
        if !matches!(message, "neither a Linux bzImage" | "cut off") {
            run("--initrd", &path).expect_error(76, message);
            run("--module", &path).expect_error(76, message);
        }
    }
    for (name, bytes) in [("text", &b"no snapshot"[..]), ("nothing", b""), ("magic", b"\x89TESTUDO")] {
        let path = folder.file(name, bytes);
        for arguments in [&["run", "--restore"][..], &["inspect"]] {
            let outcome = testudo(arguments.iter().map(std::ffi::OsStr::new).chain([path.as_os_str()]));
            outcome.expect_error(76, "snapshot");
        }
    }
    testudo(["inspect".as_ref(), hole.as_os_str()]).expect_error(76, "is no snapshot");
}

#[test]
fn a_cut_off_kernel_is_told_wherever_it_ends() {
    let folder = Folder::new();
    for (file, flat) in fixtures::HELLO.into_iter().filter(|(_, flat)| flat.is_none()) {
        assert_eq!(flat, None);
        let kernel = fixtures::read(file);
        for len in [1, 100, 511, 512, 600, 1024, 5000, kernel.len() - 1] {
            let cut = folder.file("kernel", &kernel[..len]);
            let mut command = Command::new(path());
            command
                .args(["run", "--memory=16M", "--max-instructions=1000", "--report=none", "--kernel"])
                .arg(cut);
            let outcome = Running::start(command).wait();
            // What is missing at the end may be what nobody needs.
            let code = outcome.code();
            assert!(code == 76 || code == 66 && len == kernel.len() - 1, "{file} cut off at {len}: {code}");
        }
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let folder = Folder::new();
    folder.run(LOOP, &["--memory", "16T"]).expect(2);
    let mut command = Command::new(path());
    command.args(["run", "--flat=0x7c00", "--memory=15T", "--kernel"]).arg(folder.file("guest", LOOP));
    Running::start(command).wait().expect_error(76, "the host cannot map");
    let mut command = Command::new(path());
    command.args(["run", "--flat=0x100000", "--kernel"]).arg(folder.file("guest", LOOP));
    Running::start(command).wait().expect_error(76, "real mode reaches addresses below 0x100000");
    let mut command = Command::new(path());
    command.args(["run", "--kernel"]).arg(fixtures::path("hello-bzimage"));
    command.arg("--append").arg("x".repeat(100_000));
    Running::start(command).wait().expect_error(76, "the command line has 100000 bytes");
}

#[test]
fn places_that_take_no_files_are_known_before_the_guest_runs() {
    let folder = Folder::new();
    for (flag, message) in [
        ("--serial=file:/nowhere/serial", "cannot create /nowhere/serial"),
        ("--serial=file:/", "cannot create /"),
        ("--report=json:/nowhere/report", "cannot create the report"),
        ("--snapshot=/nowhere/machine", "cannot create the snapshot"),
        ("--snapshot=/", "is a directory"),
    ] {
        // The guest would run for ever.
        folder.run(LOOP, &[flag]).expect_error(76, message);
    }
}

#[test]
fn lost_output_ends_the_run() {
    let folder = Folder::new();
    folder.run(CHATTER, &["--serial=file:/dev/full"]).expect_error(76, "No space left");
    let mut command = folder.command(CHATTER);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start_as_is({
        // A pipe whose reader goes away.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        command.stdout(writer);
        command
    });
    running.child.stdin.take();
    running.wait().expect_error(76, "standard output");
}

#[test]
fn the_report_for_programs_is_complete() {
    let folder = Folder::new();
    let kernel = folder.file("guest", TRIPLE_FAULT);
    let run = GuestRun::new([
        "--flat=0x7c00".as_ref(),
        "--cpus=2".as_ref(),
        "--kernel".as_ref(),
        kernel.as_os_str(),
    ]);
    run.outcome.expect(64);
    let report = &run.report;
    assert_eq!(report["format"], 1);
    assert_eq!(report["ended"]["how"], "triple-fault");
    assert_eq!(report["ended"]["processor"], 0);
    assert_eq!(report["ended"]["guest_status"], serde_json::Value::Null);
    assert_eq!(report["exit_status"], 64);
    assert_eq!(report["boot_protocol"], "flat-binary");
    assert_eq!(report["memory_bytes"], 1_u64 << 30);
    assert_eq!(report["clock"], "icount");
    assert_eq!(report["instructions"]["by_processor"].as_array().expect("a list").len(), 2);
    assert_eq!(report["instructions"]["this_run"], report["instructions"]["total"]);
    assert!(report["wall_time_ns"].is_u64() && report["virtual_time_ns"].is_u64() && report["mips"].is_f64());
    let reasons = report["exits"].as_array().expect("a list");
    assert!(
        reasons.iter().any(|exit| exit["reason"] == "end" && exit["count"] == 1 && exit["time_ns"].is_u64())
    );
    assert_eq!(run.digest().len(), 64);
    let processors = report["processors"].as_array().expect("a list");
    assert_eq!(processors.len(), 2);
    let rip = processors[0]["registers"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|register| register["name"] == "rip");
    assert_eq!(rip.expect("rip")["value"], "0x0000000000000005");
    assert!(report["last_exits"].is_array());

    let run = GuestRun::new(["--kernel".as_ref(), fixtures::path("hello-pvh.elf").as_os_str()]);
    run.outcome.expect(0);
    assert_eq!(run.report["ended"]["how"], "power-off");
    assert_eq!(run.report["boot_protocol"], "PVH");
    for field in ["snapshot", "processors", "last_exits"] {
        assert_eq!(run.report[field], serde_json::Value::Null, "{field}");
    }
}

#[test]
fn the_report_for_people_shows_where_it_went_wrong() {
    let folder = Folder::new();
    let outcome = folder.run(TRIPLE_FAULT, &[]);
    outcome.expect(64);
    for expected in [
        "processor 0 had a triple fault",
        "instructions",
        "MIPS",
        "state digest",
        "rip 0x0000000000000005",
        "cs",
        "last exits",
    ] {
        assert!(outcome.stderr.contains(expected), "{expected:?} is not in:\n{}", outcome.stderr);
    }
    assert!(outcome.stdout.is_empty(), "standard output is the guest's alone");
    assert_eq!(folder.run(TRIPLE_FAULT, &["--report=none"]).stderr, "");
}

#[test]
fn a_signal_stops_the_machine_in_good_order() {
    for number in [Signal::INT, Signal::TERM, Signal::HUP] {
        let folder = Folder::new();
        let snapshot = folder.path("machine");
        let mut command = folder.command(CHATTER);
        command
            .arg("--snapshot")
            .arg(&snapshot)
            .arg(format!("--serial=file:{}", folder.path("serial").display()));
        let running = Running::start(command);
        wait_for_content(&folder.path("serial"));
        signal(&running, number);
        let outcome = running.wait();
        outcome.expect(74);
        assert!(outcome.stderr.contains("the user stopped the machine"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("saved to"), "{}", outcome.stderr);
        let more = Command::new(path())
            .args(["run", "--serial=none", "--report=none", "--max-instructions=1", "--restore"])
            .arg(&snapshot)
            .status();
        assert_eq!(more.expect("testudo runs").code(), Some(66));
    }
}

#[test]
fn a_second_signal_ends_a_process_that_cannot_stop() {
    let folder = Folder::new();
    let mut command = folder.command(CHATTER);
    // Nobody reads: the machine will wait in a write.
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    command.stdout(writer).stderr(Stdio::piped());
    let mut running = Running::start_as_is(command);
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    while running.child.try_wait().expect("a child of ours").is_none() {
        signal(&running, Signal::INT);
        assert!(start.elapsed() < Duration::from_secs(60), "signals do not end it");
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = running.wait().status;
    assert_eq!((status.code(), status.signal()), (Some(74), None));
}

fn wait_for_content(path: &Path) {
    let start = Instant::now();
    while std::fs::metadata(path).map_or(0, |file| file.len()) == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing comes to {}", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn piped_input_reaches_the_guest() {
    let folder = Folder::new();
    let mut command = folder.command(ECHO);
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    let mut input = running.child.stdin.take().expect("a pipe");
    // Ctrl-A means nothing here.
    input.write_all(b"hello \x01x").expect("it reads");
    std::thread::sleep(Duration::from_millis(100));
    input.write_all(b" guest q").expect("it reads");
    let outcome = running.wait();
    outcome.expect(1);
    assert_eq!(outcome.stdout, b"hello \x01x guest q");
}

#[test]
fn input_from_a_file_makes_the_same_run() {
    let folder = Folder::new();
    // More than waits in the serial port.
    let mut text = b"0123456789abcdef\n".repeat(10_000);
    text.push(b'q');
    let input = folder.file("input", &text);
    let [one, other] = ["one", "other"].map(|name| {
        let report = folder.path(name);
        let mut command = folder.command(ECHO);
        command
            .stdin(File::open(&input).expect("just written"))
            .arg(format!("--report=json:{}", report.display()));
        let outcome = Running::start(command).wait();
        outcome.expect(1);
        assert_eq!(outcome.stdout, text);
        let mut text = String::new();
        File::open(report).and_then(|mut file| file.read_to_string(&mut text)).expect("a report");
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        (report["instructions"]["total"].clone(), report["state_digest"].clone())
    });
    assert_eq!(one, other);
}

#[test]
fn a_guest_without_input_is_not_kept_waiting() {
    // Halted with interrupts on and nothing to come.
    let folder = Folder::new();
    folder.run(&[0xfb, 0xf4, 0xeb, 0xfd], &[]).expect(70);
}

/// Starts a guest on a terminal, and waits until it has the keyboard.
fn on_terminal(folder: &Folder, guest: &[u8]) -> (Terminal, [u64; 4], Running) {
    let terminal = Terminal::new();
    let before = terminal.mode_words();
    let mut command = folder.command(guest);
    terminal.connect(&mut command);
    let running = Running::start_as_is(command);
    terminal.wait_until_raw();
    (terminal, before, running)
}

#[test]
fn a_terminal_is_raw_for_the_guest_and_restored() {
    let folder = Folder::new();
    let (mut terminal, before, running) = on_terminal(&folder, ECHO);
    terminal.press(b"keys\x03\x01a\x01h");
    terminal.wait_for("Ctrl-A X  end the machine");
    // Ctrl-C is a key of the guest's.
    terminal.wait_for("keys\x03\x01");
    terminal.press(b"q");
    running.wait().expect(1);
    assert_eq!(terminal.mode_words(), before);
    terminal.wait_for("state digest");
}

#[test]
fn ctrl_a_x_ends_a_guest_that_does_not_listen() {
    let folder = Folder::new();
    let (mut terminal, before, running) = on_terminal(&folder, LOOP);
    // More than any queue takes, key by key.
    for _ in 0..3000 {
        terminal.press(b"k");
    }
    terminal.press(b"\x01x");
    running.wait().expect(74);
    assert_eq!(terminal.mode_words(), before);
    terminal.wait_for("the user stopped the machine");
}

#[test]
fn a_signal_restores_the_terminal() {
    let folder = Folder::new();
    let (terminal, before, running) = on_terminal(&folder, LOOP);
    signal(&running, Signal::TERM);
    running.wait().expect(74);
    assert_eq!(terminal.mode_words(), before);
}

#[test]
fn a_status_line_shows_how_far_a_silent_guest_is() {
    let folder = Folder::new();
    let terminal = Terminal::new();
    let before = terminal.mode_words();
    let mut command = folder.command(LOOP);
    command.arg("--serial=none");
    terminal.connect(&mut command);
    let running = Running::start_as_is(command);
    terminal.wait_for(" of virtual time, ");
    assert_eq!(terminal.mode_words(), before, "the keyboard is not the guest's");
    signal(&running, Signal::INT);
    running.wait().expect(74);
}
