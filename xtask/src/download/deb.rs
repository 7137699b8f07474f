//! Reading Debian packages: an `ar` archive with a compressed `tar` archive in it.
use anyhow::{Context, Result, bail};
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Component, Path, PathBuf};

/// No file that we want is larger.
const LARGEST_FILE: u64 = 256 << 20;

/// Returns the first regular file of a package whose path (without a leading `./`) is wanted.
pub(crate) fn file(package: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<u8>> {
    let reader = File::open(package).with_context(|| format!("opening {}", package.display()))?;
    find(BufReader::new(reader), wanted).with_context(|| format!("reading {}", package.display()))
}

fn find(package: impl Read, wanted: impl Fn(&Path) -> bool) -> Result<Vec<u8>> {
    let mut members = ar::Archive::new(package);
    while let Some(member) = members.next_entry() {
        let member = member.context("reading a member")?;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        return match name.trim_end_matches('/') {
            "data.tar" => find_in_tar(member, wanted),
            "data.tar.xz" => find_in_tar(XzReader::new(BufReader::new(member), true), wanted),
            "data.tar.zst" => find_in_tar(StreamingDecoder::new(BufReader::new(member))?, wanted),
            data if data.starts_with("data.tar") => {
                bail!("{data} is compressed in a way that is not supported")
            }
            _ => continue,
        };
    }
    bail!("no data in the package")
}

fn find_in_tar(data: impl Read, wanted: impl Fn(&Path) -> bool) -> Result<Vec<u8>> {
    let mut files = tar::Archive::new(data);
    for file in files.entries()? {
        let file = file.context("reading a file")?;
        let path: PathBuf = file.path()?.components().filter(|part| *part != Component::CurDir).collect();
        if file.header().entry_type().is_file() && wanted(&path) {
            let size = file.size();
            if size > LARGEST_FILE {
                bail!("{} has {size} bytes", path.display());
            }
            let mut bytes = Vec::new();
            file.take(size)
                .read_to_end(&mut bytes)
                .with_context(|| format!("unpacking {}", path.display()))?;
            return Ok(bytes);
        }
    }
    bail!("the wanted file is not in the package")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, contents) in [("./usr/other", &b"no"[..]), ("./bin/busybox", b"yes")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(contents.len() as u64);
            header.set_entry_type(tar::EntryType::Regular);
            tar.append_data(&mut header, path, contents).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn package(member: &str, data: &[u8]) -> Vec<u8> {
        let mut builder = ar::Builder::new(Vec::new());
        for (name, contents) in [("debian-binary", &b"2.0\n"[..]), (member, data)] {
            builder.append(&ar::Header::new(name.into(), contents.len() as u64), contents).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_file_is_found_by_its_path() {
        let found = find(&package("data.tar", &tar())[..], |path| path == Path::new("bin/busybox")).unwrap();
        assert_eq!(found, b"yes");
    }

    #[test]
    fn zstd_is_what_ubuntu_compresses_with() {
        let data = ruzstd::encoding::compress_to_vec(&tar()[..], ruzstd::encoding::CompressionLevel::Fastest);
        let found =
            find(&package("data.tar.zst", &data)[..], |path| path == Path::new("bin/busybox")).unwrap();
        assert_eq!(found, b"yes");
    }

    #[test]
    fn what_is_missing_or_not_supported_is_said() {
        let missing = find(&package("data.tar", &tar())[..], |_| false).unwrap_err();
        assert!(missing.to_string().contains("not in the package"), "{missing}");
        let unknown = find(&package("data.tar.lz4", &tar())[..], |_| true).unwrap_err();
        assert!(unknown.to_string().contains("data.tar.lz4"), "{unknown}");
        let empty = find(&package("control.tar", &tar())[..], |_| true).unwrap_err();
        assert!(empty.to_string().contains("no data"), "{empty}");
        assert!(find(&b"garbage"[..], |_| true).is_err());
        assert!(find(&package("data.tar.xz", &tar())[..], |_| true).is_err(), "not xz");
    }
}
