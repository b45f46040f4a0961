// The package in Chromium: answers, streams, memory, errors, a lost device.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";

import { CORPUS, DIST, OUT, clips, launch, open, polymix, processes, resident, tensors, writeWav } from "./browser.mjs";
import { serve } from "./server.mjs";

/** What the worker runs first, by the name after `/dist~`. */
const PATCHES = {
  "no-webgpu": `Object.defineProperty(navigator, "gpu", { value: undefined });`,
  "no-adapter": `GPU.prototype.requestAdapter = async () => null;`,
  limits: `Object.defineProperty(GPUSupportedLimits.prototype, "maxBufferSize", { get: () => 65536 });`,
  lost: `GPUBuffer.prototype.mapAsync = async () => { throw new DOMException("lost", "AbortError"); };`,
};

const MODEL = join(DIST, "model");

/** The model with some files changed, by the name after `/models/`. */
const MODELS = {
  missing: { "config.json": null },
  html: { "model.safetensors": Buffer.from("<!doctype html><title>Sign in</title>") },
  cut: { "model.safetensors": (bytes) => bytes.subarray(0, bytes.length - 1000) },
  long: { "model.safetensors": (bytes) => Buffer.concat([bytes, Buffer.alloc(8)]) },
  other: { "config.json": (bytes) => Buffer.from(bytes.toString().replace(/"layers": \d+/, '"layers": 1')) },
  unknown: { "config.json": (bytes) => Buffer.from(bytes.toString().replace('"layers"', '"storeys"')) },
  letters: { "vocab.json": Buffer.from('["<blank>", "a"]') },
  far: { "preprocessor_config.json": (bytes) => Buffer.from(bytes.toString().replace("16000", "8000")) },
  "not-finite": {
    "model.safetensors": (bytes) => {
      const damaged = Buffer.from(bytes);
      damaged.fill(0xff, bytes.length - 64);
      return damaged;
    },
  },
};

async function special(path) {
  const patched = /^\/dist~([a-z-]+)\/(.+)$/.exec(path);
  if (patched) {
    const file = await readFile(join(DIST, patched[2]));
    return patched[2] === "worker.js" ? `${PATCHES[patched[1]]}\n${file}` : file;
  }
  const model = /^\/models\/([a-z-]+)\/(.+)$/.exec(path);
  if (model) {
    const change = MODELS[model[1]]?.[model[2]];
    if (change === null) return null;
    const bytes = await readFile(join(MODEL, model[2]));
    return typeof change === "function" ? change(bytes) : (change ?? bytes);
  }
  return null;
}

let server, browser, context, page;

before(async () => {
  server = await serve({ "/dist/": DIST, "/corpus/": CORPUS }, special);
  browser = await launch();
  context = await browser.newContext();
  page = await open(context, server.url);
  await page.evaluate(async () => {
    globalThis.polymix = await import("/dist/polymix.js");
    globalThis.clip = async (name) => polymix.Polymix.decode(await (await fetch(`/corpus/${name}`)).blob());
    /** The code and message of what a promise rejects with. */
    globalThis.refused = (promise) =>
      promise.then(
        (value) => ({ code: "none", message: JSON.stringify(value) }),
        (error) => ({ code: error.code, message: error.message, typed: error instanceof polymix.PolymixError }),
      );
    globalThis.asr = await polymix.Polymix.load("/dist/model/");
  });
});

after(async () => {
  await browser?.close();
  await server?.close();
});

/** Workers end a moment after they are told to. */
async function workersLeft(page, count) {
  for (let i = 0; i < 50 && page.workers().length !== count; i++) await setTimeout(100);
  assert.equal(page.workers().length, count);
}

const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

const few = async () => (await clips("test.jsonl")).filter((_, index) => index % 12 === 0);

