//! Resolves, validates and reflects every kernel of `shaders/` into the catalogue of `src/shader.rs`.
//!
//! Each `shaders/<family>/<stem>.wgsl` becomes `<family>::<stem>::KERNEL` with its source, its storage
//! bindings and its overrides, and `<family>::<stem>::Params`, the Rust twin of its `struct Params`. Where the comment
//! behind a storage binding says that it "may be" another, the kernel has a sibling that works in place: without the
//! one, and reading the other for it. A dispatch cannot bind the same memory twice, once to read and once to write.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, ScalarKind, StorageAccess, TypeInner};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=shaders");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo")).join("shaders");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo")).join("catalogue.rs");
    match catalogue(&root).and_then(|text| fs::write(out, text).map_err(|e| vec![e.to_string()])) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failures) => {
            failures.iter().for_each(|failure| println!("cargo::error={}", failure.replace('\n', " | ")));
            ExitCode::FAILURE
        }
    }
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>, Vec<String>> {
    let entries = fs::read_dir(dir).map_err(|e| vec![format!("{}: {e}", dir.display())])?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

fn catalogue(root: &Path) -> Result<String, Vec<String>> {
    let (mut text, mut all, mut failures) = (String::new(), Vec::new(), Vec::new());
    for family in sorted(root)?.iter().filter(|p| p.is_dir() && stem(p) != "shared") {
        let mut body = String::new();
        for file in sorted(family)?.iter().filter(|p| p.extension().is_some_and(|e| e == "wgsl")) {
            match kernel(root, &stem(family), file) {
                Ok((module, names)) => {
                    body += &module;
                    all.extend(names.iter().map(|name| format!("&{}::{}::{name}", stem(family), stem(file))));
                }
                Err(failure) => failures.push(format!("{}: {failure}", file.display())),
            }
        }
        let _ = writeln!(text, "/// Kernels of `shaders/{0}/`.\npub mod {0} {{\n{body}}}", stem(family));
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    let _ = writeln!(text, "/// All kernels.\npub static ALL: &[&Kernel] = &[{}];", all.join(", "));
    Ok(text)
}

fn resolve(root: &Path, file: &Path) -> Result<String, String> {
    let source = fs::read_to_string(file).map_err(|e| e.to_string())?;
    let mut text = String::new();
    for line in source.lines() {
        if let Some(name) = line.strip_prefix("#import ") {
            let path = root.join(name.trim()).with_extension("wgsl");
            text += &fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        } else {
            text += line;
        }
        text.push('\n');
    }
    Ok(text)
}

/// The source without comments and indentation, which a browser would have to fetch. WGSL has no text in quotes.
fn compact(source: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().trim().to_owned();
    let lines: Vec<String> = source.lines().map(code).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// The text of a kernel's module in the catalogue and the names of its kernels: its own and, for each storage binding
/// that "may be" another, the one that works in place.
fn kernel(root: &Path, family: &str, file: &Path) -> Result<(String, Vec<String>), String> {
    let source = resolve(root, file)?;
    let module = parse(&source)?;
    let (params, bindings) = storage(&module)?;
    let (name, mut names) = (format!("{family}/{}", stem(file)), vec!["KERNEL".to_owned()]);
    let (mut text, mut in_place) = (String::new(), String::new());
    for (number, (binding, output)) in may_be(&source).into_iter().enumerate() {
        let index = |wanted: &str| {
            let found = bindings.iter().position(|(name, _)| name == wanted);
            found.ok_or_else(|| format!("there is no storage binding {wanted}"))
        };
        let twin = replace(&source, &binding, &output);
        let twin = describe(&format!("{name}, {output} in place of {binding}"), &twin, "")?;
        let _ = writeln!(text, "pub(crate) static IN_PLACE_{number}: Kernel = {twin};");
        let _ = write!(
            in_place,
            "super::super::InPlace {{ input: {}, output: {}, kernel: &IN_PLACE_{number} }}, ",
            index(&binding)?,
            index(&output)?
        );
        names.push(format!("IN_PLACE_{number}"));
    }
    let (fields, _) = fields(&module, params)?;
    let text = format!(
        "/// `{name}`\npub mod {stem} {{\nuse super::super::{{Binding, Kernel}};\n\
         /// Parameters of the kernel, field by field those of its WGSL.\n\
         #[repr(C)]\n#[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]\n\
         #[allow(missing_docs)]\npub struct Params {{ {fields} }}\n\
         {text}/// The kernel.\npub static KERNEL: Kernel = {kernel};\n}}\n",
        stem = stem(file),
        kernel = describe(&name, &source, &in_place)?,
    );
    Ok((text, names))
}

/// Pairs (x, y) of storage bindings: the comment behind x says that it "may be y".
fn may_be(source: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let (declaration, comment) = line.split_once("//")?;
        let name = declaration.split_once("var<storage, read> ")?.1.split_once(':')?.0;
        let other = comment.split_once("; may be ")?.1;
        Some((name.to_owned(), other.trim().to_owned()))
    };
    source.lines().filter_map(pair).collect()
}

/// The source without the binding `x`, whose elements are read from `y`.
fn replace(source: &str, x: &str, y: &str) -> String {
    let (mut text, mut removed) = (String::new(), None);
    for line in source.lines() {
        let number = line.split_once("@binding(").and_then(|(_, rest)| rest.split_once(')'));
        let number = number.and_then(|(number, _)| number.parse::<u32>().ok());
        match (number, removed) {
            (Some(own), None) if line.contains(&format!("var<storage, read> {x}:")) => removed = Some(own),
            (Some(own), Some(before)) if own > before => {
                text += &line.replace(&format!("@binding({own})"), &format!("@binding({})", own - 1));
            }
            (_, Some(_)) => text += &indexed(line, x, y),
            (_, None) => text += line,
        }
        text.push('\n');
    }
    text
}

/// `line` with `y[` for every `x[`.
fn indexed(line: &str, x: &str, y: &str) -> String {
    let wanted = format!("{x}[");
    let (mut text, mut rest) = (String::new(), line);
    while let Some(at) = rest.find(&wanted) {
        let within = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let (before, after) = rest.split_at(at);
        text += before;
        text += if before.ends_with(within) { x } else { y };
        text.push('[');
        rest = &after[wanted.len()..];
    }
    text + rest
}

fn parse(source: &str) -> Result<naga::Module, String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let capabilities = Capabilities::default()
        | Capabilities::SUBGROUP
        | Capabilities::SHADER_INT64
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SHADER_FLOAT16
        | Capabilities::COOPERATIVE_MATRIX;
    Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|e| e.emit_to_string(source))?;
    if module.entry_points.len() != 1 || module.entry_points[0].name != "main" {
        return Err("a kernel has one entry point, `main`".into());
    }
    Ok(module)
}

