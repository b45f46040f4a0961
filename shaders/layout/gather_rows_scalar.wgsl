// Picks rows; one invocation an element.
//   y[m] = x[index[m]], 0 where there is no such row
#import shared/grid
#import shared/gather_rows

// The bits of numbers of any type.
alias Word = u32;