test("loads with progress and tells what it runs on", async () => {
  const { info, seen, memory } = await page.evaluate(async () => {
    const seen = [];
    const asr = await polymix.Polymix.load("/dist/model", { onProgress: (progress) => seen.push(progress), warm: false });
    const { info } = asr;
    const memory = await asr.memory();
    await asr.dispose();
    return { info, seen, memory };
  });
  const bytes = (await readFile(join(MODEL, "model.safetensors"))).length;
  assert.deepEqual(seen.at(-1), { loaded: bytes, total: bytes });
  assert.ok(seen.every(({ loaded }, i) => loaded > (seen[i - 1]?.loaded ?? 0)));
  assert.equal(info.vocabulary.length, 29);
  assert.ok(info.parameters > 1e6 && info.chunkMs === 640 && info.adapter.length > 0, JSON.stringify(info));
  assert.ok(memory.gpu >= 4 * info.parameters && memory.gpu < 4 * info.parameters + (1 << 20), JSON.stringify(memory));
  console.log(
    `${info.adapter}: loaded in ${info.loadMs.toFixed(0)} ms; GPU ${mebibytes(memory.gpu)}, wasm ${mebibytes(memory.wasm)}`,
  );
});

test("five clips have the words that the command finds", async () => {
  for (const { audio_filepath: name, text } of await few()) {
    const heard = await page.evaluate(async (name) => {
      const audio = await clip(name);
      const transcript = await asr.transcribe(audio);
      return { ...transcript, seconds: audio.duration, rate: audio.sampleRate, samples: Array.from(audio.getChannelData(0)) };
    }, name);
    const wav = join(OUT, "clip.wav");
    await writeWav(wav, heard.samples, heard.rate);
    const [native] = JSON.parse(await polymix("transcribe", MODEL, wav, "--json"));
    assert.equal(heard.rate, 16000);
    assert.equal(heard.text, native.text, name);
    assert.deepEqual(heard.words.map(({ word, start, end }) => [word, start, end]),
      native.words.map(({ word, start, end }) => [word, start, end]));
    for (const [i, { confidence }] of heard.words.entries()) {
      assert.ok(Math.abs(confidence - native.words[i].confidence) < 1e-4);
    }
    const { ms, rtf, seconds } = heard;
    assert.ok(Math.abs(rtf - ms / 1000 / seconds) < 1e-6);
    console.log(`${name}: ${ms.toFixed(0)} ms for ${seconds.toFixed(2)} s, "${heard.text}" (said: "${text}")`);
  }
});

test("every layer has the values that the command computes", async () => {
  const [{ audio_filepath: name }] = await few();
  const { samples, encoded, features } = await page.evaluate(async (name) => {
    const samples = (await clip(name)).getChannelData(0);
    const options = { sampleRate: 16000 };
    const plain = ({ data, shape }) => ({ data: Array.from(data), shape });
    const encoded = Object.entries(await asr.encode(samples, options)).map(([name, tensor]) => [name, plain(tensor)]);
    return { samples: Array.from(samples), encoded, features: plain(await asr.features(samples, options)) };
  }, name);
  const [wav, out] = [join(OUT, "layers.wav"), join(OUT, "layers.safetensors")];
  await writeWav(wav, samples, 16000);
  await polymix("encode", MODEL, wav, "--out", out);
  const native = await tensors(out);
  assert.deepEqual(encoded.map(([name]) => `layers.${name}`).sort(), Object.keys(native).sort());
  const differences = [];
  for (const [name, { data, shape }] of encoded) {
    const expected = native[`layers.${name}`];
    assert.deepEqual(shape, expected.shape, name);
    const largest = expected.data.reduce((most, x) => Math.max(most, Math.abs(x)), 1);
    const off = expected.data.reduce((most, x, i) => Math.max(most, Math.abs(x - data[i])), 0) / largest;
    differences.push(`${name} ${off.toExponential(1)}`);
    assert.ok(off <= 2e-5, `${name} differs by ${off} of its largest value`);
  }
  assert.deepEqual(features, encoded.find(([name]) => name === "features")[1]);
  console.log(`largest differences from native: ${differences.join(", ")}`);
});

test("any rate, any number of channels, and what was given stays whole", async () => {
  const found = await page.evaluate(async () => {
    const audio = await clip("flac/test-en-us-m7-00.flac");
    const samples = audio.getChannelData(0);
    const before = samples.slice();
    const mono = await asr.transcribe(samples, { sampleRate: 16000 });
    const stereo = new AudioBuffer({ numberOfChannels: 2, length: samples.length, sampleRate: 16000 });
    stereo.copyToChannel(samples.map((x) => 1.5 * x), 0);
    stereo.copyToChannel(samples.map((x) => 0.5 * x), 1);
    const context = new OfflineAudioContext(1, Math.round(audio.duration * 48000), 48000);
    const source = new AudioBufferSourceNode(context, { buffer: audio });
    source.connect(context.destination);
    source.start();
    const high = await context.startRendering();
    const blob = await (await fetch("/corpus/flac/test-en-us-m7-00.flac")).blob();
    const texts = [mono, await asr.transcribe(stereo), await asr.transcribe(high), await asr.transcribe(blob)];
    return { texts: texts.map(({ text }) => text), whole: samples.every((x, i) => x === before[i]) };
  });
  assert.deepEqual(found.texts, Array(4).fill(found.texts[0]));
  assert.ok(found.whole);
});

