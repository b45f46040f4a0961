// Normalizes every row; one workgroup a row.
//   y = (x − mean)·rstd ∘ weight + bias,  rstd = 1/√(variance + eps)
#import shared/grid
#import shared/row
#import shared/element_vec4
#import shared/layer_norm
