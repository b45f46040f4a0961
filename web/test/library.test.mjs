// The package in Chromium: answers beside the command's, streams, memory.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";

import { DIST, OUT, clips, polymix, resident, tensors, writeWav } from "./browser.mjs";
import { loaded, shared, visit, workersLeft } from "./shared.mjs";

const MODEL = join(DIST, "model");

const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

const few = async () => (await clips("test.jsonl")).filter((_, index) => index % 12 === 0);

test("loads with progress and tells what it runs on", async () => {
  const page = await loaded();
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

test("five clips and a minute of speech have the words that the command finds", async () => {
  const page = await loaded();
  const heard = [];
  const waves = [];
  const hear = async (name, text, work, argument) => {
    const { samples, ...transcript } = await page.evaluate(work, argument);
    const wav = join(OUT, `${name.replaceAll("/", "-")}.wav`);
    await writeWav(wav, samples, 16000);
    waves.push(wav);
    heard.push({ name, said: text, seconds: samples.length / 16000, ...transcript });
  };
  for (const { audio_filepath: name, text } of await few()) {
    await hear(name, text, async (name) => {
      const audio = await clip(name);
      return { ...(await asr.transcribe(audio)), rate: audio.sampleRate, samples: Array.from(audio.getChannelData(0)) };
    }, name);
  }
  const all = await clips("test.jsonl");
  await hear("minute", "clips strung together", async (names) => {
    const wave = new Float32Array(60 * 16000);
    let at = 4000;
    for (let i = 0; ; i++) {
      const piece = (await clip(names[i % names.length])).getChannelData(0);
      if (at + piece.length > wave.length) break;
      wave.set(piece, at);
      at += piece.length + 4000;
    }
    const transcript = await asr.transcribe(wave, { sampleRate: 16000 });
    return { ...transcript, rate: 16000, samples: Array.from(wave), memory: await asr.memory() };
  }, all.map(({ audio_filepath }) => audio_filepath));
  const natives = JSON.parse(await polymix("transcribe", MODEL, ...waves, "--json"));
  assert.equal(natives.length, 6);
  for (const [i, { name, said, seconds, rate, text, words, ms, rtf, channel, memory }] of heard.entries()) {
    const native = natives[i];
    assert.deepEqual([rate, channel], [16000, "mix"]);
    assert.equal(text, native.text, name);
    const times = (words) => words.map(({ word, start, end }) => [word, start, end]);
    assert.deepEqual(times(words), times(native.words));
    for (const [i, { confidence }] of words.entries()) {
      assert.ok(Math.abs(confidence - native.words[i].confidence) < 1e-4);
    }
    assert.ok(Math.abs(rtf - ms / 1000 / seconds) < 1e-6);
    console.log(`${name}: ${ms.toFixed(0)} ms for ${seconds.toFixed(2)} s, "${text}" (said: "${said}")`);
    if (memory) console.log(`GPU ${mebibytes(memory.gpu)}, wasm ${mebibytes(memory.wasm)}`);
  }
});

test("every layer has the values that the command computes", async () => {
  const page = await loaded();
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
  const page = await loaded();
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
  const page = await loaded();
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
  const page = await loaded();
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

test("fifty models come and go without a trace", async () => {
  const { browser, context } = await shared();
  const own = await visit();
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
    await setTimeout(500);
    measured.push(await resident(browser));
  };
  const held = await cycle(1, true);
  for (const times of [9, 20, 20]) {
    await cycle(times, false);
    await measure();
  }
  const line = ({ GPU, renderer, all }) => `${GPU.toFixed(0)} + ${renderer.toFixed(0)} of ${all.toFixed(0)}`;
  console.log(
    `resident MiB of the GPU's process and the tabs' after 10, 30, 50 models of ${mebibytes(held)}: ` +
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
    const asr = await Polymix.load("/dist/model/", { warm: false });
    await asr.dispose();
    return asr.transcribe(new Float32Array(160), { sampleRate: 16000 }).then(null, ({ code }) => code);
  });
  assert.equal(error, "disposed");
  assert.deepEqual(own.noise, []);
  await own.close();
});

test("nothing is said on the console", async () => {
  const page = await loaded();
  assert.deepEqual(page.noise, []);
});
