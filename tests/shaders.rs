//! Every kernel with every two values of its override constants, translated to the languages of all backends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use naga::back::{PipelineConstants, glsl, hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage, front::wgsl};
use polymix::shader::{ALL, Kernel};

type Writer = fn(&Module, &ModuleInfo) -> Result<(), String>;

/// Sets of constants in which every two values of two override constants meet, by few sets: each takes up a pair that
/// is missing and, for the other constants, the values that make most pairs.
fn variants(kernel: &Kernel) -> Vec<PipelineConstants> {
    // One that has one value stands for what a kernel has none of.
    let mut constants: Vec<(&str, &[f64])> = vec![("", &[0.0])];
    constants.extend(kernel.overrides.iter().map(|one| (one.name, one.values)));
    let mut missing = BTreeSet::new();
    for (i, (_, values)) in constants.iter().enumerate() {
        for (j, (_, others)) in constants[..i].iter().enumerate() {
            missing.extend((0..values.len()).flat_map(|v| (0..others.len()).map(move |w| [(j, w), (i, v)])));
        }
    }
    let mut all = Vec::new();
    while let Some(&[a, b]) = missing.first() {
        let mut chosen = BTreeMap::from([a, b]);
        for (i, (_, values)) in constants.iter().enumerate().filter(|(i, _)| ![a.0, b.0].contains(i)) {
            let gain = |v: usize| {
                let pairs =
                    chosen.iter().map(|(&j, &w)| if j < i { [(j, w), (i, v)] } else { [(i, v), (j, w)] });
                pairs.filter(|pair| missing.contains(pair)).count()
            };
            let best = (0..values.len()).rev().max_by_key(|&v| gain(v)).unwrap();
            chosen.insert(i, best);
        }
        missing.retain(|[a, b]| chosen[&a.0] != a.1 || chosen[&b.0] != b.1);
        let named = chosen.iter().map(|(&i, &v)| (constants[i].0.to_owned(), constants[i].1[v]));
        all.push(named.filter(|(name, _)| !name.is_empty()).collect());
    }
    if all.is_empty() { vec![PipelineConstants::default()] } else { all }
}

fn to_spirv(module: &Module, info: &ModuleInfo) -> Result<(), String> {
    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
    spv::write_vec(module, info, &options, Some(&pipeline)).map(drop).map_err(|e| e.to_string())
}

fn to_hlsl(module: &Module, info: &ModuleInfo) -> Result<(), String> {
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_0,
        fake_missing_bindings: true,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())) };
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(module, info, None)
        .map(drop)
        .map_err(|e| e.to_string())
}

fn to_msl(module: &Module, info: &ModuleInfo) -> Result<(), String> {
    let options = msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, "main".into())),
        ..Default::default()
    };
    msl::write_string(module, info, &options, &pipeline).map(drop).map_err(|e| e.to_string())
}

fn to_glsl(module: &Module, info: &ModuleInfo) -> Result<(), String> {
    let options = glsl::Options { version: glsl::Version::Desktop(450), ..Default::default() };
    let pipeline = glsl::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: "main".into(),
        multiview: None,
    };
    let mut text = String::new();
    let policies = naga::proc::BoundsCheckPolicies::default();
    glsl::Writer::new(&mut text, module, info, &options, &pipeline, policies)
        .and_then(|mut writer| writer.write())
        .map(drop)
        .map_err(|e| e.to_string())
}

