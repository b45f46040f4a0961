//! The layers, losses and the optimizer against golden values of PyTorch in f64, which lie in `tests/golden`:
//! the reference executor first, then the kernels on the adapter that `POLYMIX_DEVICE` names.

mod adapter;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ndarray::IxDyn;
use polymix::autograd::gradients;
use polymix::exec::{Executor, Plan, PlanOptions, reference};
use polymix::gpu::Gpu;
use polymix::graph::{Graph, Tensor, ValueSource};
use polymix::nn::{ConformerLayer, Context, Frontend, Mode, mixer};
use polymix::ops::Array;
use polymix::ops::ctc::CtcLoss;
use polymix::ops::optimizer::AdamW;
use polymix::recipe::{MixerKind, ModelConfig, PaddedFrames};
use polymix::shape::{DType, Spec};
use safetensors::{Dtype, SafeTensors};

/// The adapter under test, opened once.
fn gpu() -> Option<Arc<Gpu>> {
    static GPU: OnceLock<Option<Arc<Gpu>>> = OnceLock::new();
    GPU.get_or_init(adapter::gpu).clone()
}

/// One file: inputs by the name they have in the graph, results, and `gradient.<name>`.
struct Golden {
    name: &'static str,
    tensors: BTreeMap<String, Array>,
}

impl Golden {
    fn open(name: &'static str) -> Self {
        let path = format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors = BTreeMap::new();
        for (key, view) in file.iter() {
            let data = view.data();
            let values: Vec<f64> = match view.dtype() {
                Dtype::F32 => {
                    data.as_chunks::<4>().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect()
                }
                Dtype::F64 => data.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
                Dtype::I64 => data.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
                other => panic!("{key} has type {other:?}"),
            };
            tensors.insert(key.to_owned(), Array::from_shape_vec(IxDyn(view.shape()), values).unwrap());
        }
        Self { name, tensors }
    }

    fn tensor(&self, key: &str) -> &Array {
        self.tensors.get(key).unwrap_or_else(|| panic!("{} has no tensor {key}", self.name))
    }

    /// The graph's input `key`, of the shape that the file has.
    fn input(&self, graph: &Graph, key: &str) -> Tensor {
        graph.input(key, Spec::f32(self.tensor(key).shape()))
    }

    /// The graph's input `key` of whole numbers.
    fn whole(&self, graph: &Graph, key: &str) -> Tensor {
        graph.input(key, Spec::u32(self.tensor(key).shape()))
    }

    /// The context of the file's batch, with `time` encoder frames.
    fn context(&self, graph: &Graph, batch: usize, time: usize) -> Context {
        Context::new(&graph.root(), batch, time, Mode::Inference, PaddedFrames::Masked)
    }

    /// Checks `outputs` and, for the cotangent `dy` of `of`, the gradients of x and of every parameter.
    fn check_layer(&self, graph: &Graph, x: &Tensor, of: &Tensor, mut outputs: Vec<(String, Tensor)>) {
        let cotangent = self.input(graph, "dy");
        let mut wrt = vec![("x".to_owned(), x.clone())];
        wrt.extend(graph.parameters().into_iter().map(|(parameter, tensor)| (parameter.name, tensor)));
        let tensors: Vec<&Tensor> = wrt.iter().map(|(_, tensor)| tensor).collect();
        for ((name, _), gradient) in wrt.iter().zip(gradients(&[(of, &cotangent)], &tensors).unwrap()) {
            outputs.push((format!("gradient.{name}"), gradient.unwrap()));
        }
        self.check(graph, &outputs);
    }

    /// Runs the graph on the file's inputs with both executors and compares `outputs`, which must hold all the
    /// gradients of the file.
    fn check(&self, graph: &Graph, outputs: &[(String, Tensor)]) {
        fn is_gradient(key: &&str) -> bool {
            key.starts_with("gradient.")
        }
        let checked: BTreeSet<&str> =
            outputs.iter().map(|(key, _)| key.as_str()).filter(is_gradient).collect();
        let stored: BTreeSet<&str> = self.tensors.keys().map(String::as_str).filter(is_gradient).collect();
        assert_eq!(checked, stored, "{}", self.name);

        let tensors: Vec<&Tensor> = outputs.iter().map(|(_, tensor)| tensor).collect();
        let mut bindings: reference::Bindings = self.tensors.clone().into_iter().collect();
        let arrays = reference::run(graph, &mut bindings, &tensors).unwrap();
        for ((key, _), array) in outputs.iter().zip(&arrays) {
            assert_eq!(array.shape(), self.tensor(key).shape(), "{} {key}", self.name);
            self.compare("reference", key, array.iter().copied(), 1e-9);
        }
        let Some(gpu) = gpu() else { return };
        for (key, values) in self.kernels(gpu, graph, outputs) {
            let bound = if is_gradient(&key) { 1e-4 } else { 2e-5 };
            self.compare("kernels", key, values.into_iter().map(f64::from), bound);
        }
    }

