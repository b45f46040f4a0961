//! meganeura: graphs that it optimizes, compiles and tunes once, on Vulkan and Metal by blade-graphics.

use std::sync::Arc;
use std::time::Instant;

use blade_graphics::{Context, DeviceReportStatus};
use meganeura::autodiff::differentiate;
use meganeura::graph::NodeId;
use meganeura::{CoopPolicy, GpuOptions, Graph, Mode, Session, SessionConfig, SessionOptions};
use polymix::audio::BANDS;
use polymix::gpu::Capabilities;
use polymix::ops::map::ActivationKind;
use polymix::recipe::ModelConfig;
use polymix::train::BatchShape;
use polymix::{Error, Result};

use crate::harness::step::{CLASSES, RATE, STACKED};
use crate::harness::works::{FEED_FORWARD, HEADS, Multiplication, ROWS, SCORES, SEQUENCES, TAPS};
use crate::peer::{Entry, Example, Peer, Run, Source, swapped, transposed, values};

struct Meganeura(Arc<Context>);

/// Opens the adapter that polymix uses.
pub fn open(capabilities: &Capabilities) -> Result<Box<dyn Peer>> {
    let context = meganeura::init_gpu_context_with(GpuOptions::from_env()).map_err(|error| {
        let rejected =
            Context::enumerate().unwrap_or_default().into_iter().filter_map(|device| match device.status {
                DeviceReportStatus::Rejected(reason) => {
                    Some(format!("; {}: {reason}", device.information.device_name))
                }
                DeviceReportStatus::Available { .. } => None,
            });
        Error::NoAdapter(format!("meganeura: {error}{}", rejected.collect::<String>()))
    })?;
    let name = &context.device_information().device_name;
    if *name != capabilities.adapter {
        let own = &capabilities.adapter;
        return Err(Error::NoAdapter(format!(
            "meganeura opened {name}, polymix {own}; set MEGANEURA_DEVICE_ID to the Vulkan device ID of {own}"
        )));
    }
    Ok(Box::new(Meganeura(Arc::new(context))))
}

/// A graph with the values of its operands, which are all parameters, so that they lie on the device.
struct Model {
    graph: Graph,
    values: Vec<(String, Vec<f32>)>,
}

impl Model {
    fn new() -> Self {
        Self { graph: Graph::new(), values: Vec::new() }
    }

    fn operand(&mut self, name: &str, dims: &[usize], values: Vec<f32>) -> NodeId {
        self.values.push((name.to_owned(), values));
        self.graph.parameter(name, dims)
    }

    /// The tensor that polymix stores under that name.
    fn stored(&mut self, name: &str, dims: &[usize]) -> NodeId {
        self.operand(name, dims, values(name, dims))
    }

    /// The vector of parameters `name` of the module `module`.
    fn vector(&mut self, source: Source, module: &str, name: &str, width: usize) -> Result<NodeId> {
        Ok(self.operand(&format!("{module}{name}"), &[width], source(name, &[width])?))
    }

    /// The Linear `name` of the module `module`.
    fn linear(
        &mut self,
        source: Source,
        (module, name): (&str, &str),
        x: NodeId,
        [inputs, outputs]: [usize; 2],
    ) -> Result<NodeId> {
        let weight = format!("{name}.weight");
        let values = transposed(&source(&weight, &[outputs, inputs])?, [outputs, inputs]);
        let weight = self.operand(&format!("{module}{weight}"), &[inputs, outputs], values);
        let bias = self.vector(source, module, &format!("{name}.bias"), outputs)?;
        let y = self.graph.matmul(x, weight);
        Ok(self.graph.bias_add(y, bias))
    }

    /// The LayerNorm `norm` of the module `module`.
    fn layer_norm(&mut self, source: Source, module: &str, x: NodeId, width: usize) -> Result<NodeId> {
        let weight = self.vector(source, module, "norm.weight", width)?;
        let bias = self.vector(source, module, "norm.bias", width)?;
        Ok(self.graph.layer_norm(x, weight, bias, 1e-5))
    }

    /// LayerNorm → Linear → SiLU → Linear.
    fn feed_forward(
        &mut self,
        source: Source,
        module: &str,
        x: NodeId,
        [width, hidden]: [usize; 2],
    ) -> Result<NodeId> {
        let x = self.layer_norm(source, module, x, width)?;
        let x = self.linear(source, (module, "linear1"), x, [width, hidden])?;
        let x = self.graph.silu(x);
        self.linear(source, (module, "linear2"), x, [hidden, width])
    }

