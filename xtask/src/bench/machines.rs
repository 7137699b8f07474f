//! Starting each machine with the guest, and reading its serial console.
//!
//! The peers are Debian's packages: `bochs bochs-term bochsbios vgabios grub-pc-bin grub-common xorriso mtools` for Bochs (which boots
//! from a CD that GRUB is on, so its time to userspace has firmware and GRUB in it), `qemu-system-x86 seabios` for QEMU.
use super::Guest;
use super::console::{Console, Run};
use crate::{command, progress};
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any machine takes; one that hangs ends the task.
const LONGEST_RUN: Duration = Duration::from_secs(1800);
/// From the guest's last line to the end of the program.
const LONGEST_END: Duration = Duration::from_secs(20);
/// How often a console that is a file is looked at: this is how exact its times are.
const POLL: Duration = Duration::from_millis(2);

/// What Testudo is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Bochs, an interpreter
    Bochs,
    /// QEMU's TCG, a just-in-time compiler
    Qemu,
}

/// A machine to run the guest on.
#[derive(Debug)]
pub(crate) enum Machine {
    /// By the path of the program.
    Testudo(PathBuf),
    Peer(Peer),
}

impl Machine {
    /// A peer, if it is installed.
    pub(crate) fn peer(peer: Peer) -> Result<Self> {
        let programs: &[&str] = match peer {
            Peer::Bochs => &["bochs", "grub-mkrescue", "xorriso", "mformat"],
            Peer::Qemu => &["qemu-system-x86_64"],
        };
        for program in programs {
            ensure!(
                command::is_installed(program),
                "{program} is not installed: {peer:?} cannot be compared with"
            );
        }
        Ok(Self::Peer(peer))
    }

    /// Its name in the table.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Testudo(_) => "testudo",
            Self::Peer(Peer::Bochs) => "bochs",
            Self::Peer(Peer::Qemu) => "qemu",
        }
    }

    /// Runs the guest to its end.
    pub(crate) fn run(&self) -> Result<Run> {
        let guest = Guest::new();
        match self {
            Self::Testudo(program) => testudo(program, &guest),
            Self::Peer(Peer::Bochs) => bochs(&guest),
            Self::Peer(Peer::Qemu) => qemu(&guest),
        }
    }
}

fn testudo(program: &Path, guest: &Guest) -> Result<Run> {
    let folder = tempfile::tempdir().context("creating a folder for the report")?;
    let mut command = Command::new(program);
    command.arg("run").arg("--kernel").arg(&guest.kernel).arg("--initrd").arg(&guest.initramfs);
    command.args(["--append", guest.command_line, "--memory", &format!("{}M", guest.memory_mib)]);
    command.args(["--serial", "stdio", "--report"]);
    command.arg(format!("json:{}", folder.path().join("report").display()));
    from_standard_output(command)
}

fn qemu(guest: &Guest) -> Result<Run> {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg", "-cpu", "max", "-smp", "1", "-nographic", "-no-reboot"]);
    command.args(["-m", &guest.memory_mib.to_string(), "-append", guest.command_line]);
    command.arg("-kernel").arg(&guest.kernel).arg("-initrd").arg(&guest.initramfs);
    from_standard_output(command)
}

