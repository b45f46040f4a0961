//! One mixer alone, outputs and gradients: the f64 definitions and the kernels against the published modules.

use std::collections::BTreeSet;

use ndarray::IxDyn;
use pollster::block_on;
use polymix::autograd::gradients;
use polymix::error::Result;
use polymix::exec::{Executor, Plan, PlanOptions, reference};
use polymix::graph::{Graph, Parameter, Scope, Tensor};
use polymix::models::speechbrain::mixer_origin;
use polymix::nn::{BoundedPolynomialMixer, Context, Mixer, Mode, PolynomialMixer, SummaryMixer, mixer};
use polymix::ops::Array;
use polymix::ops::map::ActivationKind;
use polymix::recipe::{Initialization, MixerKind, MixerSpec, ModelConfig, PaddedFrames};
use polymix::shape::Spec;

use crate::adapter::gpu;
use crate::files::Values;

/// Whose names a module's tensors have.
#[derive(Clone, Copy)]
enum Names {
    /// The importer's, of the mixer with this name.
    Of(MixerKind),
    /// PoM's within its layer, where its LayerNorm is not.
    Core,
    /// Those of PoM's later form, which is in no checkpoint.
    Bounded,
}

/// Of the later form: our parameter, their tensor, and which of how many parts of it by rows.
const BOUNDED: &[(&str, &str, [usize; 2])] = &[
    ("value.weight", "qc_proj.weight", [0, 2]),
    ("gate.weight", "qc_proj.weight", [1, 2]),
    ("gate.bias", "se_bias", [0, 1]),
    ("coefficients", "po_coeff", [0, 1]),
    ("output.weight", "ag_proj.weight", [0, 1]),
];

impl Names {
    /// Their name of a parameter, and the values of `kind`.`name` as ours.
    fn values(self, values: &Values, kind: &str, parameter: &Parameter) -> (String, Vec<f64>) {
        let get = |theirs: &str| values.get(&format!("{kind}.{theirs}")).1;
        let origin = |mixer| mixer_origin(mixer, parameter.clone()).unwrap();
        match self {
            Self::Of(mixer) => {
                let origin = origin(mixer);
                let values = origin.arrange(&get(&origin.tensor));
                (origin.tensor, values)
            }
            Self::Core => {
                let origin = origin(MixerKind::Pom);
                let theirs = origin.tensor.strip_prefix("mh_pom.").unwrap();
                (theirs.to_owned(), origin.arrange(&get(theirs)))
            }
            Self::Bounded => {
                let row = BOUNDED.iter().find(|(ours, ..)| *ours == parameter.name);
                let (_, theirs, [part, parts]) = *row.unwrap_or_else(|| panic!("{}", parameter.name));
                let whole = get(theirs);
                let size = whole.len() / parts;
                (theirs.to_owned(), whole[part * size..(part + 1) * size].to_vec())
            }
        }
    }
}

/// A published module: its values, x, and what else its mixer is given.
struct Module {
    name: &'static str,
    values: Values,
    graph: Graph,
    ctx: Context,
    x: Tensor,
    names: Names,
    bindings: reference::Bindings,
}

impl Module {
    /// The module `name` with the valid frames that the mask `mask` of its file names.
    fn open(name: &'static str, names: Names, padding: PaddedFrames, mask: Option<&str>) -> Option<Self> {
        let values = Values::open(name)?;
        let (dims, x) = values.get("x");
        let (batch, time) = (dims[0], dims[1]);
        let valid = match mask {
            None => vec![1.0; batch * time],
            // 1 marks a padded frame there.
            Some("arg.key_padding_mask" | "arg.padding_mask") => {
                values.get(mask?).1.iter().map(|m| 1.0 - m).collect()
            }
            Some(mask) => values.get(mask).1,
        };
        let lengths = valid.chunks(time).map(|row| row.iter().sum()).collect();
        let graph = Graph::new();
        let ctx = Context::new(&graph.root(), batch, time, Mode::Inference, padding);
        let array = |dims: &[usize], values: Vec<f64>| Array::from_shape_vec(dims, values).unwrap();
        let (_, dy) = values.get("dy");
        let bindings = [
            ("x", array(&dims, x)),
            ("dy", array(&dims, dy)),
            ("valid", array(&[batch, time], valid)),
            ("lengths", array(&[batch], lengths)),
        ];
        let bindings = bindings.into_iter().map(|(name, array)| (name.to_owned(), array)).collect();
        let x = graph.input("x", Spec::f32(dims));
        Some(Self { name, values, graph, ctx, x, names, bindings })
    }

    fn scope(&self) -> Scope {
        self.graph.root()
    }

    /// An input with the values of the file's tensor `name`.
    fn input(&mut self, name: &str) -> Tensor {
        let (dims, values) = self.values.get(name);
        self.bindings.insert(name.to_owned(), Array::from_shape_vec(dims.clone(), values).unwrap());
        self.graph.input(name, Spec::f32(dims))
    }

