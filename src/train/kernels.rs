//! The kernels that a run keeps, whatever is measured later: others would compute other bits.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::checkpoint::State;
use super::collective::Ranks;
use crate::error::Result;
use crate::gpu::{Gpu, Preferred};

/// The kernels that a run prefers to those of the static rules, by [`Gpu::identity`].
pub type Kernels = BTreeMap<String, Preferred>;

/// The device with the kernels that the run keeps, and all of these: those of its checkpoint, which the rank that leads has;
/// on adapters that the checkpoint does not know, what was found out about them, by the first rank of each.
///
/// # Errors
/// When a rank failed or is silent.
pub(super) fn kept(ranks: &Ranks, gpu: Arc<Gpu>, checkpoint: Option<&State>) -> Result<(Arc<Gpu>, Kernels)> {
    let (identity, found) = (gpu.identity(), gpu.capabilities().preferred.clone());
    let (mut kernels, resumed) = ranks.lead(|_| {
        Ok((checkpoint.map(|state| state.kernels.clone()).unwrap_or_default(), checkpoint.is_some()))
    })?;
    // A run of an earlier version began with the rules' own.
    let by_rules = resumed && kernels.is_empty();
    let known = by_rules || kernels.contains_key(&identity);
    for (identity, found) in ranks.all((identity.clone(), found.clone()))? {
        kernels.entry(identity).or_insert(if by_rules { Preferred::new() } else { found });
    }
    let kept = &kernels[&identity];
    if *kept == found {
        return Ok((gpu, kernels));
    }
    if known {
        tracing::warn!(
            "the run keeps the kernels that it began with on this adapter ({}), not those that were measured since ({})",
            in_words(kept),
            in_words(&found)
        );
    }
    let gpu = Arc::new(gpu.preferring(kept.clone()));
    Ok((gpu, kernels))
}

fn in_words(preferred: &Preferred) -> String {
    let all: Vec<String> = preferred.iter().map(|(class, kernel)| format!("{kernel} for {class}")).collect();
    if all.is_empty() { "the rules' own".to_owned() } else { all.join(", ") }
}
