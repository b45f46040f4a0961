// pom_select_backward, one column an invocation.
#import shared/grid
#import shared/activation
#import shared/columns_1
#import shared/pom_select_backward
