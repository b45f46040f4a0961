// Gradients of layer normalization with respect to weight and bias, summed over chunks of rows;
// one invocation an element of one chunk.
//   dweight = Σ dy ∘ (x − mean)·rstd,  dbias = Σ dy
#import shared/grid
#import shared/element_vec4
#import shared/layer_norm_backward_weight
