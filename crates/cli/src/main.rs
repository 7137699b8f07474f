//! The `testudo` command: arguments and printing only.

fn main() {}
