//! Resolves, validates and reflects every kernel of `shaders/` into the catalog of `src/shader.rs`.
//!
//! A file `shaders/<family>/<stem>.wgsl` with `//!` lines is a kernel (`build/header.rs`); others are there to be
//! imported. It becomes `<family>::<stem>::VARIANTS`, best first, each with its source, its storage bindings and its
//! override constants, and `<family>::<stem>::Params`, the Rust form of its `struct Params`. Where the comment behind a
//! storage binding says that it "may be" another, a variant has a form that works in place: without the one, and
//! reading the other for it. A dispatch cannot bind the same memory twice, once to read and once to write.

#[path = "src/shader/f16.rs"]
mod f16;
#[path = "build/header.rs"]
mod header;
#[path = "build/reflection.rs"]
mod reflection;
#[path = "build/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use header::{Condition, Need, Takes, Variant, Workgroup};
use reflection::Module;
use source::Source;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=shaders");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/shader/f16.rs");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo")).join("shaders");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo")).join("catalog.rs");
    match catalog(&root).and_then(|text| fs::write(out, text).map_err(|e| vec![e.to_string()])) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failures) => {
            failures.iter().for_each(|failure| println!("cargo::error={}", failure.replace('\n', " | ")));
            ExitCode::FAILURE
        }
    }
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A kernel: its family, its file and the variants that it declares.
struct Kernel {
    family: String,
    file: PathBuf,
    variants: Vec<Variant>,
}

fn kernels(root: &Path) -> Result<Vec<Kernel>, Vec<String>> {
    let (mut kernels, mut failures) = (Vec::new(), Vec::new());
    for folder in sorted(root).map_err(|e| vec![e])?.iter().filter(|path| path.is_dir()) {
        for file in sorted(folder).map_err(|e| vec![e])? {
            let declared = fs::read_to_string(&file).map_err(|e| e.to_string());
            match declared.and_then(|text| header::variants(&text)) {
                Ok(variants) if variants.is_empty() => {}
                Ok(variants) => kernels.push(Kernel { family: stem(folder), file, variants }),
                Err(failure) => failures.push(format!("{}: {failure}", file.display())),
            }
        }
    }
    if failures.is_empty() { Ok(kernels) } else { Err(failures) }
}