test("a stream in uneven pieces has the words of the whole, however many run at a time", async () => {
  const { whole, streamed, other, partials } = await page.evaluate(async () => {
    const audio = await clip("flac/test-en-us-m7-02.flac");
    const samples = audio.getChannelData(0);
    const whole = await asr.transcribe(audio);
    const partials = [];
    const stream = await asr.stream({ onPartial: ({ text }) => partials.push(text) });
    const second = await asr.stream();
    let at = 0;
    for (let piece = 1; at < samples.length; piece = (piece * 7 + 3) % 2001) {
      stream.push(samples.subarray(at, at + piece));
      at += piece;
    }
    await second.push(samples.subarray(0, 9000));
    await second.push(samples.subarray(9000));
    const streamed = await stream.finish();
    return { whole, streamed, other: await second.finish(), partials };
  });
  const { text, words } = whole;
  const nearly = (words) => words.map((word) => ({ ...word, confidence: word.confidence.toFixed(4) }));
  for (const heard of [streamed, other]) {
    assert.equal(heard.text, text);
    assert.deepEqual(nearly(heard.words), nearly(words));
  }
  assert.ok(partials.every((partial, i) => i === 0 || partial !== partials[i - 1]));
  console.log(`stream: ${partials.map((partial) => JSON.stringify(partial)).join(" → ")}, in the end "${text}"`);
});

test("a stream at 48 kHz, cancelled and ended ones", async () => {
  const { texts, errors, memory } = await page.evaluate(async () => {
    const audio = await clip("flac/test-en-us-m7-00.flac");
    const upsampled = new OfflineAudioContext(1, Math.round(audio.duration * 48000), 48000);
    const source = new AudioBufferSourceNode(upsampled, { buffer: audio });
    source.connect(upsampled.destination);
    source.start();
    const samples = (await upsampled.startRendering()).getChannelData(0);
    const before = await asr.memory();
    const stream = await asr.stream({ sampleRate: 48000, chunkMs: 640 });
    for (let at = 0; at < samples.length; at += 4800) await stream.push(samples.subarray(at, at + 4800));
    const { text } = await stream.finish();
    const cancelled = await asr.stream();
    await cancelled.push(samples.subarray(0, 30000));
    await cancelled.cancel();
    const errors = [
      await refused(stream.push(samples)),
      await refused(cancelled.finish()),
      await refused(asr.stream({ chunkMs: 50 })),
      await refused(asr.stream({ sampleRate: 0 })),
    ];
    const whole = await asr.transcribe(samples, { sampleRate: 48000 });
    const memory = { before: before.gpu, after: (await asr.memory()).gpu };
    return { texts: [text, whole.text], errors, memory };
  });
  assert.ok(texts[0].length > 0 || texts[1].length === 0, JSON.stringify(texts));
  for (const error of errors) assert.deepEqual([error.code, error.typed], ["bad-audio", true], JSON.stringify(error));
  assert.ok(memory.after - memory.before < 1 << 25, JSON.stringify(memory));
});

test("silence has no words, and bad audio is refused with its reason", async () => {
  const { silent, errors, later } = await page.evaluate(async () => {
    const options = { sampleRate: 16000 };
    const silent = await asr.transcribe(new Float32Array(16000), options);
    const errors = [
      await refused(asr.transcribe(new Float32Array(0), options)),
      await refused(asr.transcribe(Float32Array.of(0, NaN, 1), options)),
      await refused(asr.transcribe(new Float32Array(160))),
      await refused(asr.transcribe(new Float32Array(160), { sampleRate: -1 })),
      await refused(asr.transcribe(new Blob(["no audio at all"]))),
      await refused(asr.transcribe("speech.wav")),
      await refused(asr.encode(new Float32Array(0), options)),
      await refused((await asr.stream()).push(Float32Array.of(Infinity))),
    ];
    return { silent, errors, later: await asr.transcribe(new Float32Array(1), options) };
  });
  assert.ok(typeof silent.text === "string" && Array.isArray(silent.words));
  assert.ok(typeof later.text === "string");
  for (const { code, typed, message } of errors) {
    assert.deepEqual([code, typed], ["bad-audio", true], message);
    assert.match(message, /;/, "no remedy");
  }
});

