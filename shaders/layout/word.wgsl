// What an invocation copies: the bits of LANES numbers of any type.
#if vec4
alias Word = vec4<u32>;
const LANES: u32 = 4u;
#else
alias Word = u32;
const LANES: u32 = 1u;
#endif
