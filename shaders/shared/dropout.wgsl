// Which of the elements 4·group … 4·group + 3 dropout keeps: those whose 16-bit half of philox is below the threshold.
fn kept(group: u32, key: u32, threshold: u32) -> vec4<bool> {
    let words = philox(vec2<u32>(group, 0u), key);
    let draws = vec4<u32>(words.x & 0xFFFFu, words.x >> 16u, words.y & 0xFFFFu, words.y >> 16u);
    return draws < vec4<u32>(threshold);
}
