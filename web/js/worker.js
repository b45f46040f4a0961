// The worker behind polymix.js: fetches the model, holds it on the GPU, and serves one call after another.

import init, { Download, Model, lastPanic } from "./polymix_web.js";

/** @type {Model | undefined} */
let model;
/** @type {WebAssembly.Memory | undefined} */
let memory;
/** @type {Map<number, import("./polymix_web.js").Stream>} */
const streams = new Map();

class CodedError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const badModel = (message) => new CodedError("bad-model", message);

/** The response of one of the model's files, or an error that names it. */
async function get(url, name) {
  let response;
  try {
    response = await fetch(new URL(name, url));
  } catch (error) {
    throw badModel(`${name}: cannot be fetched from ${url} (${error.message}); check the address and the network`);
  }
  if (!response.ok) {
    throw badModel(`${name}: ${url} answers ${response.status}; give the address of a folder that holds it`);
  }
  return response;
}

const text = async (url, name) => (await get(url, name)).text();

/** Reads model.safetensors as it comes in; what is not a model is refused at its table. */
async function weights(url, progress) {
  const name = "model.safetensors";
  const response = await get(url, name);
  const download = new Download();
  let loaded = 0;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return download;
      download.push(value);
      loaded += value.byteLength;
      progress({ loaded, total: download.total ?? null });
    }
  } catch (error) {
    download.free();
    reader.cancel().catch(() => {});
    if (error.code || error instanceof WebAssembly.RuntimeError) throw error;
    throw badModel(`${name}: the download broke off (${error.message}); try again`);
  }
}

/** The library; servers that do not know the type of .wasm files will do. */
async function library() {
  const url = new URL("./polymix_web_bg.wasm", import.meta.url);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: the server answers ${response.status}; copy it beside worker.js`);
  const streamed = response.headers.get("Content-Type") === "application/wasm";
  const module = await (streamed
    ? WebAssembly.compileStreaming(response)
    : response.arrayBuffer().then((bytes) => WebAssembly.compile(bytes)));
  return init({ module_or_path: module });
}

/** The adapter's name as far as the browser tells it. */
async function adapterName() {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) return null;
  const { vendor, architecture, device, description } = adapter.info;
  return description || [vendor, architecture, device].filter(Boolean).join(" ") || "unnamed adapter";
}

const NO_WEBGPU =
  "this browser offers no WebGPU adapter; use a recent Chrome, Edge, Safari or Firefox over https or localhost, " +
  "with hardware acceleration switched on";

const encoded = ([name, width, data]) => [name, { data, shape: [data.length / width, width] }];

const calls = {
  async load({ url, warm }, progress) {
    const begun = performance.now();
    const adapter = await adapterName();
    if (!adapter) throw new CodedError("no-webgpu", NO_WEBGPU);
    const loading = library();
    const [wasm, config, preprocessor, vocabulary, download] = await Promise.all([
      loading,
      text(url, "config.json"),
      text(url, "preprocessor_config.json"),
      text(url, "vocab.json"),
      loading.then(() => weights(url, progress)),
    ]);
    memory = wasm.memory;
    const fetched = performance.now();
    model = await Model.open(config, preprocessor, vocabulary, download);
    const fetchMs = fetched - begun;
    // A second of silence needs nearly all of the kernels that clips of other lengths do.
    if (warm) await model.transcribe(new Float32Array(16000), 16000);
    return { ...JSON.parse(model.description), adapter, fetchMs, loadMs: performance.now() - begun };
  },

  async transcribe({ channels, sampleRate }) {
    const begun = performance.now();
    const wave = mixed(channels);
    const heard = JSON.parse(await model.transcribe(wave, sampleRate));
    const ms = performance.now() - begun;
    return { ...heard, ms, rtf: (ms * 1e-3 * sampleRate) / wave.length };
  },

  async encode({ channels, sampleRate }) {
    const tensors = await model.encode(mixed(channels), sampleRate);
    return Object.fromEntries(tensors.map(encoded));
  },

  async features({ channels, sampleRate }) {
    return encoded(["features", ...model.features(mixed(channels), sampleRate)])[1];
  },

  async openStream({ stream, sampleRate, chunkMs }) {
    streams.set(stream, await model.stream(sampleRate, chunkMs));
  },

  async push({ stream, samples }) {
    const heard = await opened(stream).push(samples);
    return heard ? JSON.parse(heard) : null;
  },

  async finish({ stream }) {
    const heard = JSON.parse(await opened(stream).finish());
    await calls.closeStream({ stream });
    return heard;
  },

  async closeStream({ stream }) {
    streams.get(stream)?.free();
    streams.delete(stream);
  },

  async memory() {
    return { gpu: model?.gpuBytes ?? 0, wasm: memory?.buffer.byteLength ?? 0 };
  },

  async dispose() {
    for (const stream of streams.keys()) await calls.closeStream({ stream });
    const gpu = model;
    model = undefined;
    gpu?.free();
  },
};

function opened(stream) {
  const found = streams.get(stream);
  if (!found) throw new CodedError("bad-audio", "the stream has ended; open another");
  return found;
}

/** The mean of the channels. */
function mixed(channels) {
  if (channels.length === 1) return channels[0];
  const wave = new Float32Array(channels[0].length);
  for (const channel of channels) for (let i = 0; i < wave.length; i++) wave[i] += channel[i];
  for (let i = 0; i < wave.length; i++) wave[i] /= channels.length;
  return wave;
}

function described(error) {
  if (error instanceof WebAssembly.RuntimeError) {
    return { code: "failed", broken: true, message: `internal error: ${lastPanic() || error.message}` };
  }
  return { code: error.code ?? "failed", message: error.message };
}

/** What a call was given, to be given again where the device was lost. */
const given = ({ channels }) => (channels ? channels.map((channel) => channel.buffer) : []);

async function serve({ id, call, args }) {
  try {
    const result = await calls[call](args, (progress) => postMessage({ id, progress }));
    postMessage({ id, result });
  } catch (error) {
    postMessage({ id, error: described(error), args }, given(args));
  }
}

let queue = Promise.resolve();
addEventListener("message", ({ data }) => {
  queue = queue.then(() => serve(data));
});
