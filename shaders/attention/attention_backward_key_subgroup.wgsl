// Gradient of attention with respect to the keys or the values, and what the bias u needs of it.
//   dk_j = R_jᵀ Σ_i dscore_ij · scale · (R_i q_i + u),  sums_j = Σ_i dscore_ij
//   VALUES: dv_j = Σ_i weight_ij · dy_i
// For adapters with subgroups of exactly 8.
#import shared/grid
#import shared/attention_pairs
#import shared/attention_broadcast
#import shared/attention
#import shared/attention_backward
#import shared/attention_backward_key
