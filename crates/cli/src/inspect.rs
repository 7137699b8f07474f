//! `testudo inspect`.

use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result};
use saved_state::Container;

use crate::args::InspectArgs;
use crate::snapshot;

/// Prints what is in a snapshot; the status to exit with.
pub(crate) fn inspect(args: &InspectArgs) -> Result<u8> {
    let bytes = snapshot::read(&args.file)?;
    let container = Container::parse(&bytes)
        .with_context(|| format!("{} is not an intact snapshot", args.file.display()))?;
    let mut out = BufWriter::new(io::stdout().lock());
    write!(out, "{}", container.dump())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")?;
    Ok(0)
}
