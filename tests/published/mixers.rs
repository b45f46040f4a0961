//! One mixer alone, outputs and gradients: the f64 definitions and the kernels against the published modules.

use ndarray::IxDyn;
use pollster::block_on;
use polymix::autograd::gradients;
use polymix::error::Result;
use polymix::exec::{Executor, Plan, reference};
use polymix::graph::{Graph, Scope, Tensor};
use polymix::nn::{BoundedPolynomialMixer, Context, Mixer, Mode, PolynomialMixer, SummaryMixer, mixer};
use polymix::ops::Array;
use polymix::ops::map::ActivationKind;
use polymix::recipe::{Initialization, MixerSpec, ModelConfig, Padding};
use polymix::shape::Spec;

use crate::files::{Values, gpu};

/// How a tensor of the published module becomes ours.
#[derive(Clone, Copy)]
enum Layout {
    Same,
    /// The last two of three axes are exchanged.
    Transposed,
    /// This of two halves, by rows.
    Half(usize),
}

use Layout::{Half, Same, Transposed};

/// Our field path, theirs, and the way from theirs to ours.
type Field = (&'static str, &'static str, Layout);

const CORE: &[Field] = &[
    ("value.weight", "po_proj.weight", Same),
    ("value.bias", "po_proj.bias", Same),
    ("gate.weight", "se_proj.weight", Same),
    ("gate.bias", "se_proj.bias", Same),
    ("output.weight", "ag_proj.weight", Same),
    ("output.bias", "ag_proj.bias", Same),
];

const WHOLE: &[Field] = &[
    ("value.weight", "mh_pom.po_proj.weight", Same),
    ("value.bias", "mh_pom.po_proj.bias", Same),
    ("gate.weight", "mh_pom.se_proj.weight", Same),
    ("gate.bias", "mh_pom.se_proj.bias", Same),
    ("output.weight", "mh_pom.ag_proj.weight", Same),
    ("output.bias", "mh_pom.ag_proj.bias", Same),
    ("norm.weight", "layer_norm.weight", Same),
    ("norm.bias", "layer_norm.bias", Same),
];

const TWO_WAYS: &[Field] = &[
    ("value.0.weight", "mh_pom.po_proj_hf.weight", Same),
    ("value.0.bias", "mh_pom.po_proj_hf.bias", Same),
    ("value.1.weight", "mh_pom.po_proj_bf.weight", Same),
    ("value.1.bias", "mh_pom.po_proj_bf.bias", Same),
    ("gate.0.weight", "mh_pom.se_proj_hf.weight", Same),
    ("gate.0.bias", "mh_pom.se_proj_hf.bias", Same),
    ("gate.1.weight", "mh_pom.se_proj_bf.weight", Same),
    ("gate.1.bias", "mh_pom.se_proj_bf.bias", Same),
    ("output.weight", "mh_pom.ag_proj.weight", Same),
    ("output.bias", "mh_pom.ag_proj.bias", Same),
    ("norm.weight", "layer_norm.weight", Same),
    ("norm.bias", "layer_norm.bias", Same),
];

const THREE_WAYS: &[Field] = &[
    ("value.0.weight", "mh_pom.po_proj_1.weight", Same),
    ("value.0.bias", "mh_pom.po_proj_1.bias", Same),
    ("value.1.weight", "mh_pom.po_proj_2.weight", Same),
    ("value.1.bias", "mh_pom.po_proj_2.bias", Same),
    ("value.2.weight", "mh_pom.po_proj_3.weight", Same),
    ("value.2.bias", "mh_pom.po_proj_3.bias", Same),
    ("gate.0.weight", "mh_pom.se_proj_1.weight", Same),
    ("gate.0.bias", "mh_pom.se_proj_1.bias", Same),
    ("gate.1.weight", "mh_pom.se_proj_2.weight", Same),
    ("gate.1.bias", "mh_pom.se_proj_2.bias", Same),
    ("gate.2.weight", "mh_pom.se_proj_3.weight", Same),
    ("gate.2.bias", "mh_pom.se_proj_3.bias", Same),
    ("output.weight", "mh_pom.ag_proj.weight", Same),
    ("output.bias", "mh_pom.ag_proj.bias", Same),
    ("norm.weight", "layer_norm.weight", Same),
    ("norm.bias", "layer_norm.bias", Same),
];

const BOUNDED: &[Field] = &[
    ("value.weight", "qc_proj.weight", Half(0)),
    ("gate.weight", "qc_proj.weight", Half(1)),
    ("gate.bias", "se_bias", Same),
    ("coefficients", "po_coeff", Same),
    ("output.weight", "ag_proj.weight", Same),
];

