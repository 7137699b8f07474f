//! What is said to the user, on standard error. If nobody reads it, it is not an error of its own.

use std::io::Write;

/// Says a line.
pub(crate) fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Says something as it is: no line end is added.
pub(crate) fn say_raw(text: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