fn catalog(root: &Path) -> Result<String, Vec<String>> {
    let is_browser = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32");
    let kernels = kernels(root)?;
    let names = kernels.iter().flat_map(|kernel| &kernel.variants).map(|variant| variant.name.as_str());
    let known: BTreeSet<String> = names.flat_map(|name| name.split('_')).map(str::to_owned).collect();
    let (mut text, mut all, mut failures) = (String::new(), Vec::new(), Vec::new());
    for same in kernels.chunk_by(|a, b| a.family == b.family) {
        let family = &same[0].family;
        let mut body = String::new();
        for kernel in same {
            match emit(root, kernel, &known, is_browser) {
                Ok((module, names)) => {
                    body += &module;
                    let path = format!("&{family}::{}", stem(&kernel.file));
                    all.extend(names.iter().map(|name| format!("{path}::{name}")));
                }
                Err(failure) => failures.push(format!("{}: {failure}", kernel.file.display())),
            }
        }
        let _ = writeln!(text, "/// Kernels of `shaders/{family}/`.\npub mod {family} {{\n{body}}}");
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    let _ = writeln!(
        text,
        "/// All kernels, in all variants.\npub static ALL: &[&Kernel] = &[{}];",
        all.join(", ")
    );
    let most = kernels.iter().map(|kernel| kernel.variants.len()).max().unwrap_or(0);
    let _ =
        writeln!(text, "/// Variants of the kernel that has most.\npub const MOST_VARIANTS: usize = {most};");
    Ok(text)
}

/// The text of a kernel's module in the catalog, and the names in it of all that can be compiled.
fn emit(
    root: &Path,
    kernel: &Kernel,
    known: &BTreeSet<String>,
    is_browser: bool,
) -> Result<(String, Vec<String>), String> {
    let stem = stem(&kernel.file);
    let (mut text, mut table, mut names) = (String::new(), Vec::new(), Vec::new());
    let mut same: Option<Module> = None;
    for variant in kernel.variants.iter().filter(|variant| !is_browser || variant.is_for_browsers()) {
        let source = Source { root, words: variant.name.split('_').collect(), known };
        let source = source.expand(&kernel.file)?;
        let failed = |e: String| format!("variant {:?}: {e}", variant.name);
        let module = Module::new(&source, variant).map_err(failed)?;
        if same.as_ref().is_some_and(|first| !first.takes_as(&module)) {
            return Err(failed(
                "its Params or the names of its bindings differ from the first variant's".into(),
            ));
        }
        let (name, label) = match variant.name.as_str() {
            "" => ("KERNEL".to_owned(), format!("{}/{stem}", kernel.family)),
            own => (own.to_uppercase(), format!("{}/{stem}_{own}", kernel.family)),
        };
        let mut in_place = String::new();
        for (number, (binding, output)) in source::may_be(&source).into_iter().enumerate() {
            let one = Module::new(&source::replace(&source, &binding, &output), variant).map_err(failed)?;
            let one = one.describe(&format!("{label}, {output} in place of {binding}"), "");
            let own = format!("{name}_IN_PLACE_{number}");
            let _ = writeln!(text, "pub(crate) static {own}: Kernel = {one};");
            let (input, output) = (module.index(&binding)?, module.index(&output)?);
            let _ = write!(in_place, "InPlace {{ input: {input}, output: {output}, kernel: &{own} }}, ");
            names.push(own);
        }
        let _ = writeln!(
            text,
            "/// `{label}`\npub static {name}: Variant = {};",
            describe(variant, &module, &module.describe(&label, &in_place))?
        );
        names.push(format!("{name}.kernel"));
        table.push(format!("&{name}"));
        same.get_or_insert(module);
    }
    let first = same.ok_or("no variant is left for browsers")?;
    let text = format!(
        "/// `{family}/{stem}`\npub mod {stem} {{\n#[allow(unused_imports)]\nuse super::super::{{Binding, Condition, InPlace, Kernel, Need, Override, \
         Takes, Variant, Workgroup}};\n\
         /// Parameters of the kernel, field by field those of its WGSL.\n\
         #[repr(C)]\n#[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]\n\
         #[allow(missing_docs)]\npub struct Params {{ {fields} }}\n\
         {text}/// The kernel's variants, best first.\npub static VARIANTS: &[&Variant] = &[{table}];\n}}\n",
        family = kernel.family,
        fields = first.params(),
        table = table.join(", "),
    );
    Ok((text, names))
}

/// A variant as a Rust expression.
fn describe(variant: &Variant, module: &Module, kernel: &str) -> Result<String, String> {
    let workgroup = match variant.workgroup {
        Some(Workgroup::Row(most)) => format!("Row {{ most: {most} }}"),
        Some(Workgroup::Fixed(size)) => format!("Fixed({size})"),
        Some(Workgroup::Subgroups(count)) => format!("Subgroups({count})"),
        Some(Workgroup::Map) | None => "Map".to_owned(),
    };
    let takes = match variant.takes() {
        Takes::Invocation(units) => format!("Invocation({units})"),
        Takes::Workgroup(units) => format!("Workgroup({units})"),
    };
    let all = |needs: &[Need]| -> Result<String, String> {
        needs.iter().map(|need| describe_need(need, module)).collect()
    };
    let constants: String =
        variant.constants.iter().map(|(name, value)| format!("({name:?}, {value}.0), ")).collect();
    Ok(format!(
        "Variant {{ kernel: {kernel}, workgroup: Workgroup::{workgroup}, takes: Takes::{takes}, tile: {tile}, needs: \
         &[{needs}], prefers: &[{prefers}], constants: &[{constants}] }}",
        tile = variant.tile,
        needs = all(&variant.needs)?,
        prefers = all(&variant.prefers)?,
    ))
}

fn describe_need(need: &Need, module: &Module) -> Result<String, String> {
    let known = |name: &String| match module.has_override(name) {
        true => Ok(()),
        false => Err(format!("{:?}: there is no override constant {name}", need.text)),
    };
    let condition = match &need.condition {
        Condition::Multiple(member, of) => {
            format!("Multiple {{ offset: {}, of: {of} }}", module.offset(member)?)
        }
        Condition::Equal(member, to) => format!("Equal {{ offset: {}, to: {to} }}", module.offset(member)?),
        Condition::Constant(name) => {
            known(name)?;
            format!("Constant({name:?})")
        }
        Condition::Tiles(least) => format!("Tiles({least})"),
        Condition::Accumulators(least) => format!("Accumulators({least})"),
        Condition::Subgroup(least, most) => format!("Subgroup {{ least: {least}, most: {most} }}"),
        Condition::Int64 => "Int64".to_owned(),
        Condition::F16 => "F16".to_owned(),
        Condition::Matrices(size) => format!("Matrices({size})"),
        Condition::Class(classes) => format!("Class(&{classes:?})"),
    };
    if let Some((name, _)) = &need.guard {
        known(name)?;
    }
    let guard = &need.guard.as_ref().map(|(name, is_set)| (name.as_str(), *is_set));
    Ok(format!("Need {{ text: {:?}, condition: Condition::{condition}, guard: {guard:?} }}, ", need.text))
}
