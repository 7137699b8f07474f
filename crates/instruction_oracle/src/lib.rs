#![doc = include_str!("../README.md")]
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

pub mod case;
pub mod compare;
pub mod coverage;
pub mod differences;
pub mod generate;
pub mod interpreter;
pub mod memory;
pub mod native;
pub mod random;
pub mod runner;
pub mod scope;
pub mod undefined;
pub mod values;
