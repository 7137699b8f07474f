//! The comparison every test run makes: one seed, at least two million cases of single instructions, and sequences.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use instruction_oracle::generate::Generator;
use instruction_oracle::interpreter::Interpreter;
use instruction_oracle::native::Native;
use instruction_oracle::runner::{self, Plan};

#[test]
fn interpreter_agrees_with_the_host() {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().expect(name));
    // Other runs than the fixed one: the variables are for a person looking for more.
    let plan = Plan::all(number("ORACLE_SEED", 1), number("ORACLE_CASES", 2_400_000));
    let mut native = Native::new().expect("native engine");
    let mut generator = Generator::new();
    let mut interpreter = Interpreter::new();
    let report = runner::run(&plan, &mut generator, &mut native, &mut interpreter);
    println!("{report}");
    assert!(report.is_clean(), "{report}");
    assert!(report.compared() >= 2_000_000 || std::env::var_os("ORACLE_CASES").is_some());
}
