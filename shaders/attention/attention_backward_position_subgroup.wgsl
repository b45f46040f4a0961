// Gradient of attention with respect to the table of positions, and what the bias v needs of it; the rows of the
// tiles are distances, an utterance's gradient is by itself.
//   dp_n = Σ_{|i − j| = n} dscore_ij · scale · (q_i + v),  sums_n = Σ_{|i − j| = n} dscore_ij
// For adapters with subgroups of exactly 8.
#import shared/grid
#import shared/attention_pairs
#import shared/attention_broadcast
#import shared/attention
#import shared/attention_backward
#import shared/attention_backward_position
