//! How far the machine is, on a terminal that has nothing else to show.

use std::time::{Duration, Instant};

use crate::message::say_raw;
use crate::quantity::grouped;

/// Time between two updates.
const INTERVAL: Duration = Duration::from_millis(500);
/// Return to the start of the line and clear it.
const CLEAR: &str = "\r\x1b[K";

/// A line that is written over again and again.
#[derive(Debug)]
pub(crate) struct StatusLine {
    updated: Instant,
    retired: u64,
    shown: bool,
}

impl StatusLine {
    /// A line that first shows after a while.
    pub(crate) fn new() -> Self {
        Self { updated: Instant::now(), retired: 0, shown: false }
    }

    /// The machine has executed so many instructions and it is `now` nanoseconds since power-on.
    pub(crate) fn update(&mut self, retired: u64, now: u64) {
        let passed = self.updated.elapsed();
        if passed < INTERVAL {
            return;
        }
        let million = Duration::from_micros(retired.saturating_sub(self.retired)).as_secs_f64();
        let (count, seconds) = (grouped(retired), Duration::from_nanos(now).as_secs_f64());
        let speed = million / passed.as_secs_f64();
        say_raw(&format!("{CLEAR}{count} instructions, {seconds:.3} s of virtual time, {speed:.1} MIPS"));
        self.updated = Instant::now();
        self.retired = retired;
        self.shown = true;
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            say_raw(CLEAR);
        }
    }
}
