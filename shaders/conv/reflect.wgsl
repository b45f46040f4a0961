// The position behind `i` of an axis of `size` elements, padded by its mirror image; −size < i < 2·size − 1.
fn reflect(i: i32, size: i32) -> i32 {
    let a = abs(i);
    return select(a, 2 * (size - 1) - a, a >= size);
}
