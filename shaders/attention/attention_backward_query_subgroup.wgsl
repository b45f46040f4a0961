// Gradient of attention with respect to the queries.
//   dq_i = scale · R_iᵀ Σ_j dscore_ij · (R_j k_j + p_{|i − j|})
// For adapters with subgroups of exactly 8.
#import shared/grid
#import shared/attention_pairs
#import shared/attention_broadcast
#import shared/attention
#import shared/attention_backward
#import shared/attention_backward_query
