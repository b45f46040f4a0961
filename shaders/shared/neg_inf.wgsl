// Below every score: the lowest f32, since WGSL has no infinities.
const NEG_INF: f32 = -3.4028234e38;
