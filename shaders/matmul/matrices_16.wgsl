// Cooperative matrices of 16×16 and slices of the operands that they are loaded from.
const SIZE: u32 = 16u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;

// A slice of each operand, four to an element.
var<workgroup> slice_a: array<vec4<f16>, SLICE>;
var<workgroup> slice_b: array<vec4<f16>, SLICE>;

fn put_a(at: u32, x: vec4<f16>) {
    slice_a[at] = x;
}

fn put_b(at: u32, x: vec4<f16>) {
    slice_b[at] = x;
}

fn left_by_rows(at: u32) -> Left {
    return coopLoadT<Left>(&slice_a[at], ALONG_K);
}

fn left_by_columns(at: u32) -> Left {
    return coopLoad<Left>(&slice_a[at], ACROSS_K);
}

fn right_by_rows(at: u32) -> Right {
    return coopLoadT<Right>(&slice_b[at], ACROSS_K);
}

fn right_by_columns(at: u32) -> Right {
    return coopLoad<Right>(&slice_b[at], ALONG_K);
}
