//! The `testudo` command, run as a user would.

use std::ffi::OsStr;
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cargo_metadata::Message;
use serde_json::Value;

/// The environment variable with the path of the program.
pub const PROGRAM_VARIABLE: &str = "TESTUDO_BIN";

/// No run of a test takes longer.
const LONGEST: Duration = Duration::from_secs(300);

/// The path of the program; built first, unless the environment says where it is.
///
/// # Panics
/// If it cannot be built.
pub fn path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| std::env::var_os(PROGRAM_VARIABLE).map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--package", "testudo", "--message-format=json-render-diagnostics"]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = cargo.spawn().expect("cargo runs");
    let messages = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut program = None;
    for message in Message::parse_stream(messages) {
        if let Message::CompilerArtifact(artifact) = message.expect("cargo's messages can be read") {
            program = artifact.executable.or(program);
        }
    }
    assert!(child.wait().expect("cargo ends").success(), "testudo cannot be built");
    program.expect("cargo made a program").into_std_path_buf()
}

/// How a run of the program went.
#[derive(Debug)]
pub struct Outcome {
    /// How the process ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Its exit status.
    ///
    /// # Panics
    /// If a signal ended it, or it ended by a panic: neither may ever happen.
    #[must_use]
    pub fn code(&self) -> i32 {
        let code = self.status.code();
        let code = code.unwrap_or_else(|| panic!("{}, after it said:\n{}", self.status, self.stderr));
        assert!(!self.stderr.contains("panicked"), "a panic:\n{}", self.stderr);
        code
    }

    /// Fails unless it ended so.
    ///
    /// # Panics
    /// With what it said.
    pub fn expect(&self, code: i32) {
        assert_eq!(self.code(), code, "it said:\n{}", self.stderr);
    }

    /// Fails unless it ended so, with an error message that says this.
    ///
    /// # Panics
    /// With what it said.
    pub fn expect_error(&self, code: i32, message: &str) {
        self.expect(code);
        let said = &self.stderr;
        assert!(
            said.contains("error: ") && said.contains(message),
            "{message:?} is not in what it said:\n{said}"
        );
    }
}

/// Runs `testudo` with these arguments and no input.
///
/// # Panics
/// If it does not end.
pub fn testudo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    let mut command = Command::new(path());
    command.args(arguments).stdin(Stdio::null());
    Running::start(command).wait()
}

/// A process of the program. It is ended when this goes.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub child: Child,
    start: Instant,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    /// Starts a command. Its standard output and error are collected, unless they go elsewhere.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start_as_is(command)
    }

    /// Starts a command whose standard streams are as they were set.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_as_is(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let (stdout, stderr) = (child.stdout.take().map(collect), child.stderr.take().map(collect));
        Self { child, start: Instant::now(), stdout, stderr }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it takes too long.
    #[must_use]
    pub fn wait(mut self) -> Outcome {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break Some(status);
            }
            if self.start.elapsed() > LONGEST {
                self.child.kill().expect("a child of ours");
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let text = |stream: Option<JoinHandle<Vec<u8>>>| {
            stream.map(|thread| thread.join().expect("reading does not panic")).unwrap_or_default()
        };
        let (stdout, stderr) = (text(self.stdout.take()), text(self.stderr.take()));
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let output = String::from_utf8_lossy(&stdout);
        let status = status.unwrap_or_else(|| panic!("it did not end; it said:\n{output}\n{stderr}"));
        Outcome { status, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what there is.
        let _ = stream.read_to_end(&mut bytes);
        bytes
    })
}

/// A run of a guest by the program: its arguments, and files in a folder of its own.
#[derive(Debug)]
pub struct GuestRun {
    /// How the process went.
    pub outcome: Outcome,
    /// What was written to COM1.
    pub serial: Vec<u8>,
    /// The report.
    pub report: Value,
}

impl GuestRun {
    /// Runs `testudo run` with these arguments besides those for the serial port and the report.
    ///
    /// # Panics
    /// If it does not end, or writes no report.
    pub fn new<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (serial, report) = (folder.path().join("serial"), folder.path().join("report"));
        let mut command = Command::new(path());
        command.arg("run").args(arguments).stdin(Stdio::null());
        command.arg(format!("--serial=file:{}", serial.display()));
        command.arg(format!("--report=json:{}", report.display()));
        let outcome = Running::start(command).wait();
        let read = |path| std::fs::read(path).unwrap_or_else(|_| panic!("it said:\n{}", outcome.stderr));
        let (serial, report) = (read(&serial), read(&report));
        let report = serde_json::from_slice(&report)
            .unwrap_or_else(|error| panic!("no report ({error}); it said:\n{}", outcome.stderr));
        Self { outcome, serial, report }
    }

    /// The state digest at the end.
    ///
    /// # Panics
    /// If the report has none.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.report["state_digest"].as_str().expect("a digest")
    }

    /// Instructions since power-on.
    ///
    /// # Panics
    /// If the report does not say.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.report["instructions"]["total"].as_u64().expect("a number")
    }
}
