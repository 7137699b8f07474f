//! Which distribution the host runs.
use crate::command;
use anyhow::{Result, bail, ensure};

/// A family of distributions, by the names that its kernel packages have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// Debian: the kernel for clouds is built with no drivers but those of virtual machines.
    Debian,
    /// Ubuntu: the kernel for virtual machines is the generic one.
    Ubuntu,
}

/// The host's distribution, if it has apt.
pub(crate) fn host() -> Result<Distribution> {
    for program in ["apt-get", "apt-cache"] {
        ensure!(command::is_installed(program), "this machine has no {program}");
    }
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    match parse(&text) {
        Some(distribution) => Ok(distribution),
        None => bail!("this machine runs neither Debian nor Ubuntu"),
    }
}

/// Reads os-release: `ID` first, then the ones that the distribution says it is like.
fn parse(text: &str) -> Option<Distribution> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches(['"', '\'']).to_owned())
    };
    let names = [value("ID"), value("ID_LIKE")];
    names.iter().flatten().flat_map(|names| names.split(' ')).find_map(|name| match name {
        "debian" => Some(Distribution::Debian),
        "ubuntu" => Some(Distribution::Ubuntu),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_is_its_own_or_the_one_it_is_like() {
        for (text, expected) in [
            ("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n", Some(Distribution::Debian)),
            ("ID=ubuntu\nID_LIKE=debian\n", Some(Distribution::Ubuntu)),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Some(Distribution::Ubuntu)),
            ("ID=\"raspbian\"\nID_LIKE=debian\n", Some(Distribution::Debian)),
            ("ID=fedora\n", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
