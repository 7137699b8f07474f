//! Getting the distribution's kernel and busybox, without root and without installing anything: apt resolves, verifies and downloads, the
//! packages are unpacked here. Packages and what was taken from them stay under `target/downloads`.

mod apt;
mod deb;
mod release;

use crate::progress;
use crate::workspace;
use anyhow::{Context, Result, bail};
use apt::{Apt, Package};
use release::Distribution;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The files that the Linux guest is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    /// A kernel.
    Kernel,
    /// A statically linked busybox.
    Busybox,
}

impl Wanted {
    fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Busybox => "busybox",
        }
    }

    /// Whether this path of a package is the file.
    fn matches(self, path: &Path) -> bool {
        match self {
            Self::Kernel => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                path.parent() == Some(Path::new("boot")) && name.starts_with("vmlinuz-")
            }
            Self::Busybox => path == Path::new("bin/busybox") || path == Path::new("usr/bin/busybox"),
        }
    }

    /// The packages that may hold it, the best first. The kernel's are meta packages of the current version.
    fn packages(self, distribution: Distribution) -> &'static [&'static str] {
        match (self, distribution) {
            (Self::Busybox, _) => &["busybox-static"],
            (Self::Kernel, Distribution::Debian) => &["linux-image-cloud-amd64", "linux-image-amd64"],
            (Self::Kernel, Distribution::Ubuntu) => &["linux-image-virtual", "linux-image-generic"],
        }
    }
}

/// What was downloaded before: written after everything was verified.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    package: String,
    version: String,
    package_sha256: String,
    file_sha256: String,
}

/// Returns a file of the distribution, from an earlier download unless `update` is set.
pub(crate) fn file(wanted: Wanted, update: bool) -> Result<Vec<u8>> {
    let folder = workspace::downloads();
    let (file, record) = (folder.join(wanted.name()), folder.join(format!("{}.json", wanted.name())));
    if !update && let Some(bytes) = earlier(&file, &record) {
        return Ok(bytes);
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;

    let (package, path) = download(wanted, &folder)?;
    let what = format!("unpacking {} {}", package.name, package.version);
    let bytes = progress::step(&what, || deb::file(&path, |inside| wanted.matches(inside)))?;
    let written = Record {
        package_sha256: package.sha256,
        package: package.name,
        version: package.version,
        file_sha256: sha256(&bytes),
    };
    std::fs::write(&file, &bytes).with_context(|| format!("writing {}", file.display()))?;
    let text = serde_json::to_string_pretty(&written).context("writing a record")?;
    std::fs::write(&record, text).with_context(|| format!("writing {}", record.display()))?;
    Ok(bytes)
}

fn earlier(file: &Path, record: &Path) -> Option<Vec<u8>> {
    let record: Record = serde_json::from_slice(&std::fs::read(record).ok()?).ok()?;
    let bytes = std::fs::read(file).ok()?;
    (sha256(&bytes) == record.file_sha256).then_some(bytes)
}

/// Downloads and verifies a package: with the system's lists if those are there and current, otherwise with lists of our own.
fn download(wanted: Wanted, folder: &Path) -> Result<(Package, PathBuf)> {
    let distribution = release::host().with_context(|| no_apt(wanted))?;
    let from_system = download_with(&Apt::system(), wanted, distribution, folder);
    let Err(reason) = from_system else { return from_system };
    progress::announce(&format!(
        "the system's package lists do not do ({reason:#}); getting lists of our own"
    ));
    let apt = Apt::private(&folder.join("apt"))?;
    apt.update()?;
    download_with(&apt, wanted, distribution, folder).with_context(|| no_apt(wanted))
}

fn download_with(
    apt: &Apt,
    wanted: Wanted,
    distribution: Distribution,
    folder: &Path,
) -> Result<(Package, PathBuf)> {
    let package = resolve(apt, wanted, distribution)?;
    let path = folder.join(package.file_name());
    if std::fs::read(&path).is_ok_and(|bytes| sha256(&bytes) == package.sha256) {
        return Ok((package, path));
    }
    progress::announce(&format!(
        "downloading {} {} ({:.1} MB)",
        package.name,
        package.version,
        package.size as f64 / 1e6
    ));
    let downloaded = apt.download(&package, folder)?;
    let bytes = std::fs::read(downloaded.path()).context("reading the package")?;
    let found = sha256(&bytes);
    if found != package.sha256 {
        bail!("{}: SHA-256 is {found}, the archive says {}", package.name, package.sha256);
    }
    downloaded.persist(&path)?;
    Ok((package, path))
}

/// The package that really has the file: a meta package depends on it.
fn resolve(apt: &Apt, wanted: Wanted, distribution: Distribution) -> Result<Package> {
    let mut why = None;
    for name in wanted.packages(distribution) {
        let package = match apt.candidate(name, None) {
            Ok(package) => package,
            Err(error) => {
                why.get_or_insert(error);
                continue;
            }
        };
        return match wanted {
            Wanted::Busybox => Ok(package),
            Wanted::Kernel => {
                let image = package
                    .dependency("linux-image-")
                    .with_context(|| format!("{name} depends on no kernel"))?;
                apt.candidate(&image.name, image.version.as_deref())
            }
        };
    }
    Err(why.context("no package to look for")?)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What to do on a machine that cannot download packages.
fn no_apt(wanted: Wanted) -> String {
    format!(
        "cannot get the {} with apt. Pass the two files that a Linux guest is made of: `--kernel FILE` (or TESTUDO_KERNEL), an x86-64 \
         bzImage such as /boot/vmlinuz of Debian's linux-image-cloud-amd64, and `--busybox FILE` (or TESTUDO_BUSYBOX), a statically linked \
         x86-64 busybox such as that of Debian's busybox-static",
        wanted.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_files_are_found_by_their_path() {
        for (wanted, path, matches) in [
            (Wanted::Kernel, "boot/vmlinuz-6.1.0-1-cloud-amd64", true),
            (Wanted::Kernel, "boot/config-6.1.0-1-cloud-amd64", false),
            (Wanted::Kernel, "usr/share/vmlinuz-6.1", false),
            (Wanted::Busybox, "bin/busybox", true),
            (Wanted::Busybox, "usr/bin/busybox", true),
            (Wanted::Busybox, "usr/share/doc/busybox", false),
        ] {
            assert_eq!(wanted.matches(Path::new(path)), matches, "{wanted:?} {path}");
        }
    }

    #[test]
    fn a_file_of_an_earlier_download_is_taken_only_if_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (file, record) = (folder.path().join("file"), folder.path().join("file.json"));
        assert_eq!(earlier(&file, &record), None);
        std::fs::write(&file, b"abc").unwrap();
        let written = Record {
            package: "p".into(),
            version: "1".into(),
            package_sha256: String::new(),
            file_sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
        };
        std::fs::write(&record, serde_json::to_string(&written).unwrap()).unwrap();
        assert_eq!(earlier(&file, &record), Some(b"abc".to_vec()));
        std::fs::write(&file, b"abd").unwrap();
        assert_eq!(earlier(&file, &record), None);
    }
}
