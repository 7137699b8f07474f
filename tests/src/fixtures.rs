//! Files that were built for the tests.

use std::path::{Path, PathBuf};

/// The environment variable with the folder of the fixtures.
pub const FOLDER_VARIABLE: &str = "TESTUDO_FIXTURES";

/// Where the image `hello.bin` must be loaded.
pub const HELLO_ADDRESS: u64 = 0x1_0000;

/// The same bare-metal guest for each boot protocol: the file, and the address of those that are flat.
pub const HELLO: [(&str, Option<u64>); 4] = [
    ("hello.bin", Some(HELLO_ADDRESS)),
    ("hello-multiboot.elf", None),
    ("hello-pvh.elf", None),
    ("hello-bzimage", None),
];

/// The distribution's kernel.
pub const KERNEL: &str = "linux/vmlinuz";
/// The initramfs for it.
pub const INITRAMFS: &str = "linux/initramfs.cpio";

/// The path of a fixture.
///
/// # Panics
/// If it is not there: the message says how to build it.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let folder = std::env::var_os(FOLDER_VARIABLE).map_or_else(
        || {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .parent()
                .expect("a folder of the workspace")
                .join("target/fixtures")
        },
        PathBuf::from,
    );
    let path = folder.join(name);
    assert!(path.is_file(), "there is no fixture {}; `cargo xtask fixtures` builds it", path.display());
    path
}

/// The bytes of a fixture.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn read(name: &str) -> Vec<u8> {
    let path = path(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}
