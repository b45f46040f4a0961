// Gradient of softmax and of its logarithm; one workgroup a row.
//   dx = y ∘ (dy − Σ y ∘ dy)   or, of the logarithm,   dx = dy − exp(y)·Σ dy
#import shared/grid
#import shared/row
#import shared/element_scalar
#import shared/softmax_backward
