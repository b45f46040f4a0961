//! Pieces of a model as graphs whose operands lie on the device.

use polymix::autograd::gradients;
use polymix::exec::{Compute, PlanOptions};
use polymix::gpu::DeviceClass;
use polymix::graph::{Graph, Scope, Tensor};
use polymix::nn::{Context, FeedForward, Mode};
use polymix::ops::attention::{Attention, Positions, QkvLayout};
use polymix::ops::map::ActivationKind;
use polymix::ops::matmul::{MatMul, PlannedMatMul};
use polymix::ops::optimizer::AdamW;
use polymix::ops::pom::PomAggregate;
use polymix::recipe::{Initialization, PaddedFrames};
use polymix::shape::Spec;
use polymix::train::{InputData, Inputs};
use polymix::{Error, Result};

/// A graph, its results and its inputs.
#[derive(Debug, Clone)]
pub struct Work {
    /// What it is.
    pub name: String,
    /// Sizes, for people.
    pub shape: String,
    /// The graph.
    pub graph: Graph,
    /// What it computes.
    pub outputs: Vec<Tensor>,
    /// Data of its inputs; what is stored is noise.
    pub inputs: Inputs,
    /// How it is planned.
    pub options: PlanOptions,
}

impl Work {
    /// Work without inputs.
    pub fn new(name: &str, shape: impl Into<String>, outputs: &[Tensor]) -> Self {
        let graph = outputs[0].graph().clone();
        let (name, shape) = (name.to_owned(), shape.into());
        Self {
            name,
            shape,
            graph,
            outputs: outputs.to_vec(),
            inputs: Inputs::new(),
            options: PlanOptions::default(),
        }
    }

    fn with_inputs(self, inputs: Inputs) -> Self {
        Self { inputs, ..self }
    }
}

/// A value that lies on the device.
pub fn stored<const N: usize>(graph: &Graph, name: &str, dims: [usize; N]) -> Tensor {
    graph.stored(name, Spec::f32(dims))
}

/// Operands of C = op(A)·op(B), C [m, n], `batch` times if above 1.
pub fn factors(graph: &Graph, batch: usize, [m, n, k]: [usize; 3], op: MatMul) -> (Tensor, Tensor) {
    let (a, b) = (if op.transpose_a { [k, m] } else { [m, k] }, if op.transpose_b { [n, k] } else { [k, n] });
    match batch {
        1 => (stored(graph, "a", a), stored(graph, "b", b)),
        _ => (stored(graph, "a", [batch, a[0], a[1]]), stored(graph, "b", [batch, b[0], b[1]])),
    }
}

/// Sizes of a matmul: m, n, k.
pub type Sizes = [usize; 3];

/// A matmul to time: its name and shape, the number of matrices, their sizes, what is transposed.
pub struct Multiplication {
    /// What it is.
    pub name: &'static str,
    /// Number of matmuls.
    pub batch: usize,
    /// m, n, k.
    pub sizes: Sizes,
    /// What is transposed.
    pub op: MatMul,
    /// Whether its operands are rounded to f16.
    pub compute: Compute,
}

/// The matmuls that are compared: squares, a linear layer with its two gradients, a batch; on a GPU also a square that
/// fills it.
pub fn matmuls(class: DeviceClass) -> Vec<Multiplication> {
    let matmul = |name, batch, sizes, op| Multiplication { name, batch, sizes, op, compute: Compute::F32 };
    let plain = |name, batch, sizes| matmul(name, batch, sizes, MatMul::PLAIN);
    let mut all = vec![
        plain("matmul", 1, [512, 512, 512]),
        plain("matmul", 1, [1024, 1024, 1024]),
        plain("matmul", 1, [1600, 1024, 256]),
        matmul("matmul, gradient of B", 1, [256, 1024, 1600], transposed(true, false)),
        matmul("matmul, gradient of A", 1, [1600, 256, 1024], transposed(false, true)),
        plain("matmul, batched", 8, [500, 500, 64]),
    ];
    if class != DeviceClass::Cpu {
        all.push(plain("matmul", 1, [4096, 4096, 4096]));
    }
    all
}

fn transposed(transpose_a: bool, transpose_b: bool) -> MatMul {
    MatMul { transpose_a, transpose_b, ..MatMul::PLAIN }
}

/// Rows of the base model's batch of 6 × 80 s, and the inputs and outputs of its linear layers.
pub const MODEL_ROWS: usize = 12_006;
const MODEL_LAYERS: [[usize; 2]; 5] = [[488, 2048], [2048, 488], [1952, 488], [976, 488], [488, 488]];