/// The storage bindings of a kernel in order: name, and whether it is written.
type Storage = Vec<(String, bool)>;

/// The type of `params`, and the storage bindings from 1 on: name and whether they are written.
fn storage(module: &naga::Module) -> Result<(naga::Handle<naga::Type>, Storage), String> {
    let (mut storage, mut params) = (BTreeMap::new(), None);
    for (_, variable) in module.global_variables.iter() {
        let Some(binding) = &variable.binding else { continue };
        match variable.space {
            AddressSpace::Uniform if binding.binding == 0 => params = Some(variable.ty),
            AddressSpace::Storage { access } if binding.binding > 0 => {
                let name = variable.name.clone().unwrap_or_default();
                storage.insert(binding.binding, (name, access.contains(StorageAccess::STORE)));
            }
            _ => return Err("binding 0 is the uniform `params`, storage follows from 1".into()),
        }
    }
    let params = params.ok_or("binding 0 is the uniform `params`")?;
    if storage.keys().copied().ne(1..=storage.len() as u32) {
        return Err("storage bindings are numbered 1, 2, 3 … without a gap".into());
    }
    Ok((params, storage.into_values().collect()))
}

/// The kernel as a Rust expression.
fn describe(name: &str, source: &str, in_place: &str) -> Result<String, String> {
    let source = compact(source);
    let module = parse(&source)?;
    let (params, storage) = storage(&module)?;
    let bindings: String = storage
        .iter()
        .map(|(name, write)| format!("Binding {{ name: {name:?}, write: {write} }}, "))
        .collect();
    let mut overrides: Vec<String> =
        module.overrides.iter().filter_map(|(_, o)| Some(format!("{:?}", o.name.as_ref()?))).collect();
    overrides.sort();
    let (_, size) = fields(&module, params)?;
    Ok(format!(
        "Kernel {{ name: {name:?}, source: {source:?}, bindings: &[{bindings}], overrides: &[{overrides}], \
         params: {size}, in_place: &[{in_place}] }}",
        overrides = overrides.join(", "),
    ))
}

fn fields(module: &naga::Module, ty: naga::Handle<naga::Type>) -> Result<(String, u32), String> {
    let TypeInner::Struct { members, span } = &module.types[ty].inner else {
        return Err("`params` is a struct".into());
    };
    let (mut text, mut end) = (String::new(), 0);
    for member in members {
        let TypeInner::Scalar(scalar) = module.types[member.ty].inner else {
            return Err("members of `Params` are u32, i32 or f32".into());
        };
        let rust = match scalar.kind {
            ScalarKind::Uint => "u32",
            ScalarKind::Sint => "i32",
            ScalarKind::Float => "f32",
            _ => return Err("members of `Params` are u32, i32 or f32".into()),
        };
        let _ = write!(text, "pub {}: {rust}, ", member.name.as_deref().unwrap_or("unnamed"));
        end = member.offset + 4;
    }
    if end != *span {
        return Err("`Params` has no gaps".into());
    }
    Ok((text, *span))
}
