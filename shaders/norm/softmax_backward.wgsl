// Gradient of softmax and of its logarithm; one workgroup a row.
//   dx = y ∘ (dy − Σ y ∘ dy)   or, of the logarithm,   dx = dy − exp(y)·Σ dy
#import shared/grid
#import shared/row
#import shared/element_vec4
#import shared/softmax_backward
