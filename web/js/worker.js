// The worker behind polymix.js: fetches the model, holds it on the GPU, and serves one call after another.

import { joined, receive } from "./receive.js";
import init, { Download, Lm, Model, Resources, lastPanic } from "./polymix_web.js";

/** @type {Model | undefined} */
let model;
/** The model's folder, and how long a download may stand still. */
let source = null;
/** Language models by their addresses, and decoders by what was asked for; of each the last few are kept. */
const MOST_KEPT = 4;
const languageModels = new Map();
const decoders = new Map();
/** @type {WebAssembly.Memory | undefined} */
let memory;
/** Whether the page wants no more. */
let disposed = false;
/** @type {Map<number, import("./polymix_web.js").Stream>} */
const streams = new Map();

class CodedError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const badModel = (message) => new CodedError("bad-model", message);

/** A file of the model's folder, whose query goes with each. */
function fileOf(folder, name) {
  const address = new URL(name, folder);
  address.search = new URL(folder).search;
  return address;
}

async function text(folder, name, stallMs) {
  const pieces = [];
  const take = (piece) => pieces.push(piece);
  await receive(fileOf(folder, name), { kind: "json", stallMs, failed: badModel, take });
  return new TextDecoder().decode(joined(pieces));
}

/** Reads model.safetensors as it comes in; what is not a model is refused at its table. */
async function weights(folder, stallMs, progress) {
  const download = new Download();
  let loaded = 0;
  const take = (piece) => {
    download.push(piece);
    loaded += piece.byteLength;
    progress({ loaded, total: download.total ?? null });
  };
  try {
    await receive(fileOf(folder, "model.safetensors"), { kind: "binary", stallMs, failed: badModel, take });
    return download;
  } catch (error) {
    download.free();
    throw error;
  }
}

/** What `make` gives, kept under `key`; what was not used for longest is freed. */
async function kept(map, key, make) {
  const found = map.get(key) ?? (await make());
  map.delete(key);
  map.set(key, found);
  if (map.size > MOST_KEPT) {
    const [oldest, last] = map.entries().next().value;
    map.delete(oldest);
    last.free();
  }
  return found;
}

async function languageModel(address, progress) {
  const pieces = [];
  let [loaded, total] = [0, null];
  const opened = ({ headers }) => {
    const length = headers.get("Content-Encoding") ? NaN : Number(headers.get("Content-Length") ?? NaN);
    total = Number.isFinite(length) ? length : null;
  };
  const take = (piece) => {
    pieces.push(piece);
    loaded += piece.byteLength;
    progress({ loaded, total });
  };
  const url = new URL(address);
  await receive(url, { kind: "lm", stallMs: source.stallMs, failed: badModel, take, opened });
  const name = url.pathname.split("/").pop();
  let bytes = joined(pieces);
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    try {
      const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      bytes = new Uint8Array(await new Response(unpacked).arrayBuffer());
    } catch (error) {
      throw badModel(`${name}: cannot be unpacked (${error.message}); upload the file again`);
    }
  }
  return Lm.read(bytes, name);
}

/** The folder's decoder.json, whose language model lies beside it. */
async function decoderOfModel({ stallMs }) {
  const json = await text(source.url, "decoder.json", stallMs);
  let found;
  try {
    found = { ...JSON.parse(json) };
  } catch (error) {
    throw badModel(`decoder.json: is no JSON (${error.message}); upload the file again`);
  }
  const { lm, ...settings } = found;
  return { settings: JSON.stringify(settings), lm: lm && fileOf(source.url, lm).href, nBest: 1 };
}

/** Lets the model decode as `asked`; greedily where nothing is. */
async function decodeWith(asked, progress) {
  const given = asked ?? { settings: "{}", nBest: 1 };
  const decoder = await kept(decoders, JSON.stringify(given), async () => {
    const { settings, lm, words, hotWords, nBest } = given.model ? await decoderOfModel(source) : given;
    const resources = new Resources();
    try {
      if (lm) resources.setLm(await kept(languageModels, lm, () => languageModel(lm, progress)));
      if (words !== undefined) resources.setWords(words);
      if (hotWords !== undefined) resources.setHotWords(hotWords, JSON.parse(settings).hot_word_weight ?? 10);
      return model.decoder(settings, resources, nBest);
    } finally {
      resources.free();
    }
  });
  model.useDecoder(decoder);
}