/// The base model's own matmuls, a linear layer's forward pass and its gradients, by all of its layers' sizes.
pub fn model_matmuls(compute: Compute) -> Vec<Multiplication> {
    let matmul = |name, sizes, op| Multiplication { name, batch: 1, sizes, op, compute };
    let layer = |[inputs, outputs]: [usize; 2]| {
        [
            matmul("linear layer", [MODEL_ROWS, outputs, inputs], transposed(false, true)),
            matmul("linear layer, gradient of its input", [MODEL_ROWS, inputs, outputs], MatMul::PLAIN),
            matmul(
                "linear layer, gradient of its weight",
                [outputs, inputs, MODEL_ROWS],
                transposed(true, false),
            ),
        ]
    };
    MODEL_LAYERS.into_iter().flat_map(layer).collect()
}

impl Multiplication {
    /// Sizes, for people.
    pub fn shape(&self) -> String {
        let [m, n, k] = self.sizes;
        let side = |transposed: bool, rows: usize, columns: usize| match transposed {
            true => format!("[{columns}, {rows}]ᵀ"),
            false => format!("[{rows}, {columns}]"),
        };
        let (a, b) = (side(self.op.transpose_a, m, k), side(self.op.transpose_b, k, n));
        if self.batch > 1 { format!("{} × {a}·{b}", self.batch) } else { format!("{a}·{b}") }
    }

    /// The matmul as the library computes it.
    pub fn work(&self) -> Result<Work> {
        let graph = Graph::new();
        let (a, b) = factors(&graph, self.batch, self.sizes, self.op);
        let work = Work::new(self.name, self.shape(), &[a.apply(self.op, &[&b])?]);
        Ok(Work { options: PlanOptions { compute: self.compute, ..PlanOptions::default() }, ..work })
    }

    /// The matmul of operands rounded to f16, as kernels with cooperative matrices compute it.
    #[allow(dead_code)]
    pub fn work_in_f16(&self) -> Result<Work> {
        let graph = Graph::new();
        let (a, b) = factors(&graph, self.batch, self.sizes, self.op);
        let op = PlannedMatMul { f16_inputs: true, ..self.op.into() };
        Ok(Work::new(self.name, self.shape(), &[a.apply(op, &[&b])?]))
    }
}

/// Rows and columns of what is normalized.
pub const ROWS: [usize; 2] = [4000, 256];

/// LayerNorm over the last axis.
pub fn layer_norm() -> Result<Work> {
    let (graph, [rows, columns]) = (Graph::new(), ROWS);
    let x = stored(&graph, "x", [rows, columns]);
    let [weight, bias] = ["weight", "bias"].map(|name| stored(&graph, name, [columns]));
    Ok(Work::new("layer norm", format!("[{rows}, {columns}]"), &[x.layer_norm(&weight, &bias, 1e-5)?]))
}

/// Rows and columns of the softmax: a head's scores.
pub const SCORES: [usize; 2] = [2000, 500];

/// Softmax over the last axis.
pub fn softmax() -> Result<Work> {
    let (graph, [rows, columns]) = (Graph::new(), SCORES);
    let y = stored(&graph, "x", [rows, columns]).softmax()?;
    Ok(Work::new("softmax", format!("[{rows}, {columns}]"), &[y]))
}

/// Utterances, frames and channels of sequences.
pub const SEQUENCES: [usize; 3] = [8, 500, 256];
/// Taps of the depthwise convolution.
pub const TAPS: usize = 31;

/// Depthwise convolution over time.
pub fn depthwise() -> Result<Work> {
    let (graph, [batch, time, channels]) = (Graph::new(), SEQUENCES);
    let x = stored(&graph, "x", [batch, time, channels]);
    let weight = stored(&graph, "weight", [channels, 1, TAPS]);
    let bias = stored(&graph, "bias", [channels]);
    let lengths = graph.input("lengths", Spec::u32([batch]));
    let y = x.depthwise_conv1d(&weight, &bias, &lengths, TAPS / 2)?;
    let work = Work::new("depthwise conv", format!("[{batch}, {time}, {channels}], {TAPS} taps"), &[y]);
    Ok(work.with_inputs(vec![full_lengths(batch, time)]))
}

fn full_lengths(batch: usize, time: usize) -> (String, InputData) {
    ("lengths".to_owned(), InputData::U32(vec![time as u32; batch]))
}

/// Heads, frames and columns of a head.
pub const HEADS: [usize; 3] = [4, 500, 64];

/// Attention of one utterance, with the gradient of its projection if `backward`.
pub fn attention(backward: bool) -> Result<Work> {
    let (graph, [heads, time, columns]) = (Graph::new(), HEADS);
    let projection = stored(&graph, "projection", [1, time, 3 * heads * columns]);
    let lengths = graph.input("lengths", Spec::u32([1]));
    let scale = (1.0 / (columns as f64).sqrt()) as f32;
    let op = Attention { heads, layout: QkvLayout::PartMajor, positions: Positions::Absent, scale };
    let mut outputs = vec![projection.attention(op, &lengths, &[])?];
    let name = if backward { "attention, forward and backward" } else { "attention" };
    if backward {
        outputs.extend(backward_of(&outputs[0], &[&projection])?);
    }
    let work = Work::new(name, format!("{heads} heads × {time} × {columns}"), &outputs);
    Ok(work.with_inputs(vec![full_lengths(1, time)]))
}

