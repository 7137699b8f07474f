//! The tables in the README say what the code does.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[test]
fn readme_has_the_coverage_of_this_code() {
    assert!(
        instruction_oracle::coverage::is_up_to_date().expect("README.md"),
        "the coverage changed: look at it, then run `cargo run -p instruction_oracle -- --accept-coverage`"
    );
}
