//! Dependencies between modules that the compiler does not check.

use std::path::{Path, PathBuf};

/// Tensors, graphs, operations and their execution: a library of its own, without speech or recipes.
const ENGINE: [&str; 9] = ["error", "shape", "rng", "shader", "gpu", "graph", "ops", "exec", "autograd"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every file of a module and the modules inside it. `keep` tells by the line above it whether a module counts.
fn files(file: PathBuf, folder: &Path, keep: &dyn Fn(&str) -> bool) -> Vec<(PathBuf, String)> {
    let text = std::fs::read_to_string(&file).unwrap();
    let mut found = Vec::new();
    let mut above = "";
    for line in text.lines() {
        let name =
            line.trim_start_matches("pub ").strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
        if let Some(name) = name.filter(|_| keep(above)) {
            let inner = folder.join(name);
            let [own, of_folder] = [inner.with_extension("rs"), inner.join("mod.rs")];
            // What has another path is of tests.
            if let Some(file) = [own, of_folder].into_iter().find(|file| file.is_file()) {
                found.extend(files(file, &inner, keep));
            }
        }
        above = line;
    }
    found.push((file, text));
    found
}

#[test]
fn the_engine_imports_nothing_above_it() {
    let mut seen = 0;
    for (file, text) in files(source().join("lib.rs"), &source(), &|_| true) {
        let place = file.strip_prefix(source()).unwrap().with_extension("");
        let module = place.iter().next().and_then(|module| module.to_str()).unwrap();
        if !ENGINE.contains(&module) {
            continue;
        }
        seen += 1;
        for (number, line) in text.lines().enumerate() {
            for rest in line.split("crate::").skip(1) {
                let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                let known = ENGINE.contains(&name) || ["Error", "Result"].contains(&name);
                assert!(known, "{}:{}: the engine imports `{name}`", file.display(), number + 1);
            }
        }
    }
    assert!(seen > 60, "{seen} files of the engine were read");
}

/// A program and a page have no command line: remedies are the command's (`Remedy`). Options of other programs may stand.
#[test]
fn only_the_command_advises_options_of_the_command() {
    let keep = |above: &str| !above.contains("cfg(test)");
    let all = files(source().join("lib.rs"), &source(), &keep);
    assert!(all.iter().any(|(file, _)| file.ends_with("train/start.rs")));
    for (file, text) in all.iter().filter(|(file, _)| !file.starts_with(source().join("cli"))) {
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for (number, line) in
            code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            let option = |rest: &&str| rest.starts_with(|c: char| c.is_ascii_lowercase());
            let others = ["sparse", "features"];
            let found = line
                .split("--")
                .skip(1)
                .filter(option)
                .find(|rest| others.iter().all(|other| !rest.starts_with(other)));
            assert!(found.is_none(), "{}:{}: an option: {}", file.display(), number + 1, line.trim());
        }
    }
}
