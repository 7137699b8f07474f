//! Where things are in the checkout.
//!
//! What the tasks build for a guest is always under `target/` of the checkout, even if `CARGO_TARGET_DIR` says that cargo's own files go
//! elsewhere, so that tests find it:
//!
//! | path | what |
//! |---|---|
//! | `target/fixtures/hello.bin` | the default guest as a flat image, for real mode at [`HELLO_ADDRESS`] |
//! | `target/fixtures/hello-multiboot.elf` | the same guest as a 32-bit ELF with a multiboot header |
//! | `target/fixtures/hello-pvh.elf` | the same guest as a 64-bit ELF with a PVH note |
//! | `target/fixtures/hello-bzimage` | the same guest in Linux's format, entered in 64-bit mode |
//! | `target/fixtures/hello-flat.bin` | a flat image that stays in real mode, for any address below 1 MiB |
//! | `target/fixtures/linux/vmlinuz` | the distribution's kernel |
//! | `target/fixtures/linux/initramfs.cpio` | busybox, the script of `fixtures/initramfs/init` and the program of `cargo xtask bench` |
//! | `target/downloads/` | packages of the distribution |
//! | `target/guests/` | cargo's files for the guests |
//!
//! Tests get the first folder as `TESTUDO_FIXTURES` and the `testudo` program as `TESTUDO_BIN`.
use std::path::{Path, PathBuf};

/// Where `hello.bin` must be loaded.
pub(crate) const HELLO_ADDRESS: u64 = 0x1_0000;

/// The environment variable with the folder of the fixtures.
pub(crate) const FIXTURES_VARIABLE: &str = "TESTUDO_FIXTURES";
/// The environment variable with the path of the `testudo` program.
pub(crate) const PROGRAM_VARIABLE: &str = "TESTUDO_BIN";

/// The root of the checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// The sources of the guests.
pub(crate) fn fixture_sources() -> PathBuf {
    root().join("fixtures")
}

/// What was built for guests.
pub(crate) fn fixtures() -> PathBuf {
    root().join("target/fixtures")
}

/// The Linux kernel to boot.
pub(crate) fn linux_kernel() -> PathBuf {
    fixtures().join("linux/vmlinuz")
}

/// The initramfs to boot it with.
pub(crate) fn linux_initramfs() -> PathBuf {
    fixtures().join("linux/initramfs.cpio")
}

/// Packages of the distribution, and apt's own files about them.
pub(crate) fn downloads() -> PathBuf {
    root().join("target/downloads")
}

/// Cargo's files for one guest.
pub(crate) fn guest_target(name: &str) -> PathBuf {
    root().join("target/guests").join(name)
}
