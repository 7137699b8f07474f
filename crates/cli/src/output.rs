//! Where the bytes of a port go: gathered for as long as the machine runs undisturbed, written out whenever it looks around.

use std::fs::File;
use std::io::{self, Write};

use anyhow::{Context, Result};

use crate::args::Stream;

/// Bytes gathered at most.
const GATHERED: usize = 16 << 10;

/// Where the bytes of a port go.
#[derive(Debug)]
pub(crate) struct Output {
    sink: Sink,
    /// What it is, for error messages.
    name: String,
    gathered: Vec<u8>,
    /// The last byte ended a line, or there was none.
    at_line_start: bool,
}

#[derive(Debug)]
enum Sink {
    Stdout,
    File(File),
    None,
}

impl Output {
    /// Opens it; a file is created or replaced.
    pub(crate) fn open(stream: &Stream) -> Result<Self> {
        let (sink, name) = match stream {
            Stream::Stdio => (Sink::Stdout, "standard output".to_owned()),
            Stream::File(path) => {
                let name = path.display().to_string();
                (Sink::File(File::create(path).with_context(|| format!("cannot create {name}"))?), name)
            }
            Stream::None => (Sink::None, String::new()),
        };
        Ok(Self { sink, name, gathered: Vec::new(), at_line_start: true })
    }

    /// What it is, for error messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether what is written next begins a line on standard output.
    pub(crate) const fn at_line_start(&self) -> bool {
        self.at_line_start || !matches!(self.sink, Sink::Stdout)
    }

    /// Takes bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if matches!(self.sink, Sink::None) {
            return Ok(());
        }
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= GATHERED { self.write_out() } else { Ok(()) }
    }

    /// Writes out what was gathered.
    pub(crate) fn write_out(&mut self) -> io::Result<()> {
        let Some(&last) = self.gathered.last() else { return Ok(()) };
        self.at_line_start = last == b'\n';
        let result = match &mut self.sink {
            Sink::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&self.gathered).and_then(|()| stdout.flush())
            }
            Sink::File(file) => file.write_all(&self.gathered),
            Sink::None => Ok(()),
        };
        // What could not be written is not tried again: the run ends.
        self.gathered.clear();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serial");
        let mut output = Output::open(&Stream::File(path.clone())).unwrap();
        output.put(b"one\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        output.write_out().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\n");
        output.put(&[b'x'; GATHERED]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len(), 4 + GATHERED);
    }

    #[test]
    fn a_full_disk_is_told() {
        let mut output = Output::open(&Stream::File("/dev/full".into())).unwrap();
        output.put(b"lost").unwrap();
        assert_eq!(output.write_out().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(output.name(), "/dev/full");
    }

    #[test]
    fn a_file_that_cannot_be_is_told() {
        let error = Output::open(&Stream::File("/nowhere/serial".into())).unwrap_err();
        assert!(format!("{error:#}").contains("cannot create /nowhere/serial"));
    }
}
