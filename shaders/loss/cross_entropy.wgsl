// Cross-entropy, hit and log-sum-exp of every row that counts, zeros for the others; one workgroup a row.
//   loss = log Σ exp(logits) − logits[target],  hit = (argmax logits = target)
#import shared/grid
#import shared/row
#import shared/row_best
#import shared/element_vec4
#import shared/cross_entropy
