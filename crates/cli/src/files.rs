//! Reading the files a user names: whole, but never more than fits.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::OFlags;

use crate::quantity::describe_size;

/// Reads a file of at most `most` bytes; `limit` says what that limit is.
pub(crate) fn read(path: &Path, most: u64, limit: &str) -> Result<Vec<u8>> {
    let name = path.display();
    let (file, len) = open(path)?;
    if len > most {
        bail!("{name} has {}, more than {limit} ({})", describe_size(len), describe_size(most));
    }
    let mut bytes = Vec::new();
    usize::try_from(len)
        .ok()
        .and_then(|len| bytes.try_reserve_exact(len).ok())
        .with_context(|| format!("the host has no memory for the {} of {name}", describe_size(len)))?;
    // Not beyond the length it had: a file that grows meanwhile is not read for ever.
    file.take(len).read_to_end(&mut bytes).with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 != len {
        bail!("{name} became shorter while it was read");
    }
    Ok(bytes)
}

/// Opens a regular file and says how long it is. A pipe without a writer must not hold us up: hence no blocking.
fn open(path: &Path) -> Result<(File, u64)> {
    let name = path.display();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .with_context(|| format!("cannot open {name}"))?;
    let metadata = file.metadata().with_context(|| format!("cannot look at {name}"))?;
    if metadata.is_dir() {
        bail!("{name} is a directory; give a file");
    }
    if !metadata.is_file() {
        bail!("{name} is no regular file but a pipe, socket or device; copy its content into a file");
    }
    Ok((file, metadata.len()))
}

/// How much memory the host has: no file that is kept in memory can be larger.
pub(crate) fn host_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit.max(1)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn error(path: &Path, most: u64) -> String {
        format!("{:#}", read(path, most, "the limit").unwrap_err())
    }

    #[test]
    fn files_are_read_whole_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 4096]).unwrap();
        assert_eq!(read(&path, 4096, "the limit").unwrap(), [7; 4096]);
        assert!(error(&path, 4095).contains("4 KiB, more than the limit (4095 bytes)"));
    }

    #[test]
    fn an_enormous_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        File::create(&path).unwrap().set_len(1 << 42).unwrap();
        assert!(error(&path, 1 << 30).contains("4 TiB, more than the limit (1 GiB)"));
    }

    #[test]
    fn what_is_no_file_has_its_own_message() {
        let folder = tempfile::tempdir().unwrap();
        assert!(error(folder.path(), 1).contains("is a directory"));
        assert!(error(&folder.path().join("missing"), 1).contains("cannot open"));
        assert!(error(Path::new("/dev/zero"), 1).contains("no regular file"));
    }

    #[test]
    fn a_pipe_without_a_writer_does_not_hold_us_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(error(&path, 1)));
        let message = receiver.recv_timeout(Duration::from_secs(20)).expect("opening does not block");
        assert!(message.contains("no regular file"), "{message}");
    }

    #[test]
    fn the_host_has_memory() {
        assert!(host_memory() > 1 << 20);
    }
}
