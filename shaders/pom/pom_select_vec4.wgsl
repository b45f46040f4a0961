// pom_select, four columns an invocation.
#import shared/grid
#import shared/activation
#import shared/activation_slope
#import shared/columns_4
#import shared/pom_select