    /// The outputs as the kernels compute them.
    fn kernels<'a>(
        &self,
        gpu: Arc<Gpu>,
        graph: &Graph,
        outputs: &'a [(String, Tensor)],
    ) -> Vec<(&'a str, Vec<f32>)> {
        // On GL, wgpu panics where another thread keeps the context for a second, as slow compilers do.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let f32s = |name: &str| self.tensor(name).iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let named: Vec<(&str, &Tensor)> =
            outputs.iter().map(|(key, tensor)| (key.as_str(), tensor)).collect();
        let plan = Plan::compile(graph, &named, PlanOptions::default(), gpu.capabilities()).unwrap();
        let mut executor = Executor::new(gpu.clone());
        executor.fence();
        if !plan.stored.is_empty() {
            executor.store.arena(&gpu, "parameters", &plan.stored).unwrap();
            for (name, _) in &plan.stored {
                executor.store.write(&gpu, name, &f32s(name)).unwrap();
            }
        }
        let mut loaded = pollster::block_on(executor.load(plan)).unwrap();
        executor.poison(&loaded).unwrap();
        for value in graph.snapshot().0 {
            let ValueSource::Input(name) = &value.source else { continue };
            if !executor.takes(&loaded, name) {
                continue;
            }
            match value.spec.dtype {
                DType::F32 | DType::F16 => executor.write_input(&loaded, name, &f32s(name)).unwrap(),
                DType::U32 => {
                    let data: Vec<u32> = self.tensor(name).iter().map(|&x| x as u32).collect();
                    executor.write_input(&loaded, name, &data).unwrap();
                }
            }
        }
        executor.run(&mut loaded).unwrap();
        let read = |key| pollster::block_on(executor.read(&loaded, key)).unwrap();
        let values = named.iter().map(|&(key, _)| (key, read(key))).collect();
        pollster::block_on(executor.check_fences(&loaded)).unwrap();
        values
    }

    /// Every value is within `bound` of the file's, relative to the tensor's largest magnitude or to 1.
    fn compare(&self, executor: &str, key: &str, got: impl ExactSizeIterator<Item = f64>, bound: f64) {
        let wanted = self.tensor(key);
        assert_eq!(got.len(), wanted.len(), "{} {key}", self.name);
        let largest = wanted.iter().fold(1.0_f64, |largest, x| largest.max(x.abs()));
        for (at, (got, wanted)) in got.zip(wanted).enumerate() {
            let close = (got - wanted).abs() <= bound * largest;
            assert!(close, "{} {key}[{at}], {executor}: {got}, PyTorch {wanted}", self.name);
        }
    }
}

fn named(outputs: &[(&str, &Tensor)]) -> Vec<(String, Tensor)> {
    outputs.iter().map(|(key, tensor)| ((*key).to_owned(), (*tensor).clone())).collect()
}

/// The model that the files are of.
fn config(degree: usize) -> ModelConfig {
    ModelConfig {
        d_model: 12,
        layers: 1,
        ffn: 24,
        kernel: 5,
        degree,
        channels: [4, 3],
        ..ModelConfig::default()
    }
}

fn polynomial_mixer(name: &'static str, degree: usize) {
    let golden = Golden::open(name);
    let graph = Graph::new();
    let x = golden.input(&graph, "x");
    let ctx = golden.context(&graph, x.dims()[0], x.dims()[1]);
    let y = mixer(MixerKind::Pom, &config(degree)).forward(&graph.root(), &ctx, &x).unwrap();
    golden.check_layer(&graph, &x, &y, named(&[("y", &y)]));
}

#[test]
fn mixer_of_degree_2() {
    polynomial_mixer("mixer_k2", 2);
}

