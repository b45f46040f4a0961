// Gradient of layer normalization with respect to its rows; one workgroup a row.
//   dx = rstd·(g − mean(g) − x̂·mean(g ∘ x̂)),  g = dy ∘ weight,  x̂ = (x − mean)·rstd
#import shared/grid
#import shared/row
#import shared/element_vec4
#import shared/layer_norm_backward