/// Bochs loads no kernel by itself: GRUB does, from a CD. The console goes to a file.
fn bochs(guest: &Guest) -> Result<Run> {
    let folder = tempfile::tempdir().context("creating a folder for Bochs")?;
    let path = |name: &str| folder.path().join(name);
    let boot = path("cd/boot/grub");
    std::fs::create_dir_all(&boot).context("creating the folders of a CD")?;
    std::fs::copy(&guest.kernel, path("cd/boot/vmlinuz")).context("copying the kernel")?;
    std::fs::copy(&guest.initramfs, path("cd/boot/initramfs")).context("copying the initramfs")?;
    let menu = format!(
        "set timeout=0\nmenuentry guest {{\nlinux /boot/vmlinuz {}\ninitrd /boot/initramfs\n}}\n",
        guest.command_line
    );
    std::fs::write(boot.join("grub.cfg"), menu).context("writing GRUB's menu")?;
    command::output(Command::new("grub-mkrescue").arg("-o").arg(path("guest.iso")).arg(path("cd")))?;

    let (memory, image, serial, log) = (guest.memory_mib, path("guest.iso"), path("serial"), path("log"));
    let configuration = format!(
        "display_library: term\n\
         romimage: file=/usr/share/bochs/BIOS-bochs-latest\n\
         vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest\n\
         cpu: model=corei7_skylake_x, count=1, ips=100000000, reset_on_triple_fault=0\n\
         memory: guest={memory}, host={memory}\n\
         ata0-master: type=cdrom, path=\"{}\", status=inserted\n\
         boot: cdrom\n\
         com1: enabled=1, mode=file, dev={}\n\
         clock: sync=none, time0=local\n\
         log: {}\n\
         panic: action=report\nerror: action=report\ninfo: action=ignore\ndebug: action=ignore\n\
         pci: enabled=1, chipset=i440fx\n",
        image.display(),
        serial.display(),
        log.display()
    );
    std::fs::write(path("bochsrc"), configuration).context("writing Bochs' configuration")?;
    // Debian's build stops in its debugger first: the file says "continue".
    std::fs::write(path("commands"), "c\n").context("writing Bochs' commands")?;
    std::fs::write(&serial, "").context("creating the console's file")?;
    let output = File::create(path("output")).context("creating a file for Bochs' output")?;

    let mut command = Command::new("bochs");
    command.arg("-q").arg("-rc").arg(path("commands")).arg("-f").arg(path("bochsrc"));
    command.env("TERM", "xterm").stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut console_file = File::open(&serial).context("opening the console's file")?;
    let (process, start) = start(command)?;
    let run = follow(process, start, &mut || {
        let mut bytes = Vec::new();
        console_file.read_to_end(&mut bytes).context("reading the console's file")?;
        Ok(bytes)
    });
    if run.is_err() {
        // What Bochs says for itself is nowhere else; of its many lines the last ones tell why it ended.
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().rev().take(5).collect();
        progress::announce(&lines.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    run
}

/// Runs a machine whose console is its standard output.
fn from_standard_output(mut command: Command) -> Result<Run> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let (mut process, start) = start(command)?;
    let mut output = process.0.stdout.take().context("no standard output")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    // Ends with the child, which holds the other end of the pipe.
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(size) = output.read(&mut buffer) {
            if size == 0 || sender.send((start.elapsed(), buffer[..size].to_vec())).is_err() {
                break;
            }
        }
    });
    let mut console = Console::default();
    let mut ending = None;
    loop {
        match receiver.recv_timeout(Duration::from_millis(200)) {
            Ok((time, bytes)) => console.add(time, &bytes),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
        }
        if is_late(start, &console, &mut ending)? {
            break;
        }
    }
    console.run()
}

/// A machine that is running; it is ended when this goes, whatever the reason.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is all that is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(mut command: Command) -> Result<(Process, Instant)> {
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    Ok((Process(child), start))
}

/// Reads a console by asking again and again, until the machine has ended.
fn follow(mut process: Process, start: Instant, read: &mut dyn FnMut() -> Result<Vec<u8>>) -> Result<Run> {
    let mut console = Console::default();
    let mut ending = None;
    loop {
        let ended = process.0.try_wait().context("waiting for the machine")?.is_some();
        let bytes = read()?;
        console.add(start.elapsed(), &bytes);
        if ended || is_late(start, &console, &mut ending)? {
            return console.run();
        }
        std::thread::sleep(POLL);
    }
}

/// Whether a machine should be ended: some do not end when the guest powers off. One that hangs is an error.
fn is_late(start: Instant, console: &Console, ending: &mut Option<Instant>) -> Result<bool> {
    if start.elapsed() > LONGEST_RUN {
        bail!("the guest did not end in {} s; its last lines:\n{}", LONGEST_RUN.as_secs(), console.tail());
    }
    if !console.is_done() {
        return Ok(false);
    }
    Ok(ending.get_or_insert_with(Instant::now).elapsed() > LONGEST_END)
}
