// Puts rows at distinct places; one invocation an element.
//   y[index[m]] = x[m]
#import shared/grid
#import shared/scatter_rows

// The bits of numbers of any type.
alias Word = u32;
