#![doc = include_str!("../README.md")]
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

pub mod case;
pub mod generate;
pub mod memory;
pub mod native;
pub mod random;
pub mod scope;
pub mod values;