test("wrong models are refused by the file that is wrong", async () => {
  const expected = {
    missing: /config\.json.*404/,
    html: /model\.safetensors.*no whole safetensors/,
    cut: /model\.safetensors.*ends too early/,
    long: /model\.safetensors.*longer than its table/,
    other: /model\.safetensors.*does not belong/,
    unknown: /config\.json.*storeys/,
    letters: /model\.safetensors.*2 tokens.*29 outputs/,
    far: /preprocessor_config\.json.*8000/,
    "not-finite": /model\.safetensors.*not finite/,
  };
  for (const [name, message] of Object.entries(expected)) {
    const error = await page.evaluate((name) => refused(polymix.Polymix.load(`/models/${name}/`)), name);
    assert.deepEqual([error.code, error.typed], ["bad-model", true], `${name}: ${error.message}`);
    assert.match(error.message, message);
  }
  const error = await page.evaluate(() => refused(polymix.Polymix.load("http://localhost:9/model/")));
  assert.equal(error.code, "bad-model", error.message);
  // A server's answer of 404 and a forbidden address are the browser's own words in the console.
  page.noise = page.noise.filter((line) => !/404|localhost:9/.test(line));
  await workersLeft(page, 1);
});

test("no WebGPU and small limits have codes of their own", async () => {
  for (const [patch, code] of [["no-webgpu", "no-webgpu"], ["no-adapter", "no-webgpu"], ["limits", "limits"]]) {
    const error = await page.evaluate(async (patch) => {
      const { Polymix } = await import(`/dist~${patch}/polymix.js`);
      return refused(Polymix.load("/dist/model/"));
    }, patch);
    assert.equal(error.code, code, error.message);
  }
});

test("a minute of speech stays within the limits of WebGPU", async () => {
  const names = (await clips("test.jsonl")).map(({ audio_filepath }) => audio_filepath);
  const { heard, samples, memory } = await page.evaluate(async (names) => {
    const wave = new Float32Array(60 * 16000);
    let at = 4000;
    for (let i = 0; ; i++) {
      const piece = (await clip(names[i % names.length])).getChannelData(0);
      if (at + piece.length > wave.length) break;
      wave.set(piece, at);
      at += piece.length + 4000;
    }
    const heard = await asr.transcribe(wave, { sampleRate: 16000 });
    return { heard, samples: Array.from(wave), memory: await asr.memory() };
  }, names);
  const wav = join(OUT, "minute.wav");
  await writeWav(wav, samples, 16000);
  const [native] = JSON.parse(await polymix("transcribe", MODEL, wav, "--json"));
  assert.equal(heard.text, native.text);
  console.log(
    `60 s: ${heard.ms.toFixed(0)} ms, ${heard.words.length} words; GPU ${mebibytes(memory.gpu)}, wasm ${mebibytes(memory.wasm)}`,
  );
});

test("two tabs do not disturb each other", async () => {
  const name = "flac/test-en-us-m7-02.flac";
  const other = await open(context, server.url);
  const hear = (page) =>
    page.evaluate(async (name) => {
      const { Polymix } = await import("/dist/polymix.js");
      const audio = await Polymix.decode(await (await fetch(`/corpus/${name}`)).blob());
      const asr = await Polymix.load("/dist/model/");
      const texts = [];
      for (let i = 0; i < 3; i++) texts.push((await asr.transcribe(audio)).text);
      await asr.dispose();
      return texts;
    }, name);
  const texts = (await Promise.all([hear(page), hear(other)])).flat();
  assert.deepEqual(texts, Array(6).fill(texts[0]));
  assert.deepEqual(other.noise, []);
  await other.close();
});

