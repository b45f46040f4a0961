// Gradient of the mean cross-entropy; one workgroup a row.
//   dlogits = (exp(logits − logsumexp) − onehot(target))·dloss / min(count, all)
#import shared/grid
#import shared/element_vec4
#import shared/cross_entropy_backward
