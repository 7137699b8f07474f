//! apt as a downloader: looking packages up and downloading them, both of which it does for every user. It verifies signatures and
//! hashes itself; the hash of a package is compared once more by the caller.
use crate::command;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// apt with its options.
#[derive(Debug)]
pub(crate) struct Apt {
    options: Vec<String>,
}

/// A version of a package, as the archive describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    depends: String,
}

/// What a package depends on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Set if it must be exactly this one.
    pub(crate) version: Option<String>,
}

/// A package file in a folder that goes away with it.
#[derive(Debug)]
pub(crate) struct Downloaded {
    folder: tempfile::TempDir,
    file: PathBuf,
}

impl Apt {
    /// With the lists that the system has.
    pub(crate) fn system() -> Self {
        Self { options: Vec::new() }
    }

    /// With lists in a folder of ours, from the archives that the system is set up for.
    pub(crate) fn private(folder: &Path) -> Result<Self> {
        for needed in ["state/lists/partial", "cache/archives/partial"] {
            let needed = folder.join(needed);
            std::fs::create_dir_all(&needed).with_context(|| format!("creating {}", needed.display()))?;
        }
        // What is installed does not matter: nothing is going to be.
        let status = folder.join("state/status");
        std::fs::write(&status, "").with_context(|| format!("writing {}", status.display()))?;
        let folder = folder.display();
        let options = vec![
            format!("Dir::State={folder}/state"),
            format!("Dir::State::lists={folder}/state/lists"),
            format!("Dir::State::status={folder}/state/status"),
            format!("Dir::Cache={folder}/cache"),
            "APT::Architecture=amd64".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ];
        Ok(Self { options })
    }

    /// Gets current lists.
    pub(crate) fn update(&self) -> Result<()> {
        command::run(self.command("apt-get").arg("update"))
    }

    /// The version of a package that would be installed, or a given one.
    pub(crate) fn candidate(&self, name: &str, version: Option<&str>) -> Result<Package> {
        let mut cache = self.command("apt-cache");
        cache.args(["--no-all-versions", "show"]);
        cache.arg(version.map_or_else(|| name.to_owned(), |version| format!("{name}={version}")));
        let text = command::output(&mut cache)?;
        parse_package(&text).with_context(|| format!("apt knows no package {name}"))
    }

    /// Downloads a package, into a new folder below the given one.
    pub(crate) fn download(&self, package: &Package, below: &Path) -> Result<Downloaded> {
        let folder = tempfile::tempdir_in(below).context("creating a folder for the package")?;
        let mut get = self.command("apt-get");
        get.arg("download").arg(format!("{}={}", package.name, package.version)).current_dir(folder.path());
        command::run(&mut get)?;
        let mut files = std::fs::read_dir(folder.path())?.collect::<Result<Vec<_>, _>>()?;
        ensure!(files.len() == 1, "apt-get left {} files rather than a package", files.len());
        let file = files.remove(0).path();
        Ok(Downloaded { folder, file })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // As root, apt would download as another user, who cannot write here.
        for option in self.options.iter().map(String::as_str).chain(["APT::Sandbox::User=root"]) {
            command.args(["-o", option]);
        }
        // What it prints is parsed.
        command.env("LC_ALL", "C");
        command
    }
}

impl Downloaded {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.file
    }

    /// Keeps it at another place of the same file system.
    pub(crate) fn persist(self, path: &Path) -> Result<()> {
        let Self { folder, file } = self;
        std::fs::rename(&file, path).with_context(|| format!("writing {}", path.display()))?;
        folder.close().context("removing an empty folder")
    }
}

impl Package {
    /// A name for its file. An epoch's colon does not belong in one.
    pub(crate) fn file_name(&self) -> String {
        format!("{}_{}.deb", self.name, self.version.replace(':', "%3a"))
    }

    /// The first package that this one depends on whose name begins so.
    pub(crate) fn dependency(&self, prefix: &str) -> Option<Dependency> {
        self.depends.split([',', '|']).find_map(|one| {
            let one = one.trim();
            let (name, rest) = one.split_once(' ').unwrap_or((one, ""));
            if !name.starts_with(prefix) {
                return None;
            }
            let version = rest.trim().strip_prefix("(= ").and_then(|rest| rest.strip_suffix(')'));
            Some(Dependency { name: name.to_owned(), version: version.map(str::to_owned) })
        })
    }
}

/// Reads the first stanza that apt-cache prints.
fn parse_package(text: &str) -> Option<Package> {
    let stanza = text.split("\n\n").next()?;
    let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(Package {
        name: field("Package")?.to_owned(),
        version: field("Version")?.to_owned(),
        size: field("Size")?.parse().ok()?,
        sha256: field("SHA256")?.to_owned(),
        depends: field("Depends").unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = "Package: linux-image-cloud-amd64\nVersion: 6.1.9-2\nDepends: linux-base, linux-image-6.1.0-5-cloud-amd64 (= 6.1.9-2)\n\
                        Description: Linux\n more text\nSize: 1504\nSHA256: 00be\n\nPackage: other\nVersion: 1\n";

    #[test]
    fn the_first_stanza_is_read() {
        let package = parse_package(META).unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("linux-image-cloud-amd64", "6.1.9-2"));
        assert_eq!((package.size, package.sha256.as_str()), (1504, "00be"));
        assert_eq!(parse_package("Package: x\nVersion: 1\n"), None, "a package without a hash is not for us");
        assert_eq!(parse_package(""), None);
    }

    #[test]
    fn a_meta_package_names_the_real_one() {
        let mut package = parse_package(META).unwrap();
        let real =
            Dependency { name: "linux-image-6.1.0-5-cloud-amd64".into(), version: Some("6.1.9-2".into()) };
        assert_eq!(package.dependency("linux-image-"), Some(real));
        assert_eq!(package.dependency("busybox"), None);
        package.depends = "linux-image-6.8.0-45-generic".into();
        let real = Dependency { name: "linux-image-6.8.0-45-generic".into(), version: None };
        assert_eq!(package.dependency("linux-image-"), Some(real));
    }

    #[test]
    fn an_epoch_is_escaped_in_file_names() {
        let mut package = parse_package(META).unwrap();
        package.version = "1:1.35".into();
        assert_eq!(package.file_name(), "linux-image-cloud-amd64_1%3a1.35.deb");
    }
}
