//! Parameters, gradients and moments in a few flat arenas, so that an update is a fixed number of dispatches.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::objective::{BatchShape, Objective};
use crate::error::Result;
use crate::exec::{Compute, Executor, arena_elements};
use crate::graph::Parameter;
use crate::recipe::OptimizerConfig;
use crate::shape::{Shape, Spec};
use crate::weights::Weights;

/// Which learning rate a parameter follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Front-end and encoder.
    Encoder,
    /// The head.
    Head,
}

/// Parameters of one group that lie in one buffer.
#[derive(Debug, Clone)]
pub struct Arena {
    /// Which learning rate they follow.
    pub group: Group,
    /// Whether their weights decay.
    pub decays: bool,
    /// The parameters in order.
    pub members: Vec<Parameter>,
}

/// The values that the optimizer keeps for every parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The value itself.
    Value,
    /// The gradient of the step under way.
    Gradient,
    /// AdamW's first moment.
    First,
    /// AdamW's second moment.
    Second,
}

impl Kind {
    /// All of them: what training holds of a parameter.
    pub const ALL: [Self; 4] = [Self::Value, Self::Gradient, Self::First, Self::Second];

    /// The store's name of a parameter's part of this kind.
    pub fn of(self, parameter: &str) -> String {
        match self {
            Self::Value => parameter.to_owned(),
            Self::Gradient => format!("gradient/{parameter}"),
            Self::First => format!("first_moment/{parameter}"),
            Self::Second => format!("second_moment/{parameter}"),
        }
    }

    /// The store's name of the arena number `index` of this kind.
    pub fn arena(self, index: usize) -> String {
        match self {
            Self::Value => format!("values.{index}"),
            Self::Gradient => format!("gradients.{index}"),
            Self::First => format!("first_moments.{index}"),
            Self::Second => format!("second_moments.{index}"),
        }
    }
}

/// All parameters of a model under training.
#[derive(Debug, Clone)]
pub struct ParameterSet {
    /// The trainable ones by arena.
    pub arenas: Vec<Arena>,
    /// State that no optimizer changes.
    pub frozen: Vec<Parameter>,
    /// Precision of the products that their gradients come from.
    pub compute: Compute,
}

impl ParameterSet {
    /// Distributes the parameters over arenas of at most `max_binding` bytes.
    pub fn new(parameters: Vec<Parameter>, config: &OptimizerConfig, max_binding: u64) -> Self {
        let (trainable, frozen): (Vec<_>, Vec<_>) = parameters.into_iter().partition(|p| p.trainable);
        let mut arenas: Vec<(Arena, usize)> = Vec::new();
        let most = (max_binding / 4) as usize;
        for parameter in trainable {
            let encoder = ["frontend.", "encoder."].iter().any(|prefix| parameter.name.starts_with(prefix));
            let group = if encoder { Group::Encoder } else { Group::Head };
            let decays = config.decay_biases_and_norms || parameter.shape.rank() > 1;
            let size = arena_elements(parameter.shape.elements());
            let fits = |(arena, used): &&mut (Arena, usize)| {
                arena.group == group && arena.decays == decays && used.saturating_add(size) <= most
            };
            match arenas.iter_mut().rev().find(fits) {
                Some((arena, used)) => {
                    arena.members.push(parameter);
                    *used += size;
                }
                None => arenas.push((Arena { group, decays, members: vec![parameter] }, size)),
            }
        }
        let arenas = arenas.into_iter().map(|(arena, _)| arena).collect();
        Self { arenas, frozen, compute: Compute::F32 }
    }

    /// The parameters of `objective`, distributed as of [`ParameterSet::new`].
    ///
    /// # Errors
    /// When the model cannot be built.
    pub fn of(objective: &dyn Objective, config: &OptimizerConfig, max_binding: u64) -> Result<Self> {
        let smallest = objective.graph(BatchShape { utterances: 1, frames: 16 }, true)?;
        let parameters = smallest.graph.parameters().into_iter().map(|(parameter, _)| parameter).collect();
        Ok(Self { compute: objective.plan_options().compute, ..Self::new(parameters, config, max_binding) })
    }

