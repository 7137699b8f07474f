use instruction_oracle::{case::*, generate::*, native::*, random::*, scope};
use std::collections::BTreeMap;
fn main() {
    let mut native = Native::new().unwrap();
    let mut generator = Generator::new(native.has_segment_bases());
    let mut random = Random::new(1);
    let per: usize = std::env::args().nth(1).map_or(200, |a| a.parse().unwrap());
    let only = std::env::args().nth(2);
    let mut failures = BTreeMap::new();
    let start = std::time::Instant::now();
    let mut n = 0u64;
    for code in scope::compared() {
        if only.as_ref().is_some_and(|o| *o != format!("{code:?}")) { continue; }
        let mut ends: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..per {
            match generator.case(&mut random, code) {
                Ok(case) => {
                    if only.is_some() { println!("{}", case.text()); }
                    n += 1;
                    let a = native.run(&case);
                    let b = native.run(&case);
                    if a != b { println!("not repeatable: {case:?}\n{a:?}\n{b:?}"); }
                    let end = match a.end { End::Retired => "retired".to_owned(), End::Exception { vector, .. } => format!("#{vector}"), End::Unsupported(s) => s.to_owned() };
                    *ends.entry(end).or_default() += 1;
                }
                Err(error) => { failures.insert(format!("{code:?}"), error); break }
            }
        }
        let r = ends.get("retired").copied().unwrap_or(0);
        if (r as usize) < per * 6 / 10 { println!("{code:?} {ends:?}"); }
    }
    println!("{failures:#?} {n} {:?}", start.elapsed());
}
