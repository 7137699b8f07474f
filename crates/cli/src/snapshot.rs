//! Snapshots in files: written under a temporary name and complete on the disk before they get theirs, read whole.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use machine::Machine;
use tempfile::NamedTempFile;

use crate::files;

/// The unit of holes in the file: zeros of this size are not written.
const BLOCK: usize = 4096;

/// A snapshot to be written. Its file is there from the start, so that a folder that takes none is known before the run.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl SnapshotFile {
    /// Prepares to write `path`.
    pub(crate) fn prepare(path: &Path) -> Result<Self> {
        let name = path.display();
        if path.file_name().is_none() || path.is_dir() {
            bail!("the snapshot cannot be written to {name}: that is a directory; give a file");
        }
        let file = tempfile::Builder::new()
            .prefix(".testudo-")
            .suffix(".partial")
            // As for any new file, the umask decides.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder(path))
            .with_context(|| format!("cannot create the snapshot {name}"))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Saves the machine. On an error, what had the name before still has it.
    pub(crate) fn write(self, machine: &Machine) -> Result<()> {
        let Self { file, path } = self;
        let name = path.display().to_string();
        let len = {
            let sparse = Sparse { file: file.as_file(), at: 0, end: 0 };
            let mut out = BufWriter::with_capacity(64 * BLOCK, sparse);
            let saved = machine.snapshot(&mut out);
            let len = saved.with_context(|| format!("cannot save the machine to {name}"))?;
            out.flush().with_context(|| format!("cannot write {name}"))?;
            len
        };
        // The file may end in a hole.
        let complete = file.as_file().set_len(len).and_then(|()| file.as_file().sync_all());
        complete.with_context(|| format!("cannot write {name}"))?;
        file.persist(&path).with_context(|| format!("cannot give the snapshot its name, {name}"))?;
        // The name, too, is to survive a power failure.
        File::open(folder(&path))
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("cannot sync {name}"))
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A file in which blocks of zeros become holes: most of a guest's memory is zero.
#[derive(Debug)]
struct Sparse<'a> {
    file: &'a File,
    at: u64,
    /// Everything from here on is a hole.
    end: u64,
}

impl Write for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Up to the next border of blocks, or whole blocks.
        let to_border = BLOCK - (self.at % BLOCK as u64) as usize;
        let piece = &bytes[..bytes.len().min(to_border)];
        if self.at < self.end || piece.iter().any(|&byte| byte != 0) {
            self.file.write_all_at(piece, self.at)?;
            self.end = self.end.max(self.at + piece.len() as u64);
        }
        self.at += piece.len() as u64;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Sparse<'_> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        self.at = match position {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.checked_add_signed(by).ok_or_else(invalid)?,
            SeekFrom::End(_) => return Err(invalid()),
        };
        Ok(self.at)
    }
}

/// Reads a snapshot. That it is one is looked at first, for it may be large.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let name = path.display();
    // Says better than the container's own check what was probably meant.
    let mut magic = Vec::new();
    if path.is_file() {
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        let len = saved_state::MAGIC.len() as u64;
        file.take(len).read_to_end(&mut magic).with_context(|| format!("cannot read {name}"))?;
        if magic != saved_state::MAGIC {
            bail!("{name} is no snapshot of a machine; --snapshot writes them");
        }
    }
    files::read(path, files::host_memory(), "the memory of this host")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use machine::boot::BootSource;
    use machine::{Config, PoweredOff};

    use super::*;

    #[test]
    fn a_machine_comes_back_and_zeros_take_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine");
        let config = Config { memory: 16 << 20, ..Config::default() };
        let source = BootSource { flat_address: Some(0x8000), ..BootSource::new(&[0xf4], "hlt") };
        let (machine, _) = PoweredOff::new(config).unwrap().boot(&source).unwrap();
        machine.vm().memory().write_bytes(0x5000, b"content").unwrap();
        SnapshotFile::prepare(&path).unwrap().write(&machine).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        let file = std::fs::metadata(&path).unwrap();
        assert!(file.len() > 16 << 20 && file.blocks() * 512 < 4 << 20, "{file:?}");
        let again = Machine::from_snapshot(&read(&path).unwrap()).unwrap();
        assert_eq!(again.digest(), machine.digest());
    }

    #[test]
    fn what_was_there_stays_until_the_new_one_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine");
        std::fs::write(&path, "old").unwrap();
        drop(SnapshotFile::prepare(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn places_that_cannot_be_are_told() {
        let folder = tempfile::tempdir().unwrap();
        for (path, expected) in [
            (folder.path().to_owned(), "is a directory"),
            (folder.path().join("missing/machine"), "cannot create the snapshot"),
        ] {
            let error = format!("{:#}", SnapshotFile::prepare(&path).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_no_snapshot_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel");
        for bytes in [&b""[..], b"MZ", b"\x89TESTUDo and more"] {
            std::fs::write(&path, bytes).unwrap();
            let error = format!("{:#}", read(&path).unwrap_err());
            assert!(error.contains("is no snapshot"), "{error}");
        }
        assert!(format!("{:#}", read(folder.path()).unwrap_err()).contains("is a directory"));
    }
}