    /// Makes room for these kinds of every parameter in the executor's store.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn allocate(&self, executor: &mut Executor, kinds: &[Kind]) -> Result<()> {
        let gpu = executor.gpu().clone();
        for (index, arena) in self.arenas.iter().enumerate() {
            for kind in kinds {
                let parts: Vec<(String, Spec)> =
                    arena.members.iter().map(|p| (kind.of(&p.name), Spec::f32(p.shape.clone()))).collect();
                executor.store.arena(&gpu, &kind.arena(index), &parts)?;
            }
        }
        for parameter in &self.frozen {
            let part = (parameter.name.clone(), Spec::f32(parameter.shape.clone()));
            executor.store.arena(&gpu, &parameter.name, &[part])?;
        }
        Ok(())
    }

    /// Bytes that [`ParameterSet::allocate`] takes for `kinds` kinds.
    pub fn bytes(&self, kinds: usize) -> u64 {
        let arenas: usize = (0..self.arenas.len()).map(|index| self.arena_shape(index).elements()).sum();
        let frozen = self.frozen.iter().map(|p| arena_elements(p.shape.elements()));
        4 * (arenas * kinds + frozen.sum::<usize>()) as u64
    }

    /// All parameters.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.arenas.iter().flat_map(|arena| &arena.members).chain(&self.frozen)
    }

    /// Number of trainable values.
    pub fn trainable(&self) -> usize {
        self.arenas.iter().flat_map(|arena| &arena.members).map(|p| p.shape.elements()).sum()
    }

    /// Writes values: those of `from` where it has a tensor of the name, else drawn from `seed`.
    ///
    /// # Errors
    /// When a tensor has another shape.
    pub fn fill(&self, executor: &Executor, from: Option<&Weights>, seed: u32) -> Result<()> {
        let mut drawn = Vec::new();
        for parameter in self.iter() {
            match from.filter(|weights| weights.get(&parameter.name).is_some()) {
                Some(weights) => {
                    executor.store.write(executor.gpu(), &parameter.name, weights.values(parameter)?)?;
                }
                None => drawn.push(parameter),
            }
        }
        draw(&drawn, seed, |parameter, values| executor.store.write(executor.gpu(), &parameter.name, values))
    }

    /// Reads the values of all parameters, frozen ones included.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn values(&self, executor: &Executor) -> Result<Weights> {
        let mut weights = self.read(executor, Kind::Value).await?;
        for parameter in &self.frozen {
            let values = executor.store.read(executor.gpu(), &parameter.name).await?;
            weights.insert(&parameter.name, parameter.shape.clone(), values)?;
        }
        Ok(weights)
    }

    /// Reads the moments, under the store's names.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn moments(&self, executor: &Executor) -> Result<Weights> {
        let mut weights = self.read(executor, Kind::First).await?;
        let second = self.read(executor, Kind::Second).await?;
        for (name, shape, values) in second.iter() {
            weights.insert(name, shape.clone(), values.to_vec())?;
        }
        Ok(weights)
    }

    /// Writes the moments that [`ParameterSet::moments`] read.
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub fn restore_moments(&self, executor: &Executor, weights: &Weights) -> Result<()> {
        for parameter in self.arenas.iter().flat_map(|arena| &arena.members) {
            for kind in [Kind::First, Kind::Second] {
                let moment = Parameter { name: kind.of(&parameter.name), ..parameter.clone() };
                executor.store.write(executor.gpu(), &moment.name, weights.values(&moment)?)?;
            }
        }
        Ok(())
    }

    /// One read an arena.
    async fn read(&self, executor: &Executor, kind: Kind) -> Result<Weights> {
        let mut weights = Weights::default();
        for (index, arena) in self.arenas.iter().enumerate() {
            let all: Vec<f32> = executor.store.read(executor.gpu(), &kind.arena(index)).await?;
            let mut start = 0;
            for parameter in &arena.members {
                let size = parameter.shape.elements();
                weights.insert(
                    kind.of(&parameter.name),
                    parameter.shape.clone(),
                    all[start..start + size].to_vec(),
                )?;
                start += arena_elements(size);
            }
        }
        Ok(weights)
    }

    /// Elements of the arena number `index`, the gaps included.
    pub fn arena_shape(&self, index: usize) -> Shape {
        let members = &self.arenas[index].members;
        Shape::from([members.iter().map(|p| arena_elements(p.shape.elements())).sum::<usize>()])
    }
}

/// Draws the parameters' first values on all cores, and hands them to `put` in whatever order they are ready.
fn draw(
    parameters: &[&Parameter],
    seed: u32,
    mut put: impl FnMut(&Parameter, &[f32]) -> Result<()>,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        // No room to wait in: values of large models would fill the memory.
        let (sender, receiver) = mpsc::sync_channel(0);
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(parameters.len()) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(&parameter) = parameters.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let values = parameter.init.draw(&parameter.name, &parameter.shape, seed);
                    if sender.send((parameter, values)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        receiver.into_iter().try_for_each(|(parameter, values)| put(parameter, &values))
    })
}
