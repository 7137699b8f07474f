//! The serial console of a run: its lines, each with the time when it was complete.
use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use std::time::Duration;

/// What the guest's first script prints.
const USERSPACE: &str = "testudo: userspace reached";
const DONE: &str = "testudo: done";

/// Splits a console's bytes into lines as they come.
#[derive(Debug, Default)]
pub(crate) struct Console {
    lines: Vec<(Duration, String)>,
    partial: Vec<u8>,
}

/// The times of a run, in seconds of the host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Run {
    /// From the start of the program to the first line of the script.
    pub(crate) userspace: f64,
    /// In the order in which they ran.
    pub(crate) workloads: Vec<Workload>,
}

/// One of the program's workloads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    /// By the guest's own clock.
    pub(crate) guest_seconds: f64,
    pub(crate) checksum: String,
}

impl Console {
    /// Takes bytes that came at a time.
    pub(crate) fn add(&mut self, time: Duration, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
                self.lines.push((time, line));
                self.partial.clear();
            } else {
                self.partial.push(*byte);
            }
        }
    }

    /// Whether the script has ended, and so the machine should.
    pub(crate) fn is_done(&self) -> bool {
        self.time_of(DONE).is_some()
    }

    /// The last lines, to show when a run went wrong.
    pub(crate) fn tail(&self) -> String {
        let first = self.lines.len().saturating_sub(10);
        let lines: Vec<&str> = self.lines[first..].iter().map(|(_, line)| line.as_str()).collect();
        lines.join("\n")
    }

    /// The times between the lines.
    pub(crate) fn run(&self) -> Result<Run> {
        if !self.is_done() {
            bail!("the guest did not come to its end; its last lines:\n{}", self.tail());
        }
        let userspace = self.time_of(USERSPACE).context("the guest did not reach userspace")?.as_secs_f64();
        let mut workloads = Vec::new();
        for (_, line) in &self.lines {
            let Some(rest) = line.strip_prefix("bench ") else { continue };
            let [name, nanoseconds, checksum] = rest.split(' ').collect::<Vec<_>>()[..] else {
                bail!("a result that makes no sense: {line}");
            };
            let begin = self.time_of(&format!("bench-begin {name}"));
            let end = self.time_of(&format!("bench-end {name}"));
            let (begin, end) = begin.zip(end).with_context(|| format!("{name} has no begin or no end"))?;
            let nanoseconds: u64 = nanoseconds.parse().with_context(|| format!("not a time: {line}"))?;
            workloads.push(Workload {
                name: name.to_owned(),
                seconds: end.saturating_sub(begin).as_secs_f64(),
                guest_seconds: nanoseconds as f64 / 1e9,
                checksum: checksum.to_owned(),
            });
        }
        ensure!(!workloads.is_empty(), "the guest ran no workload; its last lines:\n{}", self.tail());
        Ok(Run { userspace, workloads })
    }

    fn time_of(&self, wanted: &str) -> Option<Duration> {
        self.lines.iter().find(|(_, line)| line == wanted).map(|(time, _)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(lines: &[(u64, &str)]) -> Console {
        let mut console = Console::default();
        for (milliseconds, text) in lines {
            console.add(Duration::from_millis(*milliseconds), text.as_bytes());
        }
        console
    }

    #[test]
    fn times_are_those_of_the_ends_of_lines() {
        let console = console(&[
            (100, "[    0.0] booting\r\ntestudo: user"),
            (1500, "space reached\r\n"),
            (2000, "bench-begin sort\r\n"),
            (2250, "bench sort 300000000 0x01\r\nbench-end sort\r\n"),
            (3000, "testudo: done\r\n"),
        ]);
        let run = console.run().unwrap();
        assert_eq!(run.userspace, 1.5);
        let sort =
            Workload { name: "sort".into(), seconds: 0.25, guest_seconds: 0.3, checksum: "0x01".into() };
        assert_eq!(run.workloads, [sort]);
    }

    #[test]
    fn what_is_missing_is_said() {
        for (lines, expected) in [
            (&[(0, "Kernel panic\n")][..], "last lines:\nKernel panic"),
            (&[(0, "testudo: done\n")], "userspace"),
            (&[(0, "testudo: userspace reached\ntestudo: done\n")], "no workload"),
            (&[(0, "testudo: userspace reached\nbench sort\ntestudo: done\n")], "makes no sense"),
            (&[(0, "testudo: userspace reached\nbench sort 1 0x0\ntestudo: done\n")], "no begin"),
            (
                &[(
                    0,
                    "testudo: userspace reached\nbench-begin a\nbench a x 0x0\nbench-end a\ntestudo: done\n",
                )],
                "not a time",
            ),
        ] {
            let error = format!("{:#}", console(lines).run().unwrap_err());
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
