// Four elements of A and of B where they are bound as such.
fn load_a(i: u32) -> vec4<f32> {
    return taken(a[i]);
}

fn load_b(i: u32) -> vec4<f32> {
    return taken(b[i]);
}
