// Attention, softmax included, without the matrix of weights: y_i = Σ_j softmax_j(score_ij) · v_j over the keys
// j < lengths[b], 0 where there is none, and lse_i = log Σ_j exp(score_ij). The largest score and the sum of
// the weights are carried along the keys (online softmax); y is rescaled where the largest score rises.
// Grid: a workgroup a tile, folded over x and y.
//! variant subgroup: needs subgroup = 8, int64, head_dim % 4; prefers cpu; workgroup 8
//! variant vec4: needs head_dim % 4; workgroup row at most 32
//! variant scalar: workgroup 8
#import shared/grid
#import attention/columns
#import attention/lanes
#import attention/blocks
#import shared/neg_inf

@group(0) @binding(5) var<storage, read_write> lse: array<f32>; // [batch, heads, time]
@group(0) @binding(6) var<storage, read_write> result: array<Element>; // y [batches, time, heads, head_dim]

#if subgroup
#import attention/forward_subgroup
#else
#import attention/forward
#endif
