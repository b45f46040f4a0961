// The best class of every row and its softmax probability; one workgroup a row.
//   id = argmax x, the lowest on ties,  probability = 1 / Σ exp(x − max x)
#import shared/grid
#import shared/row
#import shared/row_best
#import shared/element_vec4
#import shared/argmax