    /// Compares y, dx and the gradients of all parameters with the file's.
    fn check(mut self, y: Result<Tensor>) {
        let y = y.unwrap();
        let name = self.name;
        let parameters = self.graph.parameters();
        let mut used = BTreeSet::new();
        let mut theirs: BTreeSet<String> = self.values.names().into_iter().collect();
        theirs.retain(|theirs| theirs.starts_with("param."));
        let mut wanted =
            vec![("y".to_owned(), self.values.get("y").1), ("dx".to_owned(), self.values.get("dx").1)];
        let mut wrt = vec![&self.x];
        for (parameter, tensor) in &parameters {
            let (origin, values) = self.names.values(&self.values, "param", parameter);
            used.insert(format!("param.{origin}"));
            assert_eq!(values.len(), parameter.shape.elements(), "{name} {}", parameter.name);
            let array = Array::from_shape_vec(IxDyn(parameter.shape.dims()), values).unwrap();
            self.bindings.insert(parameter.name.clone(), array);
            let (_, gradient) = self.names.values(&self.values, "grad", parameter);
            wanted.push((format!("d {}", parameter.name), gradient));
            wrt.push(tensor);
        }
        assert_eq!(used, theirs, "{name}");
        let dy = self.graph.input("dy", y.spec().clone());
        let mut outputs = vec![y.clone()];
        for (gradient, (label, _)) in gradients(&[(&y, &dy)], &wrt).unwrap().into_iter().zip(&wanted[1..]) {
            outputs.push(gradient.unwrap_or_else(|| panic!("{name}: {label} has no gradient")));
        }

        // A gradient that is 0 but for rounding is judged by the others' size.
        let magnitude = |values: &[f64]| values.iter().fold(0.0, |m: f64, w| m.max(w.abs()));
        let top = wanted[1..].iter().map(|(_, wanted)| magnitude(wanted)).fold(0.0, f64::max);
        let scales: Vec<f64> = wanted
            .iter()
            .map(|(_, wanted)| magnitude(wanted))
            .map(|own| if own < 1e-12 * top { top } else { own })
            .collect();
        let refs: Vec<&Tensor> = outputs.iter().collect();
        let defined = reference::run(&self.graph, &mut self.bindings.clone(), &refs).unwrap();
        for (((label, wanted), got), scale) in wanted.iter().zip(&defined).zip(&scales) {
            let got: Vec<f64> = got.iter().copied().collect();
            self.compare(("definition", label), &got, wanted, [1e-6, 1e-6 * scale]);
        }

        let Some(gpu) = gpu() else { return };
        let mut executor = Executor::new(gpu.clone());
        for (parameter, _) in &parameters {
            let part = (parameter.name.clone(), Spec::f32(parameter.shape.clone()));
            executor.store.arena(&gpu, &parameter.name, &[part]).unwrap();
            let values: Vec<f32> = self.bindings[&parameter.name].iter().map(|&x| x as f32).collect();
            executor.store.write(&gpu, &parameter.name, &values).unwrap();
        }
        let named: Vec<(&str, &Tensor)> = wanted.iter().map(|(label, _)| label.as_str()).zip(refs).collect();
        let plan = Plan::compile(&self.graph, &named, PlanOptions::default(), gpu.capabilities()).unwrap();
        let mut loaded = block_on(executor.load(plan)).unwrap();
        for (input, values) in self.bindings.iter().filter(|(input, _)| executor.takes(&loaded, input)) {
            if input == "lengths" {
                let values: Vec<u32> = values.iter().map(|&x| x as u32).collect();
                executor.write_input(&loaded, input, &values).unwrap();
            } else {
                let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
                executor.write_input(&loaded, input, &values).unwrap();
            }
        }
        executor.run(&mut loaded).unwrap();
        for ((label, wanted), scale) in wanted.iter().zip(&scales) {
            let got: Vec<f32> = block_on(executor.read(&loaded, label)).unwrap();
            let got: Vec<f64> = got.into_iter().map(f64::from).collect();
            self.compare(("kernels", label), &got, wanted, [2e-5, 1e-4 * scale]);
        }
    }

    /// `bounds`: of the output and of gradients, absolute.
    fn compare(&self, (executor, label): (&str, &str), got: &[f64], wanted: &[f64], bounds: [f64; 2]) {
        assert_eq!(got.len(), wanted.len(), "{} {label}", self.name);
        assert!(got.iter().all(|x| x.is_finite()), "{} {label}", self.name);
        let difference = got.iter().zip(wanted).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max);
        let bound = bounds[usize::from(label != "y")];
        println!("{} {executor} {label}: {difference:.1e} of {bound:.1e}", self.name);
        assert!(difference <= bound, "{} {executor} {label} is off by {difference}", self.name);
    }
}

fn pom(width: usize, degree: usize) -> PolynomialMixer {
    let config = ModelConfig { d_model: width, degree, expand: 2, ..ModelConfig::default() };
    PolynomialMixer::new(&config)
}

