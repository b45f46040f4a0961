//! The contest: every work by all contenders in turns, and its table.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use polymix::gpu::Gpu;
use polymix::{Error, Result};
use serde_json::{Map, Value, json};

use crate::harness::peaks::Peaks;
use crate::harness::step::Training;
use crate::harness::{Case, Contender, Work, percent, race, table};
use crate::peer::{Entry, Peer, Run, check, operand};

/// Time for one comparison.
const BUDGET: Duration = Duration::from_secs(3);

/// polymix's side of a comparison.
pub struct Ours {
    run: Box<dyn Run>,
    flops: u64,
    /// Bytes of operands and results; 0 where arithmetic decides.
    bytes: u64,
    /// How many runs must have the same results; 0 where they are random.
    checks: usize,
}

impl Run for Case {
    fn time(&mut self) -> Result<f64> {
        self.wall()
    }

    fn results(&mut self) -> Result<Vec<Vec<f32>>> {
        Self::results(self)
    }
}

impl Run for Training {
    fn time(&mut self) -> Result<f64> {
        self.step()
    }

    fn results(&mut self) -> Result<Vec<Vec<f32>>> {
        Ok(vec![vec![self.loss()?]])
    }
}

impl Ours {
    /// A training step, whose loss is compared for `checks` steps.
    pub fn training(training: Training, checks: usize) -> Self {
        Self { flops: training.flops, bytes: 0, checks, run: Box::new(training) }
    }
}

/// A column of the table.
struct Column {
    name: &'static str,
    peer: Result<Box<dyn Peer>>,
}

/// One comparison.
struct Row {
    name: String,
    shape: String,
    ours: f64,
    /// By column, or why there is no figure.
    theirs: Vec<std::result::Result<f64, String>>,
    flops: u64,
    bytes: u64,
}

impl Row {
    fn ratio(&self, column: usize) -> Option<f64> {
        self.theirs[column].as_ref().ok().map(|theirs| theirs / self.ours)
    }

    fn json(&self, columns: &[Column], peaks: &Peaks) -> Value {
        let mut row = json!({
            "name": self.name, "shape": self.shape, "ours_ms": self.ours,
            "share_of_peak": peaks.share(self.flops, self.bytes, self.ours),
        });
        for (key, amount) in [("gflops", self.flops), ("gbps", self.bytes)] {
            if amount > 0 {
                row[key] = json!(1e-6 * amount as f64 / self.ours);
            }
        }
        for (column, theirs) in columns.iter().zip(&self.theirs) {
            match theirs {
                Ok(milliseconds) => row[format!("{}_ms", column.name)] = json!(milliseconds),
                Err(reason) => row[format!("{}_absent", column.name)] = json!(reason),
            }
        }
        row
    }

    fn cells(&self, peaks: &Peaks) -> Vec<String> {
        let figure = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        let theirs = self.theirs.iter().map(|theirs| figure(theirs.as_ref().ok().copied()));
        let ratios = (0..self.theirs.len()).map(|column| figure(self.ratio(column)));
        [self.name.clone(), self.shape.clone(), figure(Some(self.ours))]
            .into_iter()
            .chain(theirs)
            .chain(ratios)
            .chain([percent(peaks.share(self.flops, self.bytes, self.ours))])
            .collect()
    }
}

/// Contenders, and the comparisons so far.
pub struct Contest {
    gpu: Arc<Gpu>,
    peaks: Peaks,
    columns: Vec<Column>,
    /// A part of the names of the works that are compared.
    only: String,
    rows: Vec<Row>,
}

