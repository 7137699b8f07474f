//! The direction of dependencies: which of our crates may use which. The table is the rule.
use crate::workspace;
use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::BTreeMap;

/// What a crate of ours may use of ours.
struct Rule {
    name: &'static str,
    /// In what is shipped.
    uses: &'static [&'static str],
    /// In its tests besides.
    tests_use: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule { name: "x86_defs", uses: &[], tests_use: &[] },
    Rule { name: "guest_memory", uses: &[], tests_use: &[] },
    Rule { name: "saved_state", uses: &[], tests_use: &[] },
    Rule { name: "x86_cpu", uses: &["x86_defs", "guest_memory", "saved_state"], tests_use: &[] },
    // Runs instructions natively, to test the processor: nothing may use it but other tests.
    Rule { name: "instruction_oracle", uses: &["x86_cpu", "x86_defs", "guest_memory"], tests_use: &[] },
    Rule { name: "devices", uses: &["x86_defs", "saved_state"], tests_use: &[] },
    Rule {
        name: "hypervisor",
        uses: &["x86_cpu", "x86_defs", "guest_memory", "saved_state"],
        tests_use: &[],
    },
    Rule {
        name: "machine",
        uses: &["hypervisor", "devices", "x86_defs", "guest_memory", "saved_state"],
        tests_use: &[],
    },
    Rule { name: "testudo", uses: &["machine", "hypervisor", "saved_state"], tests_use: &[] },
    Rule {
        name: "tests",
        uses: &["machine", "hypervisor", "devices", "x86_cpu", "x86_defs", "guest_memory", "saved_state"],
        tests_use: &["instruction_oracle"],
    },
    // Builds everything else, so it must build when nothing else does.
    Rule { name: "xtask", uses: &[], tests_use: &[] },
];

/// An arrow from a crate of ours to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    from: String,
    to: String,
    in_tests_only: bool,
}

/// Compares the workspace with the table.
pub(crate) fn check() -> Result<()> {
    let metadata = MetadataCommand::new()
        .current_dir(workspace::root())
        .no_deps()
        .exec()
        .context("reading the workspace's metadata")?;
    let ours: Vec<String> =
        metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    let mut arrows = Vec::new();
    for package in metadata.workspace_packages() {
        for dependency in &package.dependencies {
            if ours.contains(&dependency.name) {
                arrows.push(Arrow {
                    from: package.name.to_string(),
                    to: dependency.name.clone(),
                    in_tests_only: dependency.kind == DependencyKind::Development,
                });
            }
        }
    }
    let violations = violations(&ours, &arrows);
    if !violations.is_empty() {
        bail!(
            "{} wrong (the table is in xtask/src/check/dependencies.rs):\n{}",
            violations.len(),
            violations.join("\n")
        );
    }
    Ok(())
}

fn violations(ours: &[String], arrows: &[Arrow]) -> Vec<String> {
    let rules: BTreeMap<&str, &Rule> = RULES.iter().map(|rule| (rule.name, rule)).collect();
    let mut violations = Vec::new();
    for name in ours {
        if !rules.contains_key(name.as_str()) {
            violations.push(format!("{name} has no rule"));
        }
    }
    for name in rules.keys() {
        if !ours.iter().any(|one| one == name) {
            violations.push(format!("{name} has a rule, but is no crate of the workspace"));
        }
    }
    for Arrow { from, to, in_tests_only } in arrows {
        let Some(rule) = rules.get(from.as_str()) else { continue };
        let allowed = |names: &[&str]| names.contains(&to.as_str());
        if !(allowed(rule.uses) || *in_tests_only && allowed(rule.tests_use)) {
            let place = if *in_tests_only { " in its tests" } else { "" };
            violations.push(format!("{from} must not use {to}{place}"));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<String> {
        RULES.iter().map(|rule| rule.name.to_owned()).collect()
    }

    fn arrow(from: &str, to: &str, in_tests_only: bool) -> Arrow {
        Arrow { from: from.to_owned(), to: to.to_owned(), in_tests_only }
    }

    #[test]
    fn allowed_arrows_pass() {
        let arrows = [arrow("machine", "hypervisor", false), arrow("tests", "instruction_oracle", true)];
        assert_eq!(violations(&all(), &arrows), [""; 0]);
    }

    #[test]
    fn wrong_arrows_are_named() {
        let arrows = [arrow("devices", "machine", false), arrow("tests", "instruction_oracle", false)];
        let expected = ["devices must not use machine", "tests must not use instruction_oracle"];
        assert_eq!(violations(&all(), &arrows), expected);
        assert_eq!(
            violations(&all(), &[arrow("xtask", "machine", true)]),
            ["xtask must not use machine in its tests"]
        );
    }

    #[test]
    fn the_table_and_the_workspace_name_the_same_crates() {
        let mut ours = all();
        ours.retain(|name| name != "devices");
        ours.push("new".to_owned());
        let expected = ["new has no rule", "devices has a rule, but is no crate of the workspace"];
        assert_eq!(violations(&ours, &[]), expected);
    }

    #[test]
    fn the_table_has_no_cycle() {
        // A crate's dependencies that are shipped all come before it in some order.
        let mut left: Vec<&Rule> = RULES.iter().collect();
        let mut placed: Vec<&str> = Vec::new();
        while !left.is_empty() {
            let (ready, rest): (Vec<&Rule>, Vec<&Rule>) =
                left.into_iter().partition(|rule| rule.uses.iter().all(|used| placed.contains(used)));
            assert!(
                !ready.is_empty(),
                "a cycle among {:?}",
                rest.iter().map(|rule| rule.name).collect::<Vec<_>>()
            );
            placed.extend(ready.iter().map(|rule| rule.name));
            left = rest;
        }
    }
}
