//! Ranks that mpirun starts: the command's bits, and what ends a run.

#![cfg(unix)]

mod outcome;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use outcome::{losses, weights};

const RECIPE: &str = "
[model]
d_model = 16
layers = 1
ffn = 32
kernel = 7
channels = [4, 4]

[features]
silence = 0.1

[finetune]
head = 'linear'
steps = 12

[finetune.data]
batch_utterances = 3
buckets = 2

[finetune.augmentation]
enabled = false

[finetune.optimizer]
accumulation = 6

[run]
log_every = 1
checkpoint_every = 6
validate_every = 6
";

/// Whether there is a launcher.
fn launcher() -> bool {
    let found = version().is_some();
    if !found {
        eprintln!("skipped: there is no mpirun on the PATH");
    }
    found
}

/// The launcher's own description.
fn version() -> Option<String> {
    let output = Command::new("mpirun").arg("--version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The number of a rank in a shell, of Open MPI or of MPICH.
const RANK: &str = "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}";

/// `mpirun` of this many ranks, each of which runs `before` in a shell and then trains in `run`.
fn mpirun(size: usize, before: &str, run: &Path, more: &[&str]) -> Command {
    let recipe = run.with_extension("toml");
    std::fs::write(&recipe, RECIPE).unwrap();
    let corpus = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut command = Command::new("mpirun");
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    // Containers lack the right to read other processes' memory.
    command.env("OMPI_MCA_btl_vader_single_copy_mechanism", "none");
    if version().is_some_and(|version| version.contains("Open MPI")) {
        command.args(["--oversubscribe", "--bind-to", "none"]);
    }
    command.args(["-n", &size.to_string(), "sh", "-c"]);
    command.arg(format!("{before}\nexec \"$@\"")).arg("sh");
    command.args([env!("CARGO_BIN_EXE_polymix"), "finetune"]).arg(&recipe);
    command.arg("--data").arg(corpus("train.jsonl")).arg("--valid").arg(corpus("valid.jsonl"));
    let device = std::env::var("POLYMIX_DEVICE").unwrap_or("auto".to_owned());
    command.arg("--out").arg(run).args(["--device", &device]).args(more);
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn trained(size: usize, run: &Path, more: &[&str]) {
    let output = mpirun(size, "", run, more).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn processes_train_what_one_does() {
    if !launcher() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for size in [2, 3] {
        let accumulation = format!("finetune.optimizer.accumulation={size}");
        let set = ["--set", &accumulation, "--quiet"];
        let run = |name: &str| folder.path().join(format!("{name}-{size}"));
        trained(1, &run("one"), &set);
        trained(size, &run("several"), &set);
        assert_eq!(losses(&run("one")), losses(&run("several")), "{size} processes");
        assert_eq!(weights(&run("one")), weights(&run("several")), "{size} processes");
        // Threads of one process and processes give the same, also with f16 on the way.
        trained(size, &run("f16"), &[&set[..], &["--exchange", "f16"]].concat());
        let recipe = run("threads").with_extension("toml");
        std::fs::write(&recipe, RECIPE).unwrap();
        let device = std::env::var("POLYMIX_DEVICE").unwrap_or("auto".to_owned());
        let corpus = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut threads = Command::new(env!("CARGO_BIN_EXE_polymix"));
        threads.arg("finetune").arg(&recipe).arg("--data").arg(corpus("train.jsonl"));
        threads.arg("--valid").arg(corpus("valid.jsonl")).arg("--out").arg(run("threads"));
        threads.args(set).args(["--exchange", "f16", "--devices", &vec![device; size].join(",")]);
        let output = threads.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(weights(&run("f16")), weights(&run("threads")), "{size} processes");
        assert!(weights(&run("f16")) != weights(&run("one")));
    }
}

#[test]
fn a_wrong_number_is_told_once_as_usage() {
    if !launcher() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = mpirun(4, "", &run, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert_eq!(text(&output).matches("error: ").count(), 1, "{}", text(&output));
    assert!(text(&output).contains("set finetune.optimizer.accumulation to 4 or 8"), "{}", text(&output));
    assert!(!run.exists());
}

/// A run of many steps, each rank of which tells its process, that has logged a few.
struct Under {
    mpirun: Child,
    run: PathBuf,
}

impl Under {
    fn way(size: usize, folder: &Path, more: &[&str]) -> Self {
        let run = folder.join("run");
        let before = format!("echo $$ > {}/rank.{RANK}", folder.display());
        let more = [&["--set", "finetune.steps=100000", "--set", "run.checkpoint_every=5"], more].concat();
        let mut command = mpirun(size, &before, &run, &more);
        let mpirun = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while !run.join("metrics.jsonl").exists() || losses(&run).len() < 8 {
            assert!(begun.elapsed() < Duration::from_secs(240), "the run has no steps");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { mpirun, run }
    }

    fn signal(&self, rank: usize, signal: &str) {
        let process = std::fs::read_to_string(self.run.with_file_name(format!("rank.{rank}"))).unwrap();
        assert!(Command::new("kill").args([signal, process.trim()]).status().unwrap().success());
    }

    /// Waits for the end of all, and gives what they said; the run has a whole checkpoint.
    fn ended(mut self) -> String {
        let begun = Instant::now();
        while self.mpirun.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the run goes on");
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = self.mpirun.wait_with_output().unwrap();
        assert!(!output.status.success(), "{}", text(&output));
        assert!(self.run.join("checkpoints").read_dir().unwrap().next().is_some());
        text(&output)
    }
}

#[test]
fn a_killed_rank_ends_all() {
    if !launcher() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let under = Under::way(2, folder.path(), &[]);
    under.signal(1, "-KILL");
    let told = under.ended();
    assert!(told.contains("rank 1"), "{told}");
}

#[test]
fn a_rank_that_is_silent_ends_all_with_its_number() {
    if !launcher() {
        return;
    }
    for rank in [1, 0] {
        let folder = tempfile::tempdir().unwrap();
        let under = Under::way(2, folder.path(), &["--time-limit", "5"]);
        under.signal(rank, "-STOP");
        let told = under.ended();
        assert!(told.contains(&format!("error: rank {rank} has not answered for 5 s")), "{told}");
    }
}

#[test]
fn a_request_to_any_rank_saves_and_stops_all_and_others_go_on() {
    if !launcher() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let under = Under::way(3, folder.path(), &[]);
    let run = under.run.clone();
    under.signal(2, "-TERM");
    let told = under.ended();
    assert!(told.contains("saved after step ") && told.contains("go on with --resume"), "{told}");
    assert_eq!(told.matches("error: stopped on request").count(), 1, "{told}");
    let done = losses(&run).last().unwrap().0;
    let limit = (done + 2).to_string();
    trained(2, &run, &["--set", "finetune.steps=100000", "--resume", "--limit-steps", &limit]);
    assert_eq!(losses(&run).last().unwrap().0, done + 2);
}

#[test]
fn a_full_disk_at_the_rank_that_writes_ends_all() {
    if !launcher() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    // Files of at most 16 KiB, as on a disk that is full.
    let before = format!("[ {RANK} != 0 ] || {{ trap '' XFSZ; ulimit -f 32; }}");
    let mut command = mpirun(2, &before, &run, &[]);
    // Shared memory is a file, too.
    let output = command.env("OMPI_MCA_btl", "self,tcp").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!(text(&output).matches("error: ").count(), 1, "{}", text(&output));
    assert!(
        text(&output).contains("error: rank 0: ") || text(&output).contains("polymix-partial"),
        "{}",
        text(&output)
    );
}
