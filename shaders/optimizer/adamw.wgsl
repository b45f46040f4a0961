// One step of AdamW in place; one invocation takes four neighbors. Nothing changes where stats.nonfinite is set.
//   g = scale·gradient,  m ← β1·m + (1−β1)·g,  v ← β2·v + (1−β2)·g²
//   p ← p − lr·decay·p − lr·(m / correction1) / (√(v / correction2) + ε)
//! workgroup map; takes 4 an invocation
#import shared/grid

struct Params {
    elements: u32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> p: array<vec4<f32>>;    // [elements / 4]
@group(0) @binding(2) var<storage, read> gradient: array<vec4<f32>>;   // [elements / 4]
@group(0) @binding(3) var<storage, read_write> m: array<vec4<f32>>;    // [elements / 4]
@group(0) @binding(4) var<storage, read_write> v: array<vec4<f32>>;    // [elements / 4]
@group(0) @binding(5) var<storage, read> stats: array<f32>;            // [3]: norm, scale, nonfinite
@group(0) @binding(6) var<storage, read> hyper: array<f32>;            // [4]: lr, decay, correction1, correction2

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let left = i32(params.elements) - i32(i * 4u);
    if left <= 0 || stats[2] != 0.0 {
        return;
    }
    let lr = hyper[0];
    let g = stats[1] * gradient[i];
    let m_new = params.beta1 * m[i] + params.rest1 * g;
    let v_new = params.beta2 * v[i] + params.rest2 * g * g;
    let step = (m_new / hyper[2]) / (sqrt(v_new / hyper[3]) + params.eps);
    let old = p[i];
    let p_new = old - lr * hyper[1] * old - lr * step;
    if left >= 4 {
        p[i] = p_new;
        m[i] = m_new;
        v[i] = v_new;
        return;
    }
    for (var c = 0; c < left; c++) {
        p[i][c] = p_new[c];
        m[i][c] = m_new[c];
        v[i][c] = v_new[c];
    }
}