#[test]
fn mixer_of_degree_3() {
    polynomial_mixer("mixer_k3", 3);
}

#[test]
fn conformer_layer() {
    let golden = Golden::open("conformer");
    let graph = Graph::new();
    let x = golden.input(&graph, "x");
    let ctx = golden.context(&graph, x.dims()[0], x.dims()[1]);
    let y = ConformerLayer::new(&config(2), 0).forward(&graph.root(), &ctx, &x).unwrap();
    golden.check_layer(&graph, &x, &y, named(&[("y", &y)]));
}

#[test]
fn frontend() {
    let golden = Golden::open("frontend");
    let graph = Graph::new();
    let x = golden.input(&graph, "x");
    let ctx = golden.context(&graph, x.dims()[0], x.dims()[1] / 4);
    let layer = Frontend::new(&config(2), x.dims()[2]);
    let (blocks, y) = layer.forward(&graph.root(), &ctx, &x).unwrap();
    golden.check_layer(&graph, &x, &y, named(&[("blocks", &blocks), ("y", &y)]));
}

/// The gradient of `loss` with respect to `logits`.
fn gradient(loss: &Tensor, logits: &Tensor) -> Tensor {
    let one = loss.graph().fill([1], 1.0).unwrap();
    gradients(&[(loss, &one)], &[logits]).unwrap().remove(0).unwrap()
}

#[test]
fn ctc_loss() {
    let golden = Golden::open("ctc");
    let graph = Graph::new();
    let logits = golden.input(&graph, "logits");
    let [targets, frames, labels] =
        ["targets", "input_lengths", "target_lengths"].map(|key| golden.whole(&graph, key));
    let options = CtcLoss { blank: 0, zero_infinity: true };
    let (losses, infeasible) = logits.ctc_loss(&targets, &frames, &labels, options).unwrap();
    let loss = losses.mul(&golden.input(&graph, "weights")).unwrap().sum(0, 1).unwrap();
    let outputs = [
        ("losses", &losses),
        ("infinite", &infeasible),
        ("loss", &loss),
        ("gradient.logits", &gradient(&loss, &logits)),
    ];
    golden.check(&graph, &named(&outputs));
}

#[test]
fn cross_entropy() {
    let golden = Golden::open("cross_entropy");
    let graph = Graph::new();
    let logits = golden.input(&graph, "logits");
    let [targets, count] = ["targets", "count"].map(|key| golden.whole(&graph, key));
    let (loss, correct) = logits.cross_entropy(&targets, &count).unwrap();
    let gradient = gradient(&loss, &logits);
    golden.check(&graph, &named(&[("loss", &loss), ("correct", &correct), ("gradient.logits", &gradient)]));
}

/// Three steps; the norm of the first gradient is below the limit, those of the others are above.
#[test]
fn adamw_with_clipping() {
    let golden = Golden::open("adamw");
    let rule = AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-9 };
    let graph = Graph::new();
    let gradient_scale = graph.fill([1], 1.0).unwrap();
    let mut states = ["weight", "bias"]
        .map(|name| ["value", "first", "second"].map(|kind| golden.input(&graph, &format!("{kind}.{name}"))));
    let mut outputs = Vec::new();
    for step in 1..=3 {
        let gradients = ["weight", "bias"].map(|name| golden.input(&graph, &format!("slope.{step}.{name}")));
        let sums = gradients.each_ref().map(|gradient| gradient.squared_norm().unwrap());
        let sums = Tensor::concat(&[&sums[0], &sums[1]], 0).unwrap();
        let stats = sums.clip_grad_norm(&gradient_scale, 1.5).unwrap();
        outputs.push((format!("norm.{step}"), stats.slice(0, 0, 1).unwrap()));
        let hyper = golden.input(&graph, &format!("hyper.{step}"));
        for (state, gradient) in states.iter_mut().zip(&gradients) {
            let [value, first, second] = state.each_ref();
            let new = value.adamw(rule, gradient, [first, second], &stats, &hyper).unwrap();
            *state = [0, 1, 2].map(|i: usize| new[i].clone());
        }
    }
    for (name, state) in ["weight", "bias"].iter().zip(&states) {
        for (kind, tensor) in ["value", "first", "second"].iter().zip(state) {
            outputs.push((format!("{kind}.{name}.3"), tensor.clone()));
        }
    }
    golden.check(&graph, &outputs);
}
