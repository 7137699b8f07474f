//! The table of coverage in the README: which instructions are compared, which are not, and why.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use iced_x86::{Code, Mnemonic};

use crate::case::Mode;
use crate::differences::Difference;
use crate::scope::{self, Exclusion};

const BEGIN: &str = "<!-- coverage: generated, do not edit -->\n";
const END: &str = "<!-- end of coverage -->\n";

/// The README this table is part of.
pub fn readme_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// The table as it should be. It depends on the code of this crate and the version of iced-x86 alone, not on the host.
pub fn table() -> String {
    let mut compared: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    let mut excluded: BTreeMap<Exclusion, Vec<Code>> = BTreeMap::new();
    for code in Code::values().filter(|&code| code.mnemonic() != Mnemonic::INVALID) {
        let reasons = Mode::ALL.map(|mode| scope::exclusion(code, mode));
        if reasons.contains(&None) {
            compared.entry(format!("{:?}", code.mnemonic())).or_default().push(code);
        } else {
            // What is not an instruction of one mode may have a better reason in the other.
            let reason = reasons.into_iter().flatten().max().unwrap_or(Exclusion::OtherModes);
            excluded.entry(reason).or_default().push(code);
        }
    }
    let mut text = String::new();
    let total: usize = compared.values().map(Vec::len).sum();
    let _ = writeln!(text, "\n### Summary\n\n| iced-x86 codes | state |\n|---:|---|");
    let _ = writeln!(text, "| {total} | implemented and compared |");
    for mode in Mode::ALL {
        let count =
            compared.values().flatten().filter(|&&code| scope::exclusion(code, mode).is_none()).count();
        let name = match mode {
            Mode::Long => "64-bit mode",
            Mode::Compatibility => "32-bit (compatibility) mode",
        };
        let _ = writeln!(text, "| {count} | of these in {name} |");
    }
    for exclusion in Exclusion::ALL {
        let count = excluded.get(&exclusion).map_or(0, Vec::len);
        let implemented =
            if exclusion.is_implemented() { "implemented, not compared" } else { "not implemented" };
        let _ = writeln!(text, "| {count} | {implemented}: {exclusion} |");
    }
    let _ =
        writeln!(text, "\n### Allowed differences\n\n| name | what and why | instructions |\n|---|---|---|");
    for difference in Difference::ALL {
        let mut mnemonics: Vec<&str> = compared
            .iter()
            .filter(|(_, codes)| codes.iter().any(|&code| difference.concerns(code)))
            .map(|(mnemonic, _)| mnemonic.as_str())
            .collect();
        mnemonics.dedup();
        let (name, reason) = (difference.name(), difference.reason());
        let all = compared.len() == mnemonics.len();
        let which = if all { "all".to_owned() } else { mnemonics.join(", ") };
        let _ = writeln!(text, "| {name} | {reason} | {which} |");
    }
    let _ = writeln!(text, "\n### Implemented, not compared\n\n| reason | iced-x86 codes |\n|---|---|");
    for exclusion in Exclusion::ALL.into_iter().filter(|exclusion| exclusion.is_implemented()) {
        let codes = excluded.get(&exclusion).map_or(&[][..], Vec::as_slice);
        let _ = writeln!(text, "| {exclusion} | {} |", names(codes));
    }
    let _ = writeln!(
        text,
        "\n### Not implemented, by the CPUID feature they need\n\n| feature | codes |\n|---|---:|"
    );
    let mut features: BTreeMap<String, usize> = BTreeMap::new();
    for code in excluded.get(&Exclusion::NotInModel).into_iter().flatten() {
        let needs: Vec<String> = code.cpuid_features().iter().map(|feature| format!("{feature:?}")).collect();
        *features.entry(needs.join(" + ")).or_default() += 1;
    }
    for (feature, count) in features {
        let _ = writeln!(text, "| {feature} | {count} |");
    }
    let _ = writeln!(
        text,
        "\n### Compared\n\nWithout a mark in both modes; ⁶⁴ only in 64-bit mode, ³² only in 32-bit mode.\n"
    );
    let _ = writeln!(text, "| mnemonic | iced-x86 codes |\n|---|---|");
    for (mnemonic, codes) in compared {
        let marked = codes.iter().map(|&code| {
            let mark = match Mode::ALL.map(|mode| scope::exclusion(code, mode)) {
                [None, None] => "",
                [None, _] => "⁶⁴",
                _ => "³²",
            };
            format!("{code:?}{mark}")
        });
        let _ = writeln!(text, "| {mnemonic} | {} |", marked.collect::<Vec<_>>().join(" "));
    }
    text
}

fn names(codes: &[Code]) -> String {
    codes.iter().map(|code| format!("{code:?}")).collect::<Vec<_>>().join(" ")
}

fn split(readme: &str) -> Result<(&str, &str, &str)> {
    let begin = readme.find(BEGIN).context("README.md has no line that begins the coverage")? + BEGIN.len();
    let end = readme.find(END).context("README.md has no line that ends the coverage")?;
    ensure!(begin <= end, "README.md ends the coverage before it begins");
    Ok((&readme[..begin], &readme[begin..end], &readme[end..]))
}

/// Whether the README has the table as it should be.
pub fn is_up_to_date() -> Result<bool> {
    let readme = std::fs::read_to_string(readme_path()).context("read README.md")?;
    Ok(split(&readme)?.1 == table() + "\n")
}

/// Writes the table into the README.
pub fn accept() -> Result<()> {
    let readme = std::fs::read_to_string(readme_path()).context("read README.md")?;
    let (before, _, after) = split(&readme)?;
    let new = format!("{before}{}\n{after}", table());
    std::fs::write(readme_path(), new).context("write README.md")
}