test("fifty models come and go without a trace", async () => {
  const own = await open(context, server.url);
  const cycle = (times, transcribe) =>
    own.evaluate(
      async ([times, transcribe]) => {
        const { Polymix } = await import("/dist/polymix.js");
        const wave = Float32Array.from({ length: 8000 }, (_, i) => 0.3 * Math.sin(i * 0.05));
        let gpu = 0;
        for (let i = 0; i < times; i++) {
          const asr = await Polymix.load("/dist/model/", { warm: false });
          if (transcribe) await asr.transcribe(wave, { sampleRate: 16000 });
          gpu = (await asr.memory()).gpu;
          await asr.dispose();
          await asr.dispose();
        }
        return gpu;
      },
      [times, transcribe],
    );
  const collector = await context.newCDPSession(own);
  const measured = [];
  const measure = async () => {
    await workersLeft(own, 0);
    await collector.send("HeapProfiler.collectGarbage");
    await setTimeout(1000);
    measured.push(await resident(browser));
  };
  for (const [times, transcribe] of [[5, true], [20, false], [20, false], [5, true]]) {
    await cycle(times, transcribe);
    await measure();
  }
  const held = await cycle(1, true);
  const line = ({ GPU, renderer, all }) => `${GPU.toFixed(0)} + ${renderer.toFixed(0)} of ${all.toFixed(0)}`;
  console.log(
    `resident MiB of the GPU's process and the tabs' after 5, 25, 45, 50 models of ${mebibytes(held)}: ` +
      measured.map(line).join(", "),
  );
  // Forty models left behind would hold 190 MiB of weights on the GPU, and 320 MiB of wasm in the tab.
  for (const kind of ["GPU", "renderer"]) {
    const growth = measured[2][kind] - measured[0][kind];
    assert.ok(growth < 48, `${kind}: grew by ${growth.toFixed(0)} MiB`);
  }
  await workersLeft(own, 0);
  const error = await own.evaluate(async () => {
    const { Polymix } = await import("/dist/polymix.js");
    const asr = await Polymix.load("/dist/model/");
    await asr.dispose();
    return asr.transcribe(new Float32Array(160), { sampleRate: 16000 }).then(null, ({ code }) => code);
  });
  assert.equal(error, "disposed");
  assert.deepEqual(own.noise, []);
  await own.close();
});

test("a device that stays lost is an error after one more try", async () => {
  const { error, loads } = await page.evaluate(async () => {
    const { Polymix } = await import("/dist~lost/polymix.js");
    let loads = 0;
    const asr = await Polymix.load("/dist/model/", {
      onProgress: ({ loaded, total }) => (loads += loaded === total),
      warm: false,
    });
    const error = await asr.transcribe(new Float32Array(8000), { sampleRate: 16000 }).then(
      () => "none",
      ({ code }) => code,
    );
    await asr.dispose();
    return { error, loads };
  });
  assert.deepEqual([error, loads], ["device-lost", 2]);
});

test("nothing is said on the console", () => {
  assert.deepEqual(page.noise, []);
});

test("a lost GPU is opened again, and the call goes on", async () => {
  const own = await open(context, server.url);
  await own.evaluate(async () => {
    globalThis.polymix = await import("/dist/polymix.js");
    globalThis.loads = 0;
    const onProgress = ({ loaded, total }) => (loads += loaded === total);
    globalThis.asr = await polymix.Polymix.load("/dist/model/", { onProgress });
    globalThis.audio = await polymix.Polymix.decode(await (await fetch("/corpus/flac/test-en-us-m7-02.flac")).blob());
    globalThis.first = (await asr.transcribe(audio)).text;
    globalThis.stream = await asr.stream();
    await stream.push(audio.getChannelData(0).subarray(0, 8000));
  });
  for (const { type, id } of await processes(browser)) if (type === "GPU") process.kill(id, "SIGKILL");
  await setTimeout(1000);
  const found = await own.evaluate(async () => {
    const again = (await asr.transcribe(audio)).text;
    const stale = await stream.finish().then(() => "none", ({ code }) => code);
    const fresh = await asr.stream();
    await fresh.push(audio.getChannelData(0));
    return { texts: [first, again, (await fresh.finish()).text], stale, loads, gpu: (await asr.memory()).gpu };
  });
  assert.deepEqual(found.texts, Array(3).fill(found.texts[0]));
  assert.deepEqual([found.stale, found.loads], ["device-lost", 2]);
  await own.close();
});