    /// Attention and feed-forward module, each behind a LayerNorm and with a residual.
    fn block(&mut self, example: &Example, module: &str, x: NodeId) -> Result<NodeId> {
        let (d, heads) = (example.model.width, example.model.heads as u32);
        let source = |name: &str, _: &[usize]| example.parameter(&format!("{module}{name}"));
        let normalized = self.layer_norm(&source, module, x, d)?;
        // polymix has one Linear for queries, keys and values.
        let mut part = |part: usize| {
            let third = |name: &str, dims: &[usize]| {
                let size = dims.iter().product::<usize>();
                Ok(source(name, dims)?[part * size..][..size].to_vec())
            };
            self.linear(&third, (&format!("{module}{part}."), "attention.input"), normalized, [d, d])
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let mixed = self.graph.multi_head_attn(q, k, v, heads, heads, d as u32 / heads, false);
        let mixed = self.linear(&source, (module, "attention.output"), mixed, [d, d])?;
        let x = self.graph.add(x, mixed);
        let inner = format!("{module}feed_forward.");
        let source = |name: &str, _: &[usize]| example.parameter(&format!("{inner}{name}"));
        let transformed = self.feed_forward(&source, &inner, x, [d, example.model.hidden])?;
        Ok(self.graph.add(x, transformed))
    }

    /// `y`, with the gradients of every operand by the sum of `y` if `backward`.
    fn outputs(&mut self, y: NodeId, backward: bool) {
        let mut outputs = vec![y];
        if backward {
            // The sum itself is dead then.
            let sum = self.graph.sum_all(y);
            self.graph.set_outputs(vec![sum]);
            self.graph = differentiate(&self.graph);
            outputs.extend(&self.graph.outputs()[1..]);
        }
        self.graph.set_outputs(outputs);
    }
}

/// Brings results into polymix's order and layout.
type Arrange = Box<dyn Fn(Vec<Vec<f32>>) -> Vec<Vec<f32>>>;

/// A compiled graph whose outputs are the results.
struct Prepared {
    session: Session,
    /// Elements of each output.
    sizes: Vec<usize>,
    arrange: Arrange,
}

/// A session that trains.
struct Steps(Session);

/// Milliseconds of the session's graph.
fn timed(session: &mut Session) -> f64 {
    session.wait();
    let begun = Instant::now();
    session.step();
    session.wait();
    1e3 * begun.elapsed().as_secs_f64()
}

impl Run for Prepared {
    fn time(&mut self) -> Result<f64> {
        Ok(timed(&mut self.session))
    }

    fn results(&mut self) -> Result<Vec<Vec<f32>>> {
        timed(&mut self.session);
        let read = |(index, &size): (usize, &usize)| {
            let mut values = vec![0.0; size];
            self.session.read_output_by_index(index, &mut values);
            values
        };
        Ok((self.arrange)(self.sizes.iter().enumerate().map(read).collect()))
    }
}

impl Run for Steps {
    fn time(&mut self) -> Result<f64> {
        Ok(timed(&mut self.0))
    }

    fn results(&mut self) -> Result<Vec<Vec<f32>>> {
        timed(&mut self.0);
        Ok(vec![vec![self.0.read_loss()]])
    }
}

impl Meganeura {
    /// The graph, compiled and tuned, with its operands on the device. Cooperative matrices are used in f32 alone.
    fn session(&self, model: Model, mode: Mode) -> Session {
        let coop = match self.0.capabilities().cooperative_matrix.f32_tile {
            0 => CoopPolicy::Disabled,
            _ => CoopPolicy::Auto,
        };
        let config = SessionConfig {
            mode,
            gpu: Some(self.0.clone()),
            runtime: SessionOptions { coop, ..SessionOptions::default() },
            tune: true,
            ..SessionConfig::default()
        };
        let mut session = meganeura::build(&model.graph, config).0;
        for (name, values) in &model.values {
            session.set_parameter(name, values);
        }
        session
    }

    fn prepared(&self, model: Model, arrange: impl Fn(Vec<Vec<f32>>) -> Vec<Vec<f32>> + 'static) -> Entry {
        let graph = &model.graph;
        let sizes = graph.outputs().iter().map(|&node| graph.node(node).ty.num_elements()).collect();
        Ok(Box::new(Prepared {
            session: self.session(model, Mode::Inference),
            sizes,
            arrange: Box::new(arrange),
        }))
    }

    /// `y` alone, which polymix lays out alike.
    fn single(&self, mut model: Model, y: NodeId) -> Entry {
        model.outputs(y, false);
        self.prepared(model, |results| results)
    }
}

impl Peer for Meganeura {
    fn matmul(&self, work: &Multiplication) -> Entry {
        let ([m, n, k], batch, op) = (work.sizes, work.batch, work.op);
        let [a, b] =
            [if op.transpose_a { [k, m] } else { [m, k] }, if op.transpose_b { [n, k] } else { [k, n] }];
        let all = [("a", a), ("b", b)].map(|(name, [rows, columns])| match batch {
            1 => values(name, &[rows, columns]),
            _ => values(name, &[batch, rows, columns]),
        });
        let mut model = Model::new();
        // It has no matmul of batches: a node for each.
        let product = |index: usize| {
            let [a, b] = [("a", a, &all[0]), ("b", b, &all[1])].map(|(name, dims, values)| {
                let size = dims[0] * dims[1];
                model.operand(&format!("{name}{index}"), &dims, values[index * size..][..size].to_vec())
            });
            match (op.transpose_a, op.transpose_b) {
                (false, false) => Ok(model.graph.matmul(a, b)),
                (true, false) => Ok(model.graph.matmul_at(a, b)),
                (false, true) => Ok(model.graph.matmul_bt(a, b)),
                (true, true) => Err(Error::invalid("meganeura has no matmul of two transposed matrices")),
            }
        };
        let products = (0..batch).map(product).collect::<Result<_>>()?;
        model.graph.set_outputs(products);
        self.prepared(model, |results| vec![results.concat()])
    }

