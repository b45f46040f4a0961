//! Training: parameter groups, schedules, one loop for both phases, validation, checkpoints, metrics.

mod card;
mod checkpoint;
mod collective;
mod data;
mod finetune;
mod lock;
mod loss_scale;
pub mod metrics;
mod named;
mod parameters;
mod pretrain;
mod run;
mod schedule;
mod setup;
mod start;
mod stepper;
mod stop;
mod task;
mod valid;

pub use checkpoint::{Checkpoint, State};
pub use collective::{Collective, Ranks, Terms, Wire, in_threads};
#[cfg(feature = "mpi")]
pub use collective::{Job, Mpi};
pub use finetune::Finetune;
pub use loss_scale::LossScale;
pub use parameters::{Group, Kind, ParameterSet};
pub use pretrain::Pretrain;
pub use run::{Outcome, Progress, Run};
pub use schedule::{Rates, Schedule, ScheduleState};
pub use setup::{Request, finetune, finetune_among, pretrain, pretrain_among};
pub use stepper::{StepTotals, Stepper, feed, training_plan, update_plan};
pub use stop::{interrupt, interrupted, stop_flag};
pub use task::{BatchShape, Feed, Feeds, LossGraph, Results, Row, Task, Totals, common_feeds};
pub use valid::Scored;
