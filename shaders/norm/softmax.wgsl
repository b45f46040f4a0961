// Softmax of every row or its logarithm; one workgroup a row.
//   y = exp(x − max x) / Σ exp(x − max x)
#import shared/grid
#import shared/row
#import shared/element_vec4
#import shared/softmax
