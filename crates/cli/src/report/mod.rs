//! The report of a run.

mod ending;
mod json;
mod registers;
mod table;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use machine::boot::Protocol;
use machine::{End, Machine};

use crate::args::ReportTo;
use crate::message::say_raw;

/// What there is to report.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// The machine, as the run has left it.
    pub(crate) machine: &'a Machine,
    /// How the run ended.
    pub(crate) end: End,
    /// How the guest was started, if it was.
    pub(crate) protocol: Option<Protocol>,
    /// Instructions that had retired before this run.
    pub(crate) before: u64,
    /// How long it took.
    pub(crate) wall_time: Duration,
    /// What the process exits with.
    pub(crate) status: u8,
    /// Where the machine was saved, if it was.
    pub(crate) saved_to: Option<&'a Path>,
}

impl Report<'_> {
    /// Instructions of this run, of all processors together.
    fn executed(&self) -> u64 {
        self.machine.retired().saturating_sub(self.before)
    }

    /// Million instructions a second of the host's time.
    fn mips(&self) -> f64 {
        let seconds = self.wall_time.as_secs_f64();
        if seconds > 0.0 { Duration::from_micros(self.executed()).as_secs_f64() / seconds } else { 0.0 }
    }
}

/// Where the report goes. A file is there from the start, so that a place that takes none is known before the run.
#[derive(Debug)]
pub(crate) enum Reporter {
    /// To standard error.
    Table,
    /// To a file.
    Json(File, PathBuf),
    /// Nowhere.
    None,
}

impl Reporter {
    /// Prepares what the arguments ask for.
    pub(crate) fn open(to: &ReportTo) -> Result<Self> {
        Ok(match to {
            ReportTo::Table => Self::Table,
            ReportTo::Json(path) => {
                let file = File::create(path)
                    .with_context(|| format!("cannot create the report {}", path.display()))?;
                Self::Json(file, path.clone())
            }
            ReportTo::None => Self::None,
        })
    }

    /// Reports.
    pub(crate) fn print(self, report: &Report<'_>) -> Result<()> {
        match self {
            Self::Table => {
                say_raw(&table::table(report));
                Ok(())
            }
            Self::Json(mut file, path) => {
                // People want to know how it ended as well.
                say_raw(&format!("{}\n", ending::sentence(&report.end)));
                let text = serde_json::to_string_pretty(&json::Json::of(report))
                    .context("cannot make the report")?;
                writeln!(file, "{text}")
                    .with_context(|| format!("cannot write the report {}", path.display()))
            }
            Self::None => Ok(()),
        }
    }
}
