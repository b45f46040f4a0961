// Cooperative matrices of 8×8 and slices of the operands that they are loaded from.
const SIZE: u32 = 8u;
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;
const ELEMENTS_OF_SLICE: u32 = 4u * SLICE;

// A slice of each operand, as scalars, the pointers that Metal loads matrices by.
var<workgroup> slice_a: array<f16, ELEMENTS_OF_SLICE>;
var<workgroup> slice_b: array<f16, ELEMENTS_OF_SLICE>;

fn put_a(at: u32, x: vec4<f16>) {
    slice_a[4u * at] = x.x;
    slice_a[4u * at + 1u] = x.y;
    slice_a[4u * at + 2u] = x.z;
    slice_a[4u * at + 3u] = x.w;
}

fn put_b(at: u32, x: vec4<f16>) {
    slice_b[4u * at] = x.x;
    slice_b[4u * at + 1u] = x.y;
    slice_b[4u * at + 2u] = x.z;
    slice_b[4u * at + 3u] = x.w;
}

fn left_by_rows(at: u32) -> Left {
    return coopLoadT<Left>(&slice_a[4u * at], 4u * ALONG_K);
}

fn left_by_columns(at: u32) -> Left {
    return coopLoad<Left>(&slice_a[4u * at], 4u * ACROSS_K);
}

fn right_by_rows(at: u32) -> Right {
    return coopLoadT<Right>(&slice_b[4u * at], 4u * ACROSS_K);
}

fn right_by_columns(at: u32) -> Right {
    return coopLoad<Right>(&slice_b[4u * at], 4u * ALONG_K);
}
