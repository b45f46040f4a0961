// What the kernels over chunks of frames share: their parameters, and which columns of a chunk an invocation has.
struct Params {
    first: u32,
    batches: u32,
    time: u32,
    columns: u32,
    chunk: u32,
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

struct Chunk {
    batch: u32,  // from `first` on
    chunk: u32,
    column: u32, // of Columns
    begin: u32,  // frames
    end: u32,
}

// Of invocation `i`, where a row is `columns` wide. There are none behind params.batches.
fn chunk_at(i: u32, columns: u32) -> Chunk {
    let block = i / columns;
    let batch = block / params.chunks;
    let chunk = block - batch * params.chunks;
    let begin = chunk * params.chunk;
    return Chunk(batch, chunk, i - block * columns, begin, min(begin + params.chunk, params.time));
}
