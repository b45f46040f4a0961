//! Training: parameter groups, schedules, one loop for both phases, validation, checkpoints, metrics. Without the feature
//! `cli` there are the optimizer's steps alone.

#[cfg(feature = "cli")]
mod card;
#[cfg(feature = "cli")]
mod checkpoint;
#[cfg(feature = "cli")]
mod collective;
#[cfg(feature = "cli")]
mod data;
#[cfg(feature = "cli")]
mod finetune;
#[cfg(feature = "cli")]
mod fit;
#[cfg(feature = "cli")]
mod kernels;
#[cfg(feature = "cli")]
mod lock;
mod loss_scale;
#[cfg(feature = "cli")]
pub mod metrics;
#[cfg(feature = "cli")]
mod named;
mod objective;
mod parameters;
#[cfg(feature = "cli")]
mod pretrain;
#[cfg(feature = "cli")]
mod probe;
#[cfg(feature = "cli")]
mod run;
mod schedule;
#[cfg(feature = "cli")]
mod setup;
#[cfg(feature = "cli")]
mod start;
#[cfg(feature = "cli")]
mod stop;
#[cfg(feature = "cli")]
mod task;
mod trainer;
#[cfg(feature = "cli")]
mod utterance;
#[cfg(feature = "cli")]
mod valid;

#[cfg(feature = "cli")]
pub use checkpoint::{Checkpoint, State};
#[cfg(feature = "cli")]
pub use collective::{Collective, Ranks, Terms, Wire, in_threads};
#[cfg(feature = "mpi")]
pub use collective::{Job, Mpi};
#[cfg(feature = "cli")]
pub use finetune::Finetune;
#[cfg(feature = "cli")]
pub use kernels::Kernels;
pub use loss_scale::LossScale;
pub use objective::{
    BatchShape, InputData, Inputs, LossGraph, Objective, Results, class_inputs, ctc_inputs, encoder_inputs,
};
pub use parameters::{Group, Kind, ParameterSet};
#[cfg(feature = "cli")]
pub use pretrain::Pretrain;
#[cfg(feature = "cli")]
pub use probe::{ProbeData, Probed, probe};
#[cfg(feature = "cli")]
pub use run::{Outcome, Progress, Run};
pub use schedule::{Rates, Schedule, ScheduleState};
#[cfg(feature = "cli")]
pub use setup::{Request, finetune, finetune_among, pretrain, pretrain_among};
#[cfg(feature = "cli")]
pub use stop::{interrupt, interrupted, stop_flag};
#[cfg(feature = "cli")]
pub use task::{Embedding, Measure, Row, Task, Totals, common_inputs};
pub use trainer::{StepTotals, Trainer, training_plan, update_plan, write_inputs};
#[cfg(feature = "cli")]
pub use utterance::Utterances;
#[cfg(feature = "cli")]
pub use valid::Scored;