/** The library; servers that do not know the type of .wasm files will do. */
async function library(stallMs) {
  const failed = (message) => new CodedError("failed", message);
  const pieces = [];
  let streamed = null;
  const opened = (response) => {
    if (response.headers.get("Content-Type") !== "application/wasm") return;
    streamed = WebAssembly.compileStreaming(response.clone());
    // Told by what is read beside it.
    streamed.catch(() => {});
  };
  const url = new URL("./polymix_web_bg.wasm", import.meta.url);
  await receive(url, { kind: "binary", stallMs, failed, take: (piece) => pieces.push(piece), opened });
  try {
    return await init({ module_or_path: await (streamed ?? WebAssembly.compile(joined(pieces))) });
  } catch (error) {
    throw failed(`${url} is not polymix's library (${error.message}); copy it beside worker.js again`);
  }
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
  async load({ url, warm, stallMs }, progress) {
    const begun = performance.now();
    const adapter = await adapterName();
    if (!adapter) throw new CodedError("no-webgpu", NO_WEBGPU);
    watchDevice();
    const loading = library(stallMs);
    const [wasm, config, preprocessor, vocabulary, download] = await Promise.all([
      loading,
      text(url, "config.json", stallMs),
      text(url, "preprocessor_config.json", stallMs),
      text(url, "vocab.json", stallMs),
      loading.then(() => weights(url, stallMs, progress)),
    ]);
    memory = wasm.memory;
    source = { url, stallMs };
    const fetched = performance.now();
    model = await Model.open(config, preprocessor, vocabulary, download);
    const fetchMs = fetched - begun;
    // A second of silence needs nearly all of the kernels that clips of other lengths do.
    if (warm) await model.transcribe(new Float32Array(16000), 16000);
    return { ...JSON.parse(model.description), adapter, fetchMs, loadMs: performance.now() - begun };
  },

  async transcribe({ channels, sampleRate, channel, decoder }, progress) {
    await decodeWith(decoder, progress);
    const begun = performance.now();
    const mono = heardOf(channels, channel);
    const heard = JSON.parse(await model.transcribe(mono.samples, sampleRate));
    const ms = performance.now() - begun;
    return { ...heard, channel: mono.channel, ms, rtf: (ms * 1e-3 * sampleRate) / mono.samples.length };
  },

  async encode({ channels, sampleRate, channel }) {
    const tensors = await model.encode(heardOf(channels, channel).samples, sampleRate);
    return Object.fromEntries(tensors.map(encoded));
  },

  async features({ channels, sampleRate, channel }) {
    return encoded(["features", ...model.features(heardOf(channels, channel).samples, sampleRate)])[1];
  },

  async mono({ channels, sampleRate, channel }) {
    return { ...heardOf(channels, channel), sampleRate };
  },

  async openStream({ stream, sampleRate, chunkMs, decoder }, progress) {
    await decodeWith(decoder, progress);
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
    disposed = true;
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

/**
 * What is heard of several channels: the one that is asked for, else their mean; where they cancel each other out, as
 * with one of them inverted, the loudest.
 */
function heardOf(channels, channel) {
  if (channel !== "mix") return { samples: channels[channel - 1], channel };
  if (channels.length === 1) return { samples: channels[0], channel };
  const samples = new Float32Array(channels[0].length);
  for (const channel of channels) for (let i = 0; i < samples.length; i++) samples[i] += channel[i];
  for (let i = 0; i < samples.length; i++) samples[i] /= channels.length;
  const energies = channels.map(energy);
  // The mean of channels that know nothing of each other has the energy of all over the square of their number.
  const independent = energies.reduce((sum, x) => sum + x, 0) / channels.length ** 2;
  if (!(energy(samples) < CANCELLED * independent)) return { samples, channel };
  const loudest = energies.indexOf(Math.max(...energies));
  return { samples: channels[loudest], channel: loudest + 1 };
}

/** What share of that energy is left where channels count as inverted. */
const CANCELLED = 0.05;

function energy(samples) {
  let sum = 0;
  for (let i = 0; i < samples.length; i++) sum += samples[i] * samples[i];
  return sum;
}

/** Tells the page at once when the device that the library opens is lost, and not only with the next call. */
function watchDevice() {
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (...options) {
    const device = await requestDevice.apply(this, options);
    device.lost.then(({ message }) => {
      if (disposed) return;
      postMessage({ lost: `the GPU's device was lost (${message || "no reason given"}); try again` });
    });
    return device;
  };
}

function described(error) {
  if (error instanceof WebAssembly.RuntimeError) {
    return { code: "failed", broken: true, message: `internal error: ${lastPanic() || error.message}; try again` };
  }
  // A DOMException's code is a number.
  const code = typeof error?.code === "string" ? error.code : "failed";
  return { code, message: error?.message ?? String(error) };
}

async function serve({ id, call, args }) {
  if (!queued.delete(id)) return;
  try {
    const result = await calls[call](args, (progress) => postMessage({ id, progress }));
    postMessage({ id, result });
  } catch (error) {
    postMessage({ id, error: described(error) });
  }
}

/** Calls that are not begun, and may still be cancelled. */
const queued = new Set();
let queue = Promise.resolve();
addEventListener("message", ({ data }) => {
  if ("cancel" in data) return queued.delete(data.cancel);
  queued.add(data.id);
  queue = queue.then(() => serve(data));
});
postMessage({ started: true });
