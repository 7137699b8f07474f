//! The terminal in raw mode, and back again on every way out: the guard's drop, a panic, a signal.

use std::io::{IsTerminal, Write, stdin};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// The modes the terminal had before; there while it is raw.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// While it lives, standard input is raw: each key comes at once, and none means anything to the terminal.
#[derive(Debug)]
pub(crate) struct RawMode {}

impl RawMode {
    /// Makes standard input raw, if it is a terminal.
    pub(crate) fn enter() -> Result<Option<Self>> {
        let terminal = stdin();
        if !terminal.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&terminal).context("cannot read the terminal's modes")?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let guard = Self {};
        tcsetattr(&terminal, OptionalActions::Now, &raw).context("cannot make the terminal raw")?;
        Ok(Some(guard))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal its modes back, if it is raw. What the guest did to it is undone as far as all terminals understand.
pub(crate) fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // Colours and attributes off, cursor visible. If the terminal is gone, there is nothing to restore.
        let mut output = std::io::stdout();
        if output.is_terminal() {
            let _ = output.write_all(b"\x1b[0m\x1b[?25h").and_then(|()| output.flush());
        }
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &before);
    }
}