/// The gradients of `wrt` for a stored gradient of `y`.
fn backward_of(y: &Tensor, wrt: &[&Tensor]) -> Result<Vec<Tensor>> {
    let dy = y.graph().stored("dy", y.spec().clone());
    Ok(gradients(&[(y, &dy)], wrt)?.into_iter().flatten().collect())
}

/// Rows, width and inner width of the feed-forward module.
pub const FEED_FORWARD: [usize; 3] = [1600, 256, 1024];

/// LayerNorm → Linear → activation → Linear, with the gradients of input and parameters.
pub fn feed_forward(activation: ActivationKind) -> Result<Work> {
    let (graph, [rows, width, hidden]) = (Graph::new(), FEED_FORWARD);
    let scope = graph.root();
    let x = stored(&graph, "x", [1, rows, width]);
    let initialization = Initialization::Torch;
    let layer = FeedForward { width, hidden, activation, initialization };
    let y = layer.forward(&scope, &inference(&scope, 1, rows), &x)?;
    let parameters = graph.parameters();
    let wrt: Vec<&Tensor> = std::iter::once(&x).chain(parameters.iter().map(|(_, tensor)| tensor)).collect();
    let mut outputs = vec![y.clone()];
    outputs.extend(backward_of(&y, &wrt)?);
    let with = match activation {
        ActivationKind::Gelu => "",
        ActivationKind::Silu => " with SiLU",
        other => return Err(Error::invalid(format!("no feed-forward module is timed with {other:?}"))),
    };
    let name = format!("feed-forward{with}, forward and backward");
    Ok(Work::new(&name, format!("[{rows}, {width}], {hidden} inside"), &outputs))
}

fn inference(scope: &Scope, batch: usize, time: usize) -> Context {
    Context::new(scope, batch, time, Mode::Inference, PaddedFrames::Masked)
}

/// The Polynomial Mixer's means of products.
pub fn pom_aggregate() -> Result<Work> {
    let (graph, [batch, time, channels]) = (Graph::new(), SEQUENCES);
    let p = stored(&graph, "p", [batch, time, 4 * channels]);
    let mask = stored(&graph, "mask", [batch, time]);
    let y = p.pom_aggregate(&mask, PomAggregate::products(2, false))?;
    Ok(Work::new("PoM aggregate", format!("[{batch}, {time}, {}], degree 2", 4 * channels), &[y]))
}

/// The Polynomial Mixer's gate on the means.
pub fn pom_select() -> Result<Work> {
    let (graph, [batch, time, channels]) = (Graph::new(), SEQUENCES);
    let z = stored(&graph, "z", [batch, time, 4 * channels]);
    let means = stored(&graph, "means", [batch, 4 * channels]);
    let y = z.pom_select(&means)?;
    Ok(Work::new("PoM select", format!("[{batch}, {time}, {}]", 4 * channels), &[y]))
}

/// Dropout of the inner activation of a feed-forward module.
pub fn dropout() -> Result<Work> {
    let (graph, [rows, _, hidden]) = (Graph::new(), FEED_FORWARD);
    let scope = graph.root();
    let x = stored(&graph, "x", [rows, hidden]);
    let mode = Mode::Training { dropout: 0.1, layer_drop: 0.0 };
    let ctx = Context::new(&scope, 1, rows, mode, PaddedFrames::Masked);
    let work = Work::new("dropout", format!("[{rows}, {hidden}]"), &[ctx.dropout(&scope, "dropout", &x)?]);
    Ok(work.with_inputs(vec![("rng".to_owned(), InputData::U32(vec![0, 1, 0]))]))
}

/// Parameters of an update.
const UPDATED: usize = 1 << 20;

/// One update of a million parameters.
pub fn adamw() -> Result<Work> {
    let graph = Graph::new();
    let [value, gradient, first, second] =
        ["value", "gradient", "first", "second"].map(|name| stored(&graph, name, [UPDATED]));
    let [stats, hyper] =
        [("stats", 3), ("hyper", 4)].map(|(name, size)| graph.input(name, Spec::f32([size])));
    let rule = AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-9 };
    let new = value.adamw(rule, &gradient, [&first, &second], &stats, &hyper)?;
    let inputs = [("stats", vec![1.0, 1.0, 0.0]), ("hyper", vec![1e-3, 0.01, 0.1, 0.02])];
    let inputs = inputs.map(|(name, values)| (name.to_owned(), InputData::F32(values)));
    Ok(Work::new("AdamW", format!("[{UPDATED}]"), &new[..1]).with_inputs(inputs.to_vec()))
}

/// Everything but the matmuls.
pub fn kernels() -> Result<Vec<Work>> {
    Ok(vec![
        layer_norm()?,
        softmax()?,
        depthwise()?,
        attention(false)?,
        attention(true)?,
        feed_forward(ActivationKind::Gelu)?,
        pom_aggregate()?,
        pom_select()?,
        dropout()?,
        adamw()?,
    ])
}
