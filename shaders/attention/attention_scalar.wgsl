// Attention, softmax included, without the matrix of weights: y_i = Σ_j softmax_j(score_ij) · v_j over the keys
// j < lengths[b], 0 where there is none, and statistics_i = log Σ_j exp(score_ij). The largest score and the sum of
// the weights are carried along the keys (online softmax); y is rescaled where the largest score rises.
// For heads of any number of columns.
#import shared/grid
#import shared/attention_scalar
#import shared/attention_own
#import shared/attention
#import shared/attention_forward