#[test]
fn every_kernel_is_written_for_every_backend() {
    let mut failures = Vec::new();
    let mut written = 0;
    let as_such = ALL.iter().map(|kernel| (*kernel, 0));
    let in_f16 = ALL.iter().map(|kernel| (*kernel, kernel.in_f16())).filter(|(_, bits)| *bits != 0);
    for (kernel, bits) in as_such.chain(in_f16) {
        let module = wgsl::parse_str(&kernel.source_in_f16(bits).unwrap()).unwrap();
        let capabilities = Capabilities::default()
            | Capabilities::SUBGROUP
            | Capabilities::SHADER_INT64
            | Capabilities::SHADER_FLOAT16_IN_FLOAT32
            | Capabilities::SHADER_FLOAT16
            | Capabilities::COOPERATIVE_MATRIX;
        let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module).unwrap();
        // Which bindings are in f16 does not depend on the constants.
        let most = if bits == 0 { usize::MAX } else { 2 };
        for constants in variants(kernel).into_iter().take(most) {
            let (module, info) = match process_overrides(&module, &info, None, &constants) {
                Ok(processed) => processed,
                Err(e) => {
                    failures.push(format!("{} {constants:?}: {e}", kernel.name));
                    continue;
                }
            };
            let languages: [(&str, Writer); 4] =
                [("SPIR-V", to_spirv), ("HLSL", to_hlsl), ("MSL", to_msl), ("GLSL", to_glsl)];
            // GLSL has no integers of 64 bits, in naga as in OpenGL ES; cooperative matrices are for Vulkan and Metal.
            let written_in = |language: &str| match language {
                "GLSL" => !kernel.source.contains("u64") && !kernel.source.contains("coop_mat"),
                "HLSL" => !kernel.source.contains("coop_mat"),
                _ => true,
            };
            for (language, write) in languages.into_iter().filter(|(language, _)| written_in(language)) {
                match write(&module, &info) {
                    Ok(()) => written += 1,
                    Err(e) => failures.push(format!("{} {constants:?} in {language}: {e}", kernel.name)),
                }
            }
        }
    }
    println!("{} kernels, {written} translations", ALL.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(written >= 3 * ALL.len());
}

#[test]
fn headers_and_shapes_are_written_down() {
    let mut failures = Vec::new();
    let mut files = 0;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    for family in std::fs::read_dir(root).unwrap() {
        let family = family.unwrap().path();
        for file in std::fs::read_dir(&family).unwrap() {
            let path = file.unwrap().path();
            let source = std::fs::read_to_string(&path).unwrap();
            files += 1;
            if !family.ends_with("shared") && !source.starts_with("//") {
                failures.push(format!("{} has no header", path.display()));
            }
            for line in source.lines().filter(|line| line.contains("var<storage")) {
                if !line.contains("// ") || !line.contains('[') && !line.contains("broadcasts") {
                    failures.push(format!("{}: no shape behind `{line}`", path.display()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(files > 50);
}

#[test]
fn shared_is_what_two_families_import() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut importers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for family in std::fs::read_dir(&root).unwrap() {
        let family = family.unwrap().path();
        let name = family.file_name().unwrap().to_string_lossy().into_owned();
        for file in std::fs::read_dir(&family).unwrap() {
            let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for import in source.lines().filter_map(|line| line.strip_prefix("#import ")) {
                let (folder, _) = import.split_once('/').unwrap();
                assert!(folder == "shared" || folder == name, "{name} imports {import}");
                importers.entry(import.to_owned()).or_default().insert(name.clone());
            }
        }
    }
    for file in std::fs::read_dir(root.join("shared")).unwrap() {
        let import = format!("shared/{}", file.unwrap().path().file_stem().unwrap().to_string_lossy());
        assert!(importers.get(&import).is_some_and(|all| all.len() > 1), "{import} is of one family");
    }
}

#[test]
fn every_pair_of_values_meets() {
    for kernel in ALL {
        let sets = variants(kernel);
        for one in kernel.overrides {
            for other in kernel.overrides.iter().filter(|other| other.name > one.name) {
                for (&v, &w) in one.values.iter().flat_map(|v| other.values.iter().map(move |w| (v, w))) {
                    let meets = |set: &PipelineConstants| set[one.name] == v && set[other.name] == w;
                    assert!(sets.iter().any(meets), "{} {}={v} {}={w}", kernel.name, one.name, other.name);
                }
            }
        }
    }
}
