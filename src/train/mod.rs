//! Training: parameter groups, schedules, one loop for both phases, validation, checkpoints, metrics.

mod checkpoint;
mod finetune;
mod loss_scale;
pub mod metrics;
mod parameters;
mod pretrain;
mod run;
mod schedule;
mod setup;
mod stepper;
mod task;

pub use checkpoint::{Checkpoint, State};
pub use finetune::Finetune;
pub use loss_scale::LossScale;
pub use parameters::{Group, Kind, ParameterSet};
pub use pretrain::Pretrain;
pub use run::{Outcome, Progress, Run, interrupt, interrupted};
pub use schedule::{Rates, Schedule, ScheduleState};
pub use setup::{Request, finetune, pretrain};
pub use stepper::{StepTotals, Stepper, feed, training_plan, update_plan};
pub use task::{BatchShape, Feed, Feeds, LossGraph, Results, Task, Totals, common_feeds};
