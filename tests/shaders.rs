//! Every kernel in every variant of its flags, translated to the languages of all backends.

use std::path::Path;

use naga::back::{PipelineConstants, glsl, hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage, front::wgsl};
use polymix::shader::{ALL, Kernel};

type Writer = fn(&Module, &ModuleInfo) -> Result<(), String>;

/// The values of each override that are worth a variant.
fn values(name: &str) -> &'static [f64] {
    match name {
        "WIDTH" => &[1.0, 8.0, 64.0],
        "POSITION" => &[0.0, 1.0, 2.0],
        "KIND" => &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        "ACTIVATION" => &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        "ADDEND" => &[0.0, 1.0, 2.0],
        "DEGREE" | "PARTS" => &[1.0, 2.0, 3.0, 8.0],
        "TURNS" => &[1.0, 4.0],
        _ => &[0.0, 1.0],
    }
}

/// One set of constants for each value of each override, the others at their first.
fn variants(kernel: &Kernel) -> Vec<PipelineConstants> {
    let base: PipelineConstants =
        kernel.overrides.iter().map(|name| ((*name).to_owned(), values(name)[0])).collect();
    let mut all = vec![base.clone()];
    for name in kernel.overrides {
        for &value in &values(name)[1..] {
            let mut variant = base.clone();
            variant.insert((*name).to_owned(), value);
            all.push(variant);
        }
    }
    all
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
    for kernel in ALL {
        let module = wgsl::parse_str(kernel.source).unwrap();
        let capabilities = Capabilities::default()
            | Capabilities::SUBGROUP
            | Capabilities::SHADER_INT64
            | Capabilities::SHADER_FLOAT16_IN_FLOAT32
            | Capabilities::SHADER_FLOAT16
            | Capabilities::COOPERATIVE_MATRIX;
        let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module).unwrap();
        for constants in variants(kernel) {
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
    assert!(files > ALL.len() / 2);
}
