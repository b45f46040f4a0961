//! The attention and its gradient as defined: with the matrix of weights, in f64.

use ndarray::{Array2, Axis, s};

use super::scaled_dot_product::{Attention, Positions, Sizes};
use crate::ops::Array;

/// The operands and what each head makes of them.
pub(super) struct Definition<'a> {
    op: &'a Attention,
    sizes: Sizes,
    inputs: &'a [&'a Array],
}

/// One head of one utterance: rows of frames.
struct Head {
    /// Queries for the keys: rotated, or with u.
    q: Array2<f64>,
    /// Queries for the positions: with v.
    q_position: Array2<f64>,
    k: Array2<f64>,
    v: Array2<f64>,
    /// p, [time, d_h].
    p: Option<Array2<f64>>,
    length: usize,
}

impl<'a> Definition<'a> {
    pub fn new(op: &'a Attention, inputs: &'a [&'a Array]) -> Self {
        Self { op, sizes: op.sizes(inputs[0].shape()), inputs }
    }

    /// Columns of the queries (part 0), keys or values of a head.
    fn columns(&self, head: usize, part: usize) -> std::ops::Range<usize> {
        let [head_stride, part_stride] = self.op.strides(&self.sizes);
        let first = head * head_stride + part * part_stride;
        first..first + self.sizes.head_dim
    }

    /// R_t x_t for all frames, or its inverse.
    fn rotated(&self, x: &Array2<f64>, inverse: bool) -> Array2<f64> {
        if self.op.positions != Positions::Rotary {
            return x.clone();
        }
        let table = self.inputs[2];
        Array2::from_shape_fn(x.raw_dim(), |(t, c)| {
            let pair = c / 2 * 2;
            let (sine, cosine) = (table[[t, pair]], table[[t, pair + 1]]);
            let sine = if inverse { -sine } else { sine };
            match c % 2 {
                0 => x[[t, pair]] * cosine - x[[t, pair + 1]] * sine,
                _ => x[[t, pair + 1]] * cosine + x[[t, pair]] * sine,
            }
        })
    }

    fn head(&self, utterance: usize, head: usize) -> Head {
        let part = |part| {
            let columns = self.columns(head, part);
            self.inputs[0].slice(s![utterance, .., columns]).to_owned()
        };
        let (q, k, v) = (part(0), part(1), part(2));
        let length = (self.inputs[1][[utterance]] as usize).min(self.sizes.time);
        if self.op.positions == Positions::Relative {
            let (own, bias) = (head * self.sizes.head_dim, self.inputs[3]);
            let p = self.inputs[2].slice(s![.., own..own + self.sizes.head_dim]).to_owned();
            let with = |which: usize| &q + &bias.slice(s![which, head, ..]);
            return Head { q: with(0), q_position: with(1), k, v, p: Some(p), length };
        }
        let q_position = Array2::zeros((0, 0));
        Head { q: self.rotated(&q, false), q_position, k: self.rotated(&k, false), v, p: None, length }
    }

    /// score_ij of all frames.
    fn scores(&self, head: &Head) -> Array2<f64> {
        let mut scores = head.q.dot(&head.k.t());
        if let Some(p) = &head.p {
            let positions = head.q_position.dot(&p.t());
            scores.indexed_iter_mut().for_each(|((i, j), score)| *score += positions[[i, i.abs_diff(j)]]);
        }
        scores * f64::from(self.op.scale)
    }

    fn heads(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let heads = self.sizes.heads;
        (0..self.sizes.batch * heads).map(move |i| (i / heads, i % heads))
    }

    /// y and the log-sum-exp of the scores.
    pub fn forward(&self) -> Vec<Array> {
        let Sizes { batch, time, heads, head_dim } = self.sizes;
        let mut y = Array::zeros(vec![batch, time, self.sizes.width()]);
        let mut lse = Array::zeros(vec![batch, heads, time]);
        for (b, h) in self.heads() {
            let head = self.head(b, h);
            if head.length == 0 {
                continue;
            }
            let scores = self.scores(&head);
            for i in 0..time {
                let row = scores.slice(s![i, ..head.length]);
                let high = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum = row.mapv(|score| (score - high).exp()).sum();
                lse[[b, h, i]] = high + sum.ln();
                let weights = row.mapv(|score| (score - lse[[b, h, i]]).exp());
                let own = weights.dot(&head.v.slice(s![..head.length, ..]));
                y.slice_mut(s![b, i, h * head_dim..(h + 1) * head_dim]).assign(&own);
            }
        }
        vec![y, lse]
    }

    /// Gradients of the projection, of p and of the biases.
    pub fn backward(&self, lse: &Array, y: &Array, dy: &Array) -> Vec<Array> {
        let Sizes { time, heads, head_dim, .. } = self.sizes;
        let scale = f64::from(self.op.scale);
        let mut projection = Array::zeros(self.inputs[0].raw_dim());
        let mut positions = Array2::zeros((time, self.sizes.width()));
        let mut biases = Array::zeros(vec![2, heads, head_dim]);
        for (b, h) in self.heads() {
            let head = self.head(b, h);
            let own = h * head_dim..(h + 1) * head_dim;
            let [y, dy] = [y, dy].map(|x| x.slice(s![b, .., own.clone()]));
            let mut weights = self.scores(&head);
            weights.indexed_iter_mut().for_each(|((i, j), w)| {
                *w = if j < head.length { (*w - lse[[b, h, i]]).exp() } else { 0.0 };
            });
            let along = (&y * &dy).sum_axis(Axis(1)).insert_axis(Axis(1));
            let dscores = &weights * &(dy.dot(&head.v.t()) - along) * scale;
            let mut dq = dscores.dot(&head.k);
            let dk = dscores.t().dot(&head.q);
            biases.slice_mut(s![0, h, ..]).scaled_add(1.0, &dq.sum_axis(Axis(0)));
            if let Some(p) = &head.p {
                // Gradients of scores by query and distance.
                let mut skewed = Array2::<f64>::zeros((time, time));
                dscores.indexed_iter().for_each(|((i, j), dscore)| skewed[[i, i.abs_diff(j)]] += dscore);
                let of_positions = skewed.dot(p);
                biases.slice_mut(s![1, h, ..]).scaled_add(1.0, &of_positions.sum_axis(Axis(0)));
                dq += &of_positions;
                let dp = skewed.t().dot(&head.q_position);
                positions.slice_mut(s![.., own]).scaled_add(1.0, &dp);
            }
            let dv = weights.t().dot(&dy);
            for (part, gradient) in [self.rotated(&dq, true), self.rotated(&dk, true), dv].iter().enumerate()
            {
                projection.slice_mut(s![b, .., self.columns(h, part)]).assign(gradient);
            }
        }
        match self.op.positions {
            Positions::Relative => vec![projection, positions.into_dyn(), biases],
            _ => vec![projection],
        }
    }
}
