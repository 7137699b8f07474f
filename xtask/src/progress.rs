//! What the tasks say while they work: on standard error, as a spinner on a terminal and as plain lines elsewhere.
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// Says what is being done, does it, and on a terminal shows that it goes on.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> T) -> T {
    if !std::io::stderr().is_terminal() {
        eprintln!("{what}");
        return work();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("a fixed template");
    let spinner = ProgressBar::new_spinner().with_style(style).with_message(what.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    let result = work();
    spinner.finish_and_clear();
    eprintln!("{what} ({:.1} s)", spinner.elapsed().as_secs_f64());
    result
}

/// Says what comes next, when that prints by itself.
pub(crate) fn announce(what: &str) {
    eprintln!("{what}");
}