const SUMMARY_MIXING: &[Field] = &[
    ("local.0.weight", "local_proj.linear.weights", Transposed),
    ("local.0.bias", "local_proj.linear.biases", Same),
    ("local.1.weight", "local_proj.linear_0.weights", Transposed),
    ("local.1.bias", "local_proj.linear_0.biases", Same),
    ("summary.0.weight", "summary_proj.linear.weights", Transposed),
    ("summary.0.bias", "summary_proj.linear.biases", Same),
    ("summary.1.weight", "summary_proj.linear_0.weights", Transposed),
    ("summary.1.bias", "summary_proj.linear_0.biases", Same),
    ("combine.weight", "summary_local_merging.linear.w.weight", Same),
    ("combine.bias", "summary_local_merging.linear.w.bias", Same),
];

const HYPER_MIXING: &[Field] = &[
    ("w1.0.weight", "hyper.w1_gen.fc1_weights", Same),
    ("w1.0.bias", "hyper.w1_gen.fc1_biases", Same),
    ("w1.1.weight", "hyper.w1_gen.fc2_weights", Same),
    ("w1.1.bias", "hyper.w1_gen.fc2_biases", Same),
    ("w2.0.weight", "hyper.w2_gen.fc1_weights", Same),
    ("w2.0.bias", "hyper.w2_gen.fc1_biases", Same),
    ("w2.1.weight", "hyper.w2_gen.fc2_weights", Same),
    ("w2.1.bias", "hyper.w2_gen.fc2_biases", Same),
    ("norm.weight", "layer_norm.weight", Same),
    ("norm.bias", "layer_norm.bias", Same),
];

const FASTFORMER: &[Field] = &[
    ("query.weight", "query_proj.weight", Same),
    ("query.bias", "query_proj.bias", Same),
    ("query_attention.weight", "query_attn.weight", Same),
    ("query_attention.bias", "query_attn.bias", Same),
    ("key.weight", "key_proj.weight", Same),
    ("key.bias", "key_proj.bias", Same),
    ("key_attention.weight", "key_attn.weight", Same),
    ("key_attention.bias", "key_attn.bias", Same),
    ("output.weight", "out_proj.weight", Same),
    ("output.bias", "out_proj.bias", Same),
];

/// The values of `kind`.`theirs` as ours.
fn ours(values: &Values, kind: &str, (_, theirs, layout): Field) -> Vec<f64> {
    let (dims, data) = values.get(&format!("{kind}.{theirs}"));
    match (layout, dims.as_slice()) {
        (Same, _) => data,
        (Half(which), _) => data[which * data.len() / 2..(which + 1) * data.len() / 2].to_vec(),
        (Transposed, &[blocks, rows, columns]) => {
            let at = |i: usize| {
                let (block, rest) = (i / (rows * columns), i % (rows * columns));
                (block * rows + rest % rows) * columns + rest / rows
            };
            (0..blocks * rows * columns).map(|i| data[at(i)]).collect()
        }
        (Transposed, _) => panic!("{theirs} has shape {dims:?}"),
    }
}

/// A published module: its values, x, and what else its mixer is given.
struct Module {
    name: &'static str,
    values: Values,
    graph: Graph,
    ctx: Context,
    x: Tensor,
    fields: &'static [Field],
    bindings: reference::Bindings,
}

