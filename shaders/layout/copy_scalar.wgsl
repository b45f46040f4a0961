// Copies a box of up to four axes between two strided places; one invocation an element.
//   y[y_first + Σ i_a·y_a] = x[x_first + Σ i_a·x_a]
#import shared/grid
#import shared/copy

// The bits of numbers of any type.
alias Word = u32;
