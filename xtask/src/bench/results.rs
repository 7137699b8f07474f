//! The numbers of all runs, and the table of them.
use super::console::Run;
use anyhow::{Result, bail};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// The row that stands for all workloads.
const GEOMETRIC_MEAN: &str = "geometric mean of the workloads";

/// All runs of all machines, the first of which the others are compared with.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    machines: Vec<Machine>,
}

#[derive(Debug, Serialize)]
struct Machine {
    name: String,
    runs: Vec<Run>,
}

/// A row of the table: seconds of each machine.
#[derive(Debug, PartialEq)]
struct Row {
    name: String,
    seconds: Vec<f64>,
}

impl Results {
    /// No runs of these machines.
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self { machines: names.map(|name| Machine { name: name.to_owned(), runs: Vec::new() }).collect() }
    }

    /// Adds a run of a machine, by its number. Every run must have done the same work as the first one.
    pub(crate) fn add(&mut self, machine: usize, run: Run) -> Result<()> {
        let work = |run: &Run| -> Vec<(String, String)> {
            run.workloads.iter().map(|one| (one.name.clone(), one.checksum.clone())).collect()
        };
        if let Some(first) = self.machines.iter().flat_map(|machine| &machine.runs).next()
            && work(first) != work(&run)
        {
            bail!("this run computed something else: {:?}, not {:?}", work(&run), work(first));
        }
        self.machines[machine].runs.push(run);
        Ok(())
    }

    /// The medians, and how much longer each other machine took than the first.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut header = vec!["seconds of the host".to_owned()];
        header.extend(self.machines.iter().map(|machine| machine.name.clone()));
        let others = self.machines.iter().skip(1);
        header.extend(others.map(|machine| format!("{} / {}", machine.name, self.machines[0].name)));
        table.set_header(header);
        for row in self.rows() {
            let mut cells = vec![row.name];
            cells.extend(row.seconds.iter().map(|seconds| format!("{seconds:.3}")));
            cells
                .extend(row.seconds.iter().skip(1).map(|seconds| format!("{:.2}", seconds / row.seconds[0])));
            table.add_row(cells);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }

    fn rows(&self) -> Vec<Row> {
        let Some(first) = self.machines[0].runs.first() else { return Vec::new() };
        let each = |time: &dyn Fn(&Run) -> f64| -> Vec<f64> {
            self.machines.iter().map(|machine| median(machine.runs.iter().map(time).collect())).collect()
        };
        let mut rows =
            vec![Row { name: "power on to userspace".to_owned(), seconds: each(&|run| run.userspace) }];
        for (number, workload) in first.workloads.iter().enumerate() {
            let seconds = each(&|run| run.workloads[number].seconds);
            rows.push(Row { name: workload.name.clone(), seconds });
        }
        let means = (0..self.machines.len()).map(|machine| {
            let logarithms: f64 = rows[1..].iter().map(|row| row.seconds[machine].ln()).sum();
            (logarithms / (rows.len() - 1) as f64).exp()
        });
        let mean = Row { name: GEOMETRIC_MEAN.to_owned(), seconds: means.collect() };
        rows.push(mean);
        rows
    }
}

/// The middle one; of an even number the lower of the two. Not a number if there is none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::super::console::Workload;
    use super::*;

    fn run(userspace: f64, seconds: &[f64], checksum: &str) -> Run {
        let workload = |(number, seconds): (usize, &f64)| Workload {
            name: format!("w{number}"),
            seconds: *seconds,
            guest_seconds: 1.0,
            checksum: checksum.to_owned(),
        };
        Run { userspace, workloads: seconds.iter().enumerate().map(workload).collect() }
    }

    #[test]
    fn rows_are_medians_and_the_last_one_is_their_geometric_mean() {
        let mut results = Results::new(["ours", "theirs"].into_iter());
        for userspace in [9.0, 1.0, 2.0] {
            results.add(0, run(userspace, &[1.0, 4.0], "c")).unwrap();
            results.add(1, run(userspace * 2.0, &[4.0, 16.0], "c")).unwrap();
        }
        let rows = results.rows();
        assert_eq!(rows[0], Row { name: "power on to userspace".into(), seconds: vec![2.0, 4.0] });
        assert_eq!(rows[1].seconds, [1.0, 4.0]);
        assert!((rows[3].seconds[0] - 2.0).abs() < 1e-9 && (rows[3].seconds[1] - 8.0).abs() < 1e-9);
        let table = results.table();
        let mean = table.lines().last().unwrap();
        assert!(
            mean.contains("2.000") && mean.contains("8.000") && mean.trim_end().ends_with("4.00"),
            "{table}"
        );
    }

    #[test]
    fn a_machine_that_computes_something_else_is_an_error() {
        let mut results = Results::new(["ours", "theirs"].into_iter());
        results.add(0, run(1.0, &[1.0], "c")).unwrap();
        assert!(results.add(1, run(1.0, &[1.0], "d")).is_err());
    }

    #[test]
    fn the_median_of_two_is_the_lower() {
        assert_eq!(median(vec![3.0, 1.0]), 1.0);
        assert!(median(Vec::new()).is_nan());
    }
}