impl Module {
    /// The module `name` with the valid frames that the mask `mask` of its file names.
    fn open(
        name: &'static str,
        fields: &'static [Field],
        padding: Padding,
        mask: Option<&str>,
    ) -> Option<Self> {
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
        Some(Self { name, values, graph, ctx, x, fields, bindings })
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
        let mut used: Vec<&str> = self.fields.iter().map(|(_, theirs, _)| *theirs).collect();
        used.sort_unstable();
        used.dedup();
        let mut theirs: Vec<String> = self.values.names();
        theirs.retain(|theirs| theirs.starts_with("param."));
        assert_eq!(used.len(), theirs.len(), "{name}: {theirs:?}");

        let parameters = self.graph.parameters();
        assert_eq!(parameters.len(), self.fields.len(), "{name}");
        let mut wanted =
            vec![("y".to_owned(), self.values.get("y").1), ("dx".to_owned(), self.values.get("dx").1)];
        let mut wrt = vec![&self.x];
        for (parameter, tensor) in &parameters {
            let field = self.fields.iter().find(|(ours, ..)| *ours == parameter.name);
            let field = *field.unwrap_or_else(|| panic!("{name}: {} is in no list", parameter.name));
            let values = ours(&self.values, "param", field);
            assert_eq!(values.len(), parameter.shape.elements(), "{name} {}", parameter.name);
            let array = Array::from_shape_vec(IxDyn(parameter.shape.dims()), values).unwrap();
            self.bindings.insert(parameter.name.clone(), array);
            wanted.push((format!("d {}", parameter.name), ours(&self.values, "grad", field)));
            wrt.push(tensor);
        }
        let dy = self.graph.input("dy", y.spec().clone());
        let mut outputs = vec![y.clone()];
        for (slope, (label, _)) in gradients(&[(&y, &dy)], &wrt).unwrap().into_iter().zip(&wanted[1..]) {
            outputs.push(slope.unwrap_or_else(|| panic!("{name}: {label} has no gradient")));
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
        let plan = Plan::compile(&self.graph, &named, gpu.capabilities()).unwrap();
        let mut loaded = block_on(executor.load(plan)).unwrap();
        for (input, values) in self.bindings.iter().filter(|(input, _)| executor.takes(&loaded, input)) {
            if input == "lengths" {
                let values: Vec<u32> = values.iter().map(|&x| x as u32).collect();
                executor.feed(&loaded, input, &values).unwrap();
            } else {
                let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
                executor.feed(&loaded, input, &values).unwrap();
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
fn named(name: &'static str, fields: &'static [Field], kind: &str, mask: &str, padding: Padding) {
    let Some(module) = Module::open(name, fields, padding, Some(mask)) else { return };
    let config = ModelConfig {
        mixer: MixerSpec::Every(kind.to_owned()),
        d_model: module.x.shape().last(),
        heads: 4,
        ffn: 32,
        padding,
        ..ModelConfig::default()
    };
    // The published module zeroes padded frames in either case; masked padding leaves open what they hold.
    let x = module.x.mask_frames(&module.ctx.lengths).unwrap();
    let x = if name.ends_with("_masked") { &x } else { &module.x };
    let y = mixer(kind, &config).unwrap().forward(&module.scope(), &module.ctx, x);
    module.check(y);
}

/// The core of PoM with a mask of the file, or with all frames.
fn core(name: &'static str, mixer: PolynomialMixer, mask: bool) {
    let Some(mut module) = Module::open(name, CORE, Padding::Masked, None) else { return };
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
    named("module_mixer_pom_k2d2_pad", WHOLE, "pom", mask, Padding::Reference);
    named("module_mixer_pom_select_k2d2_pad", WHOLE, "pom-selective", mask, Padding::Reference);
    named("module_mixer_pom_2ways_k2d2_pad", TWO_WAYS, "pom-2way", mask, Padding::Reference);
    named("module_mixer_pom_3ways_k2d2_pad", THREE_WAYS, "pom-3way", mask, Padding::Reference);
}

#[test]
fn a_polynomial_mixer_over_valid_frames() {
    named("module_mixer_pom_k2d2_masked", WHOLE, "pom", "arg.attn_mask", Padding::Masked);
}

#[test]
fn bounded_polynomial_mixers() {
    let config = ModelConfig { d_model: 12, degree: 2, expand: 2, ..ModelConfig::default() };
    for (name, masked) in [("module_pom2026_k2d2_sel1_none", false), ("module_pom2026_k2d2_sel1_valid", true)]
    {
        let Some(mut module) = Module::open(name, BOUNDED, Padding::Masked, None) else { return };
        let mask = if masked { module.input("arg.mask") } else { module.ctx.valid.clone() };
        let y = BoundedPolynomialMixer::new(&config).mix(&module.scope(), &module.x, &mask, None);
        module.check(y);
    }
}

#[test]
fn summary_mixing() {
    for padding in [Padding::Reference, Padding::Masked] {
        let name = "module_SummaryMixing_pad";
        let Some(module) = Module::open(name, SUMMARY_MIXING, padding, Some("arg.src_padding_mask")) else {
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
    for padding in [Padding::Reference, Padding::Masked] {
        let mask = "arg.key_padding_mask";
        named("module_hypermixing_pad", HYPER_MIXING, "hyper-mixing", mask, padding);
    }
}

#[test]
fn fastformer() {
    for padding in [Padding::Reference, Padding::Masked] {
        named("module_fastformer_pad", FASTFORMER, "fastformer", "arg.padding_mask", padding);
    }
}
