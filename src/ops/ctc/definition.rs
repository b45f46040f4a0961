//! CTC in f64: the log-space forward-backward recursion over 2·labels + 1 states.

/// log Σ exp(x), −∞ for nothing.
fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let high = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if high == f64::NEG_INFINITY { high } else { high + values.map(|x| (x - high).exp()).sum::<f64>().ln() }
}

/// Row by row log softmax(logits), with `vocab` classes a row.
pub(super) fn log_softmax(logits: &[f64], vocab: usize) -> Vec<f64> {
    let rows = logits.chunks(vocab);
    rows.flat_map(|row| {
        let total = log_sum(row.iter().copied());
        row.iter().map(move |x| x - total)
    })
    .collect()
}

/// −log p(labels | frames) and the posterior of every class in every frame, for log-probabilities
/// `[frames, vocab]`; an infinite loss and zeros where no alignment exists.
pub(super) fn forward_backward(
    log_probs: &[f64],
    vocab: usize,
    labels: &[usize],
    blank: usize,
) -> (f64, Vec<f64>) {
    let frames = log_probs.len() / vocab;
    let mut posterior = vec![0.0; log_probs.len()];
    let exist = labels.iter().all(|&label| label < vocab && label != blank);
    if frames == 0 || !exist {
        return (if labels.is_empty() { 0.0 } else { f64::INFINITY }, posterior);
    }
    let states = 2 * labels.len() + 1;
    let class = |s: usize| if s % 2 == 1 { labels[s / 2] } else { blank };
    // From state s − 2 to s: over the blank between two different labels.
    let skips = |s: usize| s % 2 == 1 && s >= 3 && class(s) != class(s - 2);
    let emission = |t: usize, s: usize| log_probs[t * vocab + class(s)];

    let mut alpha = vec![f64::NEG_INFINITY; frames * states];
    for t in 0..frames {
        for s in 0..states {
            let from = (s.saturating_sub(2)..=s).filter(|&r| r + 1 >= s || skips(s));
            let reached = match t {
                0 if s < 2 => 0.0,
                0 => f64::NEG_INFINITY,
                _ => log_sum(from.map(|r| alpha[(t - 1) * states + r])),
            };
            alpha[t * states + s] = emission(t, s) + reached;
        }
    }
    let ends = states.saturating_sub(2)..states;
    let log_p = log_sum(ends.clone().map(|s| alpha[(frames - 1) * states + s]));
    if log_p == f64::NEG_INFINITY {
        return (f64::INFINITY, posterior);
    }
    let mut beta: Vec<f64> =
        (0..states).map(|s| if ends.contains(&s) { 0.0 } else { f64::NEG_INFINITY }).collect();
    for t in (0..frames).rev() {
        for s in 0..states {
            posterior[t * vocab + class(s)] += (alpha[t * states + s] + beta[s] - log_p).exp();
        }
        if t > 0 {
            beta = (0..states)
                .map(|s| {
                    let to = (s..states.min(s + 3)).filter(|&r| r <= s + 1 || skips(r));
                    log_sum(to.map(|r| beta[r] + emission(t, r)))
                })
                .collect();
        }
    }
    (-log_p, posterior)
}