/// A mixer by its name, as the encoder uses it.
fn named(name: &'static str, kind: MixerKind, mask: &str, padding: PaddedFrames) {
    let Some(module) = Module::open(name, Names::Of(kind), padding, Some(mask)) else { return };
    let config = ModelConfig {
        mixer: MixerSpec::Every(kind),
        d_model: module.x.shape().last(),
        heads: 4,
        ffn: 32,
        padding,
        ..ModelConfig::default()
    };
    // The published module zeroes padded frames in either case; masked padding leaves open what they hold.
    let x = module.x.mask_frames(&module.ctx.lengths).unwrap();
    let x = if name.ends_with("_masked") { &x } else { &module.x };
    let y = mixer(kind, &config).forward(&module.scope(), &module.ctx, x);
    module.check(y);
}

/// The core of PoM with a mask of the file, or with all frames.
fn core(name: &'static str, mixer: PolynomialMixer, mask: bool) {
    let Some(mut module) = Module::open(name, Names::Core, PaddedFrames::Masked, None) else { return };
    let mask = if mask { module.input("arg.mask") } else { module.ctx.valid.clone() };
    let y = mixer.mix(&module.scope(), &module.x, &mask, None);
    module.check(y);
}

#[test]
fn polynomial_mixers_of_all_frames() {
    core("module_pom_k1d2_none", pom(12, 1), false);
    core("module_pom_k2d2_none", pom(12, 2), false);
}

#[test]
fn polynomial_mixers_of_weighted_frames() {
    core("module_pom_k2d2_valid", pom(12, 2), true);
    core("module_pom_k3d2_valid", pom(12, 3), true);
}

#[test]
fn a_summary_for_every_frame() {
    core("module_pom_k2d2_pairs", pom(12, 2), true);
    core("module_pom_k2d2_causal", pom(12, 2), true);
}

#[test]
fn a_running_summary() {
    core("module_pom_k2d2_causal", PolynomialMixer { chunk: Some(1), ..pom(12, 2) }, false);
}

#[test]
fn polynomial_mixers_over_padded_frames() {
    let mask = "arg.key_padding_mask";
    named("module_mixer_pom_k2d2_pad", MixerKind::Pom, mask, PaddedFrames::Reference);
    named("module_mixer_pom_select_k2d2_pad", MixerKind::PomSelective, mask, PaddedFrames::Reference);
    named("module_mixer_pom_2ways_k2d2_pad", MixerKind::Pom2Way, mask, PaddedFrames::Reference);
    named("module_mixer_pom_3ways_k2d2_pad", MixerKind::Pom3Way, mask, PaddedFrames::Reference);
}

#[test]
fn a_polynomial_mixer_over_valid_frames() {
    named("module_mixer_pom_k2d2_masked", MixerKind::Pom, "arg.attn_mask", PaddedFrames::Masked);
}

#[test]
fn bounded_polynomial_mixers() {
    let config = ModelConfig { d_model: 12, degree: 2, expand: 2, ..ModelConfig::default() };
    for (name, masked) in [("module_pom2026_k2d2_sel1_none", false), ("module_pom2026_k2d2_sel1_valid", true)]
    {
        let Some(mut module) = Module::open(name, Names::Bounded, PaddedFrames::Masked, None) else { return };
        let mask = if masked { module.input("arg.mask") } else { module.ctx.valid.clone() };
        let y = BoundedPolynomialMixer::new(&config).mix(&module.scope(), &module.x, &mask, None);
        module.check(y);
    }
}

#[test]
fn summary_mixing() {
    for padding in [PaddedFrames::Reference, PaddedFrames::Masked] {
        let name = "module_SummaryMixing_pad";
        let Some(module) =
            Module::open(name, Names::Of(MixerKind::SummaryMixing), padding, Some("arg.src_padding_mask"))
        else {
            return;
        };
        let mixer = SummaryMixer {
            width: 24,
            blocks: 4,
            hidden: 16,
            local: 20,
            activation: ActivationKind::Gelu,
            initialization: Initialization::XavierNormal,
        };
        let y = mixer.forward(&module.scope(), &module.ctx, &module.x);
        module.check(y);
    }
}

#[test]
fn hyper_mixing() {
    for padding in [PaddedFrames::Reference, PaddedFrames::Masked] {
        let mask = "arg.key_padding_mask";
        named("module_hypermixing_pad", MixerKind::HyperMixing, mask, padding);
    }
}

#[test]
fn fastformer() {
    for padding in [PaddedFrames::Reference, PaddedFrames::Masked] {
        named("module_fastformer_pad", MixerKind::FastFormer, "arg.padding_mask", padding);
    }
}

#[test]
fn attention() {
    for padding in [PaddedFrames::Reference, PaddedFrames::Masked] {
        let mask = "arg.key_padding_mask";
        named("module_regularMHA_pad", MixerKind::RegularMha, mask, padding);
        named("module_RoPEMHA_pad", MixerKind::RopeMha, mask, padding);
        named("module_RelPosMHAXL_pad", MixerKind::RelposMha, mask, padding);
    }
}
