struct Params {
    m: u32,
    n: u32,
    k: u32,
    batch: u32,
    batch_stride_a: u32, // elements; 0 repeats one matrix
    batch_stride_b: u32,
    batch_stride_c: u32,
    alpha: f32,
}

override TRANSPOSE_A: bool = false; // A is stored [k, m]
override TRANSPOSE_B: bool = false; // B is stored [n, k]
override HAS_BIAS: bool = false;
