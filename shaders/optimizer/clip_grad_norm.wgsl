// The factor that gradients are multiplied by so that their norm is at most `clip`; one invocation.
//   norm = gradient_scale·√(Σ sums),  scale = gradient_scale·min(1, clip / (norm + 1e-6)), both 0 where the norm is not finite
//! workgroup 1

struct Params {
    count: u32,
    clip: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;           // [count]
@group(0) @binding(2) var<storage, read> gradient_scale: array<f32>; // [1]
@group(0) @binding(3) var<storage, read_write> stats: array<f32>;    // [3]

const EXPONENT: u32 = 0x7f800000u;

// On the bits: compilers may assume that comparisons meet no NaN.
fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & EXPONENT) != EXPONENT;
}

@compute @workgroup_size(1)
fn main() {
    var total = 0.0;
    var finite = true;
    for (var i = 0u; i < params.count; i++) {
        total += sums[i];
        finite = finite && is_finite(sums[i]);
    }
    let norm = gradient_scale[0] * sqrt(total);
    finite = finite && is_finite(total) && is_finite(norm);
    var scale = gradient_scale[0];
    if params.clip > 0.0 {
        scale *= min(1.0, params.clip / (norm + 1e-6));
    }
    stats[0] = select(0.0, norm, finite);
    stats[1] = select(0.0, scale, finite);
    stats[2] = select(1.0, 0.0, finite);
}
