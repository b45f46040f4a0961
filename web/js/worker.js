// The worker behind polymix.js: fetches the model, holds it on the GPU, and serves one call after another.

import { monoOf } from "./channels.js";
import init, { Download, Lm, Model, Resources, lastPanic } from "./polymix_web.js";
import { joined, receive } from "./receive.js";
import { CodedError, serve, watchDevices } from "./serve.js";
import { addressOf, badModel, library, modelFiles, text } from "./source.js";

/** @type {Model | import("./polymix_train.js").Classes | undefined} */
let model;
/** Where the model is from, and the library that runs it. */
let source = null;
let used = null;
/** Libraries by whether their models tell classes apart, each fetched once. */
const libraries = new Map();
/** Language models by their addresses, and decoders by what was asked for; of each the last few are kept. */
const MOST_KEPT = 4;
const languageModels = new Map();
const decoders = new Map();
/** Whether the page has canceled it. */
let disposed = false;
/** @type {Map<number, import("./polymix_web.js").Stream>} */
const streams = new Map();

async function recognizing(stallMs) {
  const { memory } = await library(new URL("./polymix_web_bg.wasm", import.meta.url), init, stallMs);
  return { Download, Model, memory, lastPanic };
}

async function classifying(stallMs) {
  const { default: init, Download, Classes, lastPanic } = await import("./polymix_train.js");
  const { memory } = await library(new URL("./polymix_train_bg.wasm", import.meta.url), init, stallMs);
  return { Download, Model: Classes, memory, lastPanic };
}

/** `{ Download, Model, memory, lastPanic }` of the library of such models; a page that only recognizes text never fetches the other. */
function libraryFor(classes, stallMs) {
  if (!libraries.has(classes)) {
    const loading = classes ? classifying(stallMs) : recognizing(stallMs);
    libraries.set(classes, loading);
    loading.catch(() => libraries.delete(classes));
  }
  return libraries.get(classes);
}

/** The model, where it can do `call`. */
function able(call) {
  if (typeof model[call] === "function") return model;
  const other = model.classify ? "tells classes apart; call classify" : "writes text; call transcribe";
  throw badModel(`the model cannot do that: it ${other}`);
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

/** The model's decoder.json, whose language model lies beside it in the folder. */
async function decoderOfModel() {
  const json = await text(source, "decoder.json");
  let found;
  try {
    found = { ...JSON.parse(json) };
  } catch (error) {
    throw badModel(`decoder.json: is no JSON (${error.message}); upload the file again`);
  }
  const { lm, ...settings } = found;
  const address = lm && addressOf(source, lm)?.href;
  if (lm && !address) throw badModel(`decoder.json: ${lm} lies in a folder, and this model has none; give the lm's address`);
  return { settings: JSON.stringify(settings), lm: address, nBest: 1 };
}

/** Lets the model decode as `asked`; greedily where nothing is. */
async function decodeWith(asked, progress) {
  able("useDecoder");
  const given = asked ?? { settings: "{}", nBest: 1 };
  const decoder = await kept(decoders, JSON.stringify(given), async () => {
    const { settings, lm, words, hotWords, nBest } = given.model ? await decoderOfModel() : given;
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

/** What is told of the model once it is there. */
const described = (times) => ({ ...JSON.parse(model.description), ...times });

const calls = {
  async load({ source: given, warm }, progress) {
    const begun = performance.now();
    const adapter = await adapterName();
    if (!adapter) throw new CodedError("no-webgpu", NO_WEBGPU);
    watchDevices(() => disposed);
    // Nearly all models write text: their library comes together with config.json.
    if (!given.files) libraryFor(false, given.stallMs);
    const { library, files } = await modelFiles(given, (classes) => libraryFor(classes, given.stallMs), progress);
    [source, used] = [given, library];
    const fetchMs = performance.now() - begun;
    model = await library.Model.open(...files);
    // A second of silence needs nearly all of the kernels that clips of other lengths do.
    if (warm) await model[model.classify ? "classify" : "transcribe"](new Float32Array(16000), 16000);
    return described({ adapter, fetchMs, loadMs: performance.now() - begun });
  },

  /** Another model in the place of the one that is there, with what is compiled; streams go on with theirs. */
  async use({ source: given }, progress) {
    const begun = performance.now();
    const { library, files } = await modelFiles(given, (classes) => libraryFor(classes, given.stallMs), progress);
    const fetchMs = performance.now() - begun;
    if (library === used) {
      model.replace(...files);
    } else {
      const opened = await library.Model.open(...files);
      model.free();
      [model, used] = [opened, library];
    }
    source = given;
    // They are of the vocabulary and the folder of before.
    for (const decoder of decoders.values()) decoder.free();
    decoders.clear();
    return described({ fetchMs, loadMs: performance.now() - begun });
  },

  async transcribe({ channels, sampleRate, channel, decoder }, progress) {
    await decodeWith(decoder, progress);
    const begun = performance.now();
    const mono = monoOf(channels, channel);
    const result = JSON.parse(await model.transcribe(mono.samples, sampleRate));
    const ms = performance.now() - begun;
    return { ...result, channel: mono.channel, ms, rtf: (ms * 1e-3 * sampleRate) / mono.samples.length };
  },

  async classify({ channels, sampleRate, channel }) {
    const begun = performance.now();
    const mono = monoOf(channels, channel);
    const labels = JSON.parse(await able("classify").classify(mono.samples, sampleRate));
    const ms = performance.now() - begun;
    return { ...labels[0], labels, channel: mono.channel, ms, rtf: (ms * 1e-3 * sampleRate) / mono.samples.length };
  },

  async encode({ channels, sampleRate, channel }) {
    const tensors = await able("encode").encode(monoOf(channels, channel).samples, sampleRate);
    return Object.fromEntries(tensors.map(encoded));
  },

  async features({ channels, sampleRate, channel }) {
    return encoded(["features", ...model.features(monoOf(channels, channel).samples, sampleRate)])[1];
  },

  async mono({ channels, sampleRate, channel }) {
    return { ...monoOf(channels, channel), sampleRate };
  },

  async openStream({ stream, sampleRate, chunkMs, endpoint, decoder }, progress) {
    await decodeWith(decoder, progress);
    streams.set(stream, await model.stream(sampleRate, chunkMs, endpoint));
  },

  async push({ stream, samples }) {
    const result = await opened(stream).push(samples);
    return { result: result ? JSON.parse(result) : null, sentences: sentencesOf(stream) };
  },

  async finish({ stream }) {
    const result = JSON.parse(await opened(stream).finish());
    const sentences = sentencesOf(stream);
    await calls.closeStream({ stream });
    return { result, sentences };
  },

  async closeStream({ stream }) {
    streams.get(stream)?.free();
    streams.delete(stream);
  },

  async memory() {
    return { gpu: model?.gpuBytes ?? 0, wasm: used?.memory.buffer.byteLength ?? 0 };
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

/** What has ended since this was last asked for. */
function sentencesOf(stream) {
  const sentences = [];
  for (let said; (said = opened(stream).sentence()); ) sentences.push(JSON.parse(said));
  return sentences;
}

serve(calls, () => used?.lastPanic());
