//! polymix and burn at the same work, on the same adapter, by turns.
//!
//! `make bench` prints the table and writes `target/bench/peers.json`. The time is from submission to completion, with
//! the operands on the device; the median of many.

#[path = "../../harness/mod.rs"]
mod harness;
mod peer;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use harness::peaks::Peaks;
use harness::step::Training;
use harness::{Case, Contender, Work, percent, race, table, works};
use polymix::recipe::{MixerKind, MixerSpec, ModelConfig};
use polymix::train::BatchShape;
use polymix::{Error, Result};
use serde_json::{Value, json};

/// Time for one comparison.
const BUDGET: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One comparison.
struct Row {
    name: String,
    shape: String,
    ours: f64,
    burn: f64,
    flops: u64,
    /// Bytes of operands and results; 0 where arithmetic decides.
    bytes: u64,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.burn / self.ours
    }

    fn json(&self, peaks: &Peaks) -> Value {
        let mut row = json!({
            "name": self.name, "shape": self.shape, "ours_ms": self.ours, "burn_ms": self.burn,
            "share_of_peak": peaks.share(self.flops, self.bytes, self.ours),
        });
        for (key, amount) in [("gflops", self.flops), ("gbps", self.bytes)] {
            if amount > 0 {
                row[key] = json!(1e-6 * amount as f64 / self.ours);
            }
        }
        row
    }

    fn cells(&self, peaks: &Peaks) -> Vec<String> {
        let share = peaks.share(self.flops, self.bytes, self.ours);
        vec![
            self.name.clone(),
            self.shape.clone(),
            format!("{:.2}", self.ours),
            format!("{:.2}", self.burn),
            format!("{:.2}", self.ratio()),
            percent(share),
        ]
    }
}

/// The 4-layer Conformer with multi-head attention, and its batch of 8 × 4 s.
fn conformer() -> (ModelConfig, BatchShape) {
    let config = ModelConfig {
        mixer: MixerSpec::Every(MixerKind::RegularMha),
        d_model: 144,
        layers: 4,
        ffn: 576,
        heads: 4,
        channels: [64, 16],
        ..ModelConfig::default()
    };
    (config, BatchShape { utterances: 8, frames: 400 })
}

fn compare() -> Result<()> {
    let only = std::env::args().nth(1).unwrap_or_default();
    let gpu = harness::device()?;
    let adapter = gpu.capabilities().label();
    let device = peer::device(gpu.capabilities())?;
    let peaks = Peaks::measure(&gpu)?;

    let matmuls = works::matmuls(gpu.capabilities().class);
    let mut pairs: Vec<(Work, Contender<'_>)> = Vec::new();
    for matmul in &matmuls {
        pairs.push((matmul.work()?, peer::matmul(&device, matmul)));
    }
    pairs.push((works::layer_norm()?, peer::normalized(&device)));
    pairs.push((works::softmax()?, peer::softened(&device)));
    pairs.push((works::depthwise()?, peer::depthwise(&device)));
    pairs.push((works::attention(false)?, peer::attended(&device, false)));
    pairs.push((works::attention(true)?, peer::attended(&device, true)));
    pairs.push((works::feed_forward()?, peer::feed_forward(&device)));

    let mut rows = Vec::new();
    for (work, burn) in pairs.into_iter().filter(|(work, _)| work.name.contains(&only)) {
        let mut case = Case::new(&gpu, &work)?;
        let (flops, bytes) = (case.flops, case.bytes);
        let times = race(&mut [Box::new(|| case.wall()), burn], BUDGET)?;
        rows.push(Row { name: work.name, shape: work.shape, ours: times[0], burn: times[1], flops, bytes });
        eprintln!("{}", rows[rows.len() - 1].cells(&peaks).join("  "));
    }
    let name = "training step";
    if name.contains(&only) {
        let (config, shape) = conformer();
        let mut training = Training::new(&gpu, config.clone(), shape)?;
        let flops = training.flops;
        let burn = peer::training(&device, &config, shape);
        let times = race(&mut [Box::new(|| training.step()), burn], BUDGET)?;
        let shape = format!("{} layers, d {}, 8 × 4 s", config.layers, config.d_model);
        rows.push(Row { name: name.to_owned(), shape, ours: times[0], burn: times[1], flops, bytes: 0 });
    }

    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.cells(&peaks)).collect();
    println!("{adapter}\n");
    println!("{}", table(&["work", "shape", "polymix ms", "burn ms", "burn / polymix", "of peak"], &cells));
    let mean = rows.iter().map(|row| row.ratio().ln()).sum::<f64>() / rows.len().max(1) as f64;
    println!("geometric mean of the ratios: {:.2}", mean.exp());
    let rows: Vec<Value> = rows.iter().map(|row| row.json(&peaks)).collect();
    write(Path::new("target/bench/peers.json"), &json!({ "adapter": adapter, "rows": rows }))
}

fn write(path: &Path, value: &Value) -> Result<()> {
    let told = |error: std::io::Error| Error::file(path, format!("cannot be written: {error}"));
    std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(told)?;
    std::fs::write(path, format!("{value:#}\n")).map_err(told)
}
