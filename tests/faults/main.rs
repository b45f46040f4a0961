//! Runs whose files fail: a full disk, no permission, a process that is killed between any two operations of the file
//! system or in the middle of a write. None loses the last whole checkpoint, all go on bit for bit, and nothing is left
//! over. `POLYMIX_KILLS=1000` kills as often as that, and lets every single operation fail.

#![cfg(all(feature = "cli", unix))]

#[path = "../adapter/mod.rs"]
mod adapter;
#[path = "../outcome/mod.rs"]
mod outcome;
mod plan;
mod run;
mod training;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use polymix::rng::Rng;
use polymix::train::Checkpoint;

use plan::Plan;

/// How many kills there are, and whether somebody asked for a number.
fn kills(default: usize) -> (usize, bool) {
    match std::env::var("POLYMIX_KILLS") {
        Ok(count) => (count.parse().expect("POLYMIX_KILLS is a number"), true),
        Err(_) => (default, false),
    }
}

/// A temporary folder in memory, where that is possible: flushing to a disk would take most of the time.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// All files below a folder by name; folders end in a slash and are empty.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn add(folder: &Path, prefix: &str, tree: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                let name = name + "/";
                add(&entry.path(), &name, tree);
                tree.insert(name, Vec::new());
            } else {
                tree.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    add(folder, "", &mut all);
    all
}

/// The files of a run but its events, which every process begins anew.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = tree(folder);
    files.retain(|name, _| !name.starts_with("events.out."));
    files
}

#[track_caller]
fn same(run: &Path, whole: &BTreeMap<String, Vec<u8>>, what: &str) {
    let found = files(run);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(whole), "{what}");
    for (name, bytes) in whole {
        assert!(found[name] == *bytes, "{what}: {name} differs");
    }
}

fn leftovers(folder: &Path) -> Vec<String> {
    let left = |name: &String| {
        let name = name.trim_end_matches('/');
        name.ends_with(".polymix-partial") || name.ends_with(".polymix-old")
    };
    tree(folder).into_keys().filter(left).collect()
}

/// Step of the newest checkpoint.
fn newest(run: &Path) -> Option<u64> {
    Checkpoint::newest(run).expect("the newest checkpoint is whole").map(|checkpoint| checkpoint.state.step)
}

/// Runs the test `name` of this file in a process of its own, with `plan` for the run in `folder`.
fn child(name: &str, folder: &Path, plan: &Plan) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--include-ignored"]);
    command.env("POLYMIX_FAULTS_RUN", folder).env("POLYMIX_FAULTS_PLAN", plan.to_string());
    command.output().unwrap()
}

/// What a parent asked this process for.
fn asked() -> Option<(PathBuf, Plan)> {
    let folder = PathBuf::from(std::env::var_os("POLYMIX_FAULTS_RUN")?);
    Some((folder, std::env::var("POLYMIX_FAULTS_PLAN").unwrap().parse().unwrap()))
}

/// The step that a child said last it had saved.
fn saved(output: &Output) -> Option<u64> {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().filter_map(|line| line.strip_prefix("saved ")?.parse().ok()).max()
}

fn was_killed(output: &Output) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    killed
}

#[test]
#[ignore = "the process that is killed"]
fn killed_run() {
    let Some((folder, plan)) = asked() else { return };
    plan::set(&folder, plan);
    run::go(&folder, &mut |step| eprintln!("saved {step}")).unwrap();
}

/// An unbroken run, and how many operations it takes.
fn whole() -> (BTreeMap<String, Vec<u8>>, u64) {
    let folder = scratch();
    plan::set(folder.path(), Plan::default());
    run::go(folder.path(), &mut |_| {}).unwrap();
    assert_eq!(leftovers(folder.path()), [""; 0]);
    (files(folder.path()), plan::count(folder.path()))
}

#[test]
fn killed_runs_go_on_from_their_last_whole_checkpoint() {
    let (whole, operations) = whole();
    let (wanted, told) = kills(24);
    let mut rng = Rng::new(&[1]);
    let (mut killed, mut finished) = (0, 0);
    while killed < wanted {
        let folder = scratch();
        let run = folder.path().join("run");
        let exchange = finished % 2 == 0;
        let mut floor = None;
        loop {
            let at = 1 + rng.below(operations as usize) as u64;
            let plan = Plan { at, kill: true, cut: rng.below(2) == 0, exchange, ..Plan::default() };
            let output = child("killed_run", &run, &plan);
            floor = floor.max(saved(&output));
            let found = newest(&run);
            assert!(found >= floor, "{plan}: {found:?} is older than {floor:?}");
            floor = found;
            run::check(&run);
            if !was_killed(&output) {
                break;
            }
            killed += 1;
        }
        same(&run, &whole, "a run that was killed");
        finished += 1;
    }
    if told {
        println!("{killed} kills in {finished} runs of {operations} operations; all went on bit for bit");
    }
}

#[test]
fn runs_whose_files_fail_say_why_and_go_on() {
    let (whole, operations) = whole();
    let (_, all) = kills(0);
    let kinds = [
        (ErrorKind::StorageFull, false, "free space"),
        (ErrorKind::StorageFull, true, "free space"),
        (ErrorKind::PermissionDenied, false, "let this user"),
        (ErrorKind::ReadOnlyFilesystem, true, "for writing"),
    ];
    let step = if all { 1 } else { 11 };
    let mut failed = 0;
    for at in (1..=operations).step_by(step) {
        let kinds = kinds.iter().skip(if all { 0 } else { at as usize / step % kinds.len() });
        for &(kind, from_then_on, remedy) in kinds.take(if all { 4 } else { 1 }) {
            let folder = scratch();
            let run = folder.path().join("run");
            let plan = Plan { at, error: Some(kind), from_then_on, cut: at % 2 == 0, ..Plan::default() };
            let what = plan.to_string();
            plan::set(&run, plan);
            let mut floor = None;
            let done = run::go(&run, &mut |step| floor = Some(step));
            plan::set(&run, Plan::default());
            // What is only cleaning up after a success may fail without harm.
            if let Err(error) = done {
                let message = error.to_string();
                assert!(message.contains(remedy) && !message.contains('\n'), "{what}: {message}");
                failed += 1;
            }
            assert!(newest(&run) >= floor, "{what}");
            run::check(&run);
            run::go(&run, &mut |_| {}).unwrap();
            same(&run, &whole, &what);
        }
    }
    assert!(failed > operations / step as u64 / 2, "{failed}");
    if all {
        println!("{failed} failures of {operations} operations; all went on bit for bit");
    }
}

/// A disk that is full leaves no half of anything, since the room is needed.
#[test]
fn a_full_disk_is_left_clean() {
    let (_, operations) = whole();
    for at in (1..=operations).step_by(17) {
        let folder = scratch();
        let run = folder.path().join("run");
        let full = Plan {
            at,
            error: Some(ErrorKind::StorageFull),
            from_then_on: true,
            cut: true,
            only_writes: true,
            ..Plan::default()
        };
        plan::set(&run, full);
        let done = run::go(&run, &mut |_| {});
        assert!(done.is_err() || at + 20 > operations, "{at}");
        if run.is_dir() {
            assert_eq!(leftovers(&run), [""; 0], "{at}");
        }
        for line in
            std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default().split_inclusive('\n')
        {
            assert!(line.ends_with("}\n"), "{at}: {line}");
        }
    }
}
