//! Signals that end a run: the first one stops the machine in good order, a second one ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit_status::Status;
use crate::terminal;

/// Somebody asked the machine to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks. Whether somebody had already.
    pub(crate) fn raise(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    /// Whether somebody asked.
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// From here on, signals raise the flag.
pub(crate) fn watch(stop: &StopFlag) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT]).context("cannot watch for signals")?;
    let stop = stop.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in &mut signals {
                if stop.raise() {
                    // The machine may be waiting for somebody to read its output.
                    terminal::restore();
                    std::process::exit(i32::from(Status::Stopped as u8));
                }
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}
