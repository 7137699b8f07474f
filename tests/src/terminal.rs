//! A terminal whose other end the test holds.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};

/// How long a program may take to show something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    /// The end that programs have. It is kept open, so that what they wrote stays readable.
    device: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// A new terminal.
    ///
    /// # Panics
    /// If the host has none.
    #[must_use]
    pub fn new() -> Self {
        let controller: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&controller).expect("access to it");
        unlockpt(&controller).expect("access to it");
        let name = ptsname(&controller, Vec::new()).expect("its name").into_string().expect("in ASCII");
        let device = OpenOptions::new().read(true).write(true).open(name).expect("the terminal opens");
        let keyboard = File::from(controller);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, seen) = (keyboard.try_clone().expect("another handle"), Arc::clone(&screen));
        // Ends when the terminal has gone.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                seen.lock().expect("nobody panics with it").extend_from_slice(&buffer[..len]);
            }
        });
        Self { keyboard, device, screen }
    }

    /// Makes it the standard streams of a command.
    ///
    /// # Panics
    /// If there are no handles left.
    pub fn connect(&self, command: &mut Command) {
        let stream = || Stdio::from(self.device.try_clone().expect("another handle"));
        command.stdin(stream()).stdout(stream()).stderr(stream());
    }

    /// Types.
    ///
    /// # Panics
    /// If the terminal has gone.
    pub fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).expect("the terminal is there");
    }

    /// All that was shown.
    ///
    /// # Panics
    /// If the reading thread panicked.
    #[must_use]
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("nobody panics with it")).into_owned()
    }

    /// Waits until this was shown.
    ///
    /// # Panics
    /// If it is not.
    pub fn wait_for(&self, text: &str) {
        self.wait_until(|terminal| terminal.shown().contains(text), text);
    }

    /// Waits until it is raw, which is when a program listens.
    ///
    /// # Panics
    /// If it does not become so.
    pub fn wait_until_raw(&self) {
        self.wait_until(|terminal| !terminal.modes().local_modes.contains(LocalModes::ICANON), "raw mode");
    }

    fn wait_until(&self, condition: impl Fn(&Self) -> bool, what: &str) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < PATIENCE, "no {what}; the terminal shows:\n{}", self.shown());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its modes.
    ///
    /// # Panics
    /// If the terminal has gone.
    #[must_use]
    pub fn modes(&self) -> Termios {
        tcgetattr(&self.device).expect("the terminal is there")
    }

    /// Its modes, to compare.
    #[must_use]
    pub fn mode_words(&self) -> [u64; 4] {
        let modes = self.modes();
        [
            modes.input_modes.bits().into(),
            modes.output_modes.bits().into(),
            modes.control_modes.bits().into(),
            modes.local_modes.bits().into(),
        ]
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}
