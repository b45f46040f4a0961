// Gradient of attention with respect to the queries.
//   dq_i = scale · R_iᵀ Σ_j dscore_ij · (R_j k_j + p_{|i − j|})
#import shared/grid
#import shared/attention_vec4
#import shared/attention_own
#import shared/attention
#import shared/attention_backward
#import shared/attention_backward_query