    fn layer_norm(&self) -> Entry {
        let mut model = Model::new();
        let x = model.stored("x", &ROWS);
        let [weight, bias] = ["weight", "bias"].map(|name| model.stored(name, &ROWS[1..]));
        let y = model.graph.layer_norm(x, weight, bias, 1e-5);
        self.single(model, y)
    }

    fn softmax(&self) -> Entry {
        let mut model = Model::new();
        let x = model.stored("x", &SCORES);
        let y = model.graph.softmax(x);
        self.single(model, y)
    }

    fn depthwise(&self) -> Entry {
        let [batch, time, channels] = SEQUENCES;
        let mut model = Model::new();
        let x = swapped(&values("x", &SEQUENCES), [batch, time, channels, 1]);
        let x = model.operand("x", &[x.len()], x);
        let weight = values("weight", &[channels, 1, TAPS]);
        let weight = model.operand("weight", &[weight.len()], weight);
        let bias = model.stored("bias", &[channels]);
        let [b, t, c, taps] = [batch, time, channels, TAPS].map(|size| size as u32);
        // Time is the width of images that are one pixel high.
        let y = model.graph.conv2d_dw(x, weight, b, c, 1, t, 1, taps, 1, 0, taps / 2);
        let y = model.graph.add_per_channel(y, bias, c, t);
        model.outputs(y, false);
        self.prepared(model, move |results| vec![swapped(&results[0], [batch, channels, time, 1])])
    }

    fn attention(&self, backward: bool) -> Entry {
        let [heads, time, columns] = HEADS;
        let width = heads * columns;
        let projection = values("projection", &[1, time, 3 * width]);
        let parts = swapped(&projection, [1, time, 3, width]);
        let mut model = Model::new();
        let [q, k, v] = ["q", "k", "v"].map(|name| {
            let first = model.values.len() * time * width;
            model.operand(name, &[time, width], parts[first..first + time * width].to_vec())
        });
        let [h, c] = [heads, columns].map(|size| size as u32);
        let y = match backward {
            true => model.graph.multi_head_attn(q, k, v, h, h, c, false),
            false => model.graph.full_attention(q, k, v, h, h, c),
        };
        model.outputs(y, backward);
        self.prepared(model, move |mut results| {
            if backward {
                let gradients = results.split_off(1).concat();
                results.push(swapped(&gradients, [1, 3, time, width]));
            }
            results
        })
    }

    fn feed_forward(&self, activation: ActivationKind) -> Entry {
        if activation != ActivationKind::Silu {
            return Err(Error::invalid("meganeura's GELU is the approximation by tanh"));
        }
        let [rows, width, hidden] = FEED_FORWARD;
        let mut model = Model::new();
        let x = model.stored("x", &[rows, width]);
        let source = |name: &str, dims: &[usize]| Ok(values(name, dims));
        let y = model.feed_forward(&source, "", x, [width, hidden])?;
        model.outputs(y, true);
        self.prepared(model, move |mut results| {
            results[4] = transposed(&results[4], [width, hidden]);
            results[6] = transposed(&results[6], [hidden, width]);
            results
        })
    }

    fn transformer(&self, example: &Example) -> Entry {
        let (d, rows) = (example.model.width, example.shape.time());
        if example.shape.utterances > 1 {
            return Err(Error::invalid("meganeura has no attention of batches"));
        }
        let mut model = Model::new();
        let source = |name: &str, _: &[usize]| example.parameter(name);
        let features = model.graph.input("features", &[rows, STACKED * BANDS]);
        let labels = model.graph.input("labels", &[rows, CLASSES]);
        let mut x = model.linear(&source, ("", "encoder.input"), features, [STACKED * BANDS, d])?;
        for index in 0..example.model.layers {
            x = model.block(example, &format!("encoder.layers.{index}."), x)?;
        }
        let encoder = |name: &str, _: &[usize]| example.parameter(&format!("encoder.{name}"));
        let x = model.layer_norm(&encoder, "encoder.", x, d)?;
        let logits = model.linear(&source, ("", "head"), x, [d, CLASSES])?;
        let loss = model.graph.cross_entropy_loss(logits, labels);
        model.graph.set_outputs(vec![loss]);
        let mut session = self.session(model, Mode::Training);
        let mut one_hot = vec![0.0; rows * CLASSES];
        for (row, &class) in example.targets.iter().enumerate() {
            one_hot[row * CLASSES + class as usize] = 1.0;
        }
        session.set_input("features", &example.features);
        session.set_input("labels", &one_hot);
        session.set_adam(RATE as f32, 0.9, 0.98, 1e-9);
        session.set_weight_decay(0.1);
        Ok(Box::new(Steps(session)))
    }

    fn conformer(&self, _: &ModelConfig, _: BatchShape) -> Entry {
        Err(Error::invalid("meganeura has no dropout and no gradient of a depthwise convolution"))
    }
}
