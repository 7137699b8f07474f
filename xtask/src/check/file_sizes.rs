//! The size of source files: past [`REASON_NEEDED`] lines a file needs a reason, past [`LARGEST`] there is none.
use crate::workspace;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

const REASON_NEEDED: usize = 500;
const LARGEST: usize = 900;

/// The files that are longer than [`REASON_NEEDED`] lines, and why each of them is better as one file.
const LONG_FILES: &[(&str, &str)] = &[(
    "crates/x86_cpu/src/paging/tests.rs",
    "the cases of all three paging modes stand side by side, so that a difference between modes is seen",
)];

/// The folders with sources.
const FOLDERS: [&str; 4] = ["crates", "tests", "xtask", "fixtures"];

/// Counts the lines of every source file.
pub(crate) fn check() -> Result<()> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(&workspace::root().join(folder), &mut files)?;
    }
    let mut sizes = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let name = file.strip_prefix(workspace::root()).unwrap_or(&file).display().to_string();
        sizes.push((name, text.lines().count()));
    }
    sizes.sort();
    let violations = violations(&sizes, LONG_FILES);
    if !violations.is_empty() {
        bail!(
            "{} wrong (the list is in xtask/src/check/file_sizes.rs):\n{}",
            violations.len(),
            violations.join("\n")
        );
    }
    Ok(())
}

/// Rust and assembly sources below a folder.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "s") {
            files.push(path);
        }
    }
    Ok(())
}

fn violations(sizes: &[(String, usize)], reasons: &[(&str, &str)]) -> Vec<String> {
    let mut violations = Vec::new();
    for (name, lines) in sizes {
        let has_reason = reasons.iter().any(|(file, reason)| file == name && !reason.is_empty());
        if *lines > LARGEST {
            violations.push(format!("{name} has {lines} lines: no file may have more than {LARGEST}"));
        } else if *lines > REASON_NEEDED && !has_reason {
            violations.push(format!("{name} has {lines} lines: split it, or give a reason"));
        }
    }
    for (file, _) in reasons {
        if !sizes.iter().any(|(name, lines)| name == file && *lines > REASON_NEEDED) {
            violations.push(format!("{file} needs no reason any more"));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_need_a_reason_and_very_long_ones_have_none() {
        let sizes = [("a".into(), 500), ("b".into(), 501), ("c".into(), 900), ("d".into(), 901)];
        let found = violations(&sizes, &[("c", "a table"), ("d", "a table")]);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("b has 501 lines"), "{found:?}");
        assert!(found[1].starts_with("d has 901 lines"), "{found:?}");
    }

    #[test]
    fn a_reason_without_a_long_file_is_an_error() {
        let found = violations(&[("a".into(), 10)], &[("a", "was long"), ("b", "is gone")]);
        assert_eq!(found, ["a needs no reason any more", "b needs no reason any more"]);
    }

    #[test]
    fn an_empty_reason_is_none() {
        assert_eq!(violations(&[("a".into(), 600)], &[("a", "")]).len(), 1);
    }
}
