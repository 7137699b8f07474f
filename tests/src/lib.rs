//! The harness of the end-to-end tests.
//!
//! A test boots a guest in two ways. [`guest`] does it in the test's own process, with the checks of a test build in all of our code;
//! [`program`] runs the `testudo` command as a user would. What runs in guests is built by `cargo xtask fixtures`
//! ([`fixtures`]); small guests for one test are assembled on the spot.
//!
//! A fixture that is missing fails the test, with the command that builds it: no test is skipped.

pub mod fixtures;
pub mod guest;
pub mod program;
pub mod random;
pub mod terminal;
