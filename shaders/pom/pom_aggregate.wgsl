// pom_aggregate, one column an invocation.
#import shared/grid
#import shared/activation
#import shared/activation_slope
#import shared/columns_1
#import shared/pom_aggregate