impl Contest {
    /// Without peers.
    pub fn new(gpu: Arc<Gpu>, only: String) -> Result<Self> {
        let peaks = Peaks::measure(&gpu)?;
        Ok(Self { gpu, peaks, columns: Vec::new(), only, rows: Vec::new() })
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Adds a peer's column, which is empty where the peer does not start.
    pub fn peer(&mut self, name: &'static str, peer: Result<Box<dyn Peer>>) {
        if let Err(error) = &peer {
            eprintln!("{name} does not start: {error}");
        }
        self.columns.push(Column { name, peer });
    }

    /// Whether works of this name are compared.
    pub fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    /// Compares work on operands that all contenders share.
    pub fn work(&mut self, work: Work, theirs: impl Fn(&dyn Peer) -> Entry) -> Result<()> {
        if !self.wants(&work.name) {
            return Ok(());
        }
        let case = Case::filled(&self.gpu, &work, operand)?;
        let (flops, bytes) = (case.flops, case.bytes);
        let ours = Ours { run: Box::new(case), flops, bytes, checks: 1 };
        self.compare(&work.name, &work.shape, ours, theirs)
    }

    /// Compares what polymix has prepared.
    pub fn compare(
        &mut self,
        name: &str,
        shape: &str,
        mut ours: Ours,
        theirs: impl Fn(&dyn Peer) -> Entry,
    ) -> Result<()> {
        let expected: Vec<_> = (0..ours.checks).map(|_| ours.run.results()).collect::<Result<_>>()?;
        let prepared = |column: &Column| -> std::result::Result<Box<dyn Run>, String> {
            let peer = column.peer.as_ref().map_err(Error::to_string)?;
            let right = |mut run: Box<dyn Run>| {
                expected.iter().try_for_each(|expected| check(expected, &run.results()?)).map(|()| run)
            };
            theirs(peer.as_ref()).and_then(right).map_err(|error| error.to_string())
        };
        let mut entries: Vec<_> = self.columns.iter().map(prepared).collect();
        let mut contenders: Vec<Contender<'_>> = vec![Box::new(|| ours.run.time())];
        for run in entries.iter_mut().flatten() {
            contenders.push(Box::new(|| run.time()));
        }
        let mut times = race(&mut contenders, BUDGET)?.into_iter();
        drop(contenders);
        let mut next = || times.next().unwrap_or(f64::NAN);
        let (name, shape, own) = (name.to_owned(), shape.to_owned(), next());
        let theirs = entries.into_iter().map(|entry| entry.map(|_| next())).collect();
        let row = Row { name, shape, ours: own, theirs, flops: ours.flops, bytes: ours.bytes };
        eprintln!("{}", row.cells(&self.peaks).join("  "));
        self.rows.push(row);
        Ok(())
    }

    /// Prints the table, what is absent in it and the geometric means; writes the same as JSON.
    pub fn report(&self, path: &Path) -> Result<()> {
        let adapter = self.gpu.capabilities().label();
        let names = || self.columns.iter().map(|column| column.name);
        let header: Vec<String> = ["work", "shape", "polymix ms"]
            .map(str::to_owned)
            .into_iter()
            .chain(names().map(|name| format!("{name} ms")))
            .chain(names().map(|name| format!("{name} / polymix")))
            .chain(["of peak".to_owned()])
            .collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let cells: Vec<Vec<String>> = self.rows.iter().map(|row| row.cells(&self.peaks)).collect();
        println!("{adapter}\n\n{}", table(&header, &cells));
        let mut means = Map::new();
        for (index, Column { name, peer }) in self.columns.iter().enumerate() {
            if let Err(error) = peer {
                println!("without {name}: {error}");
                continue;
            }
            for row in &self.rows {
                if let Err(reason) = &row.theirs[index] {
                    println!("without {name}: {}, {}: {reason}", row.name, row.shape);
                }
            }
            let ratios: Vec<f64> = self.rows.iter().filter_map(|row| row.ratio(index)).collect();
            if ratios.is_empty() {
                continue;
            }
            let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
            println!("geometric mean of {name} / polymix: {mean:.2} of {} works", ratios.len());
            means.insert((*name).to_owned(), json!(mean));
        }
        let rows: Vec<Value> = self.rows.iter().map(|row| row.json(&self.columns, &self.peaks)).collect();
        write(path, &json!({ "adapter": adapter, "means": means, "rows": rows }))
    }
}

fn write(path: &Path, value: &Value) -> Result<()> {
    let told = |error: std::io::Error| Error::file(path, format!("cannot be written: {error}"));
    std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(told)?;
    std::fs::write(path, format!("{value:#}\n")).map_err(told)
}
