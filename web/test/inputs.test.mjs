// What a page passes: audio in every form, from any frame, damaged or absurd; options of the wrong kind.

import assert from "node:assert/strict";
import { test } from "node:test";

import { assertRefused, loaded } from "./shared.mjs";

test("audio of every form is heard alike, from another frame too, and stays whole", async () => {
  const page = await loaded();
  const { texts, whole, left } = await page.evaluate(async () => {
    const audio = await clip("flac/test-en-us-m7-03.flac");
    const samples = audio.getChannelData(0);
    const before = samples.slice();
    const blob = await (await fetch("/corpus/flac/test-en-us-m7-03.flac")).blob();
    const bytes = await blob.arrayBuffer();
    const frame = document.body.appendChild(document.createElement("iframe")).contentWindow;
    const options = { sampleRate: 16000 };
    const integers = Int16Array.from(samples, (x) => Math.round(x * 32767));
    const shared = new Float32Array(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer, 0, 400);
    const foreign = await new frame.OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes.slice(0));
    const duck = {
      numberOfChannels: 1,
      length: samples.length,
      sampleRate: 16000,
      getChannelData: () => samples,
    };
    const forms = {
      samples: [samples, options],
      foreign: [frame.Float32Array.from(samples), options],
      doubles: [Float64Array.from(samples), options],
      integers: [integers, options],
      foreignIntegers: [frame.Int16Array.from(integers), options],
      buffer: [audio, null],
      foreignBuffer: [foreign],
      duck: [duck],
      blob: [blob],
      foreignBlob: [new frame.Blob([bytes])],
      file: [new File([bytes], "clip.flac")],
      bytes: [bytes],
      view: [new Uint8Array(bytes)],
      response: [await fetch("/corpus/flac/test-en-us-m7-03.flac")],
    };
    const texts = {};
    for (const [name, given] of Object.entries(forms)) texts[name] = (await asr.transcribe(...given)).text;
    await asr.transcribe(shared, options);
    frame.frameElement.remove();
    return { texts, whole: samples.every((x, i) => x === before[i]), left: bytes.byteLength };
  });
  for (const [name, text] of Object.entries(texts)) assert.equal(text, "six", name);
  assert.ok(whole && left > 0);
});

test("channels: the mean, one of them, or the loudest where they cancel each other out", async () => {
  const page = await loaded();
  const found = await page.evaluate(async () => {
    const samples = (await clip("flac/test-en-us-m7-03.flac")).getChannelData(0);
    const buffer = (...gains) => {
      const buffer = new AudioBuffer({ numberOfChannels: gains.length, length: samples.length, sampleRate: 16000 });
      gains.forEach((gain, channel) => buffer.copyToChannel(samples.map((x) => gain * x), channel));
      return buffer;
    };
    const heard = async (audio, options) => {
      const { text, channel } = await asr.transcribe(audio, options);
      return [text, channel];
    };
    const gain = async (audio, options) => {
      const mono = await asr.mono(audio, options);
      const i = samples.findIndex((x) => Math.abs(x) > 0.1);
      return (mono.samples[i] / samples[i]).toFixed(3);
    };
    return {
      heard: [
        await heard(buffer(1, 1)),
        await heard(buffer(0.9, -1)),
        await heard(buffer(1, -1, 0)),
        await heard(buffer(0, 1)),
        await heard(buffer(0, 0)),
        await heard(buffer(0, 1), { channel: 2 }),
      ],
      gains: [await gain(buffer(0.9, -1)), await gain(buffer(0, 1)), await gain(buffer(0.25, 0.5), { channel: 1 })],
      errors: [
        await refused(asr.transcribe(buffer(1, 1), { channel: 3 })),
        await refused(asr.mono(samples, { sampleRate: 16000, channel: "left" })),
      ],
    };
  });
  assert.deepEqual(found.heard.map(([, channel]) => channel), ["mix", 2, 1, "mix", "mix", 2]);
  for (const i of [0, 1, 2, 3, 5]) assert.equal(found.heard[i][0], "six", `case ${i}`);
  assert.deepEqual(found.gains, ["-1.000", "0.500", "0.250"]);
  for (const error of found.errors) assertRefused(error, "bad-audio", /channel is .*give "mix"/);
});

test("files are decoded at the rate that their header tells", async () => {
  const page = await loaded();
  const rates = await page.evaluate(async () => {
    const samples = (await clip("flac/test-en-us-m7-03.flac")).getChannelData(0);
    const chunk = (name, content, size = content.length) => {
      const bytes = new Uint8Array(8 + content.length);
      bytes.set(new TextEncoder().encode(name));
      new DataView(bytes.buffer).setUint32(4, size, true);
      bytes.set(content, 8);
      return bytes;
    };
    const format = new DataView(new ArrayBuffer(16));
    format.setUint16(0, 1, true);
    format.setUint16(2, 1, true);
    format.setUint32(4, 22050, true);
    format.setUint32(8, 44100, true);
    format.setUint16(12, 2, true);
    format.setUint16(14, 16, true);
    const fmt = chunk("fmt ", new Uint8Array(format.buffer));
    const pcm = new Uint8Array(Int16Array.from(samples.subarray(0, 4000), (x) => 32767 * x).buffer);
    const wav = (before, size = pcm.length, riff = 0xffffffff) => {
      const content = [new TextEncoder().encode("WAVE"), ...before, fmt, chunk("data", pcm, size)];
      return new Blob([new TextEncoder().encode("RIFF"), Uint32Array.of(riff), ...content]);
    };
    const odd = new Uint8Array([65, 66, 67]);
    const files = {
      plain: wav([]),
      odd: wav([chunk("JUNK", odd), new Uint8Array(1)]),
      unpadded: wav([chunk("JUNK", odd)]),
      piped: wav([], 0xffffffff),
      sox: wav([], 0x7ffff000, 0x7ffff024),
      zero: wav([], 0, 0),
    };
    const rates = {};
    for (const [name, file] of Object.entries(files)) {
      const rate = [];
      const own = OfflineAudioContext;
      globalThis.OfflineAudioContext = class extends own {
        constructor(...given) {
          super(...given);
          rate.push(given[2]);
        }
      };
      const length = await polymix.Polymix.decode(file).then((audio) => audio.length, () => 0);
      globalThis.OfflineAudioContext = own;
      rates[name] = [rate[0], length];
    }
    return rates;
  });
  const { unpadded, ...read } = rates;
  for (const [name, found] of Object.entries(read)) assert.deepEqual(found, [22050, 4000], name);
  assert.equal(unpadded[0], 22050);
});

test("audio that is none, or too short or too loud, is refused with its reason, the same by every call", async () => {
  const page = await loaded();
  const { errors, alike, streamed, silent, later } = await page.evaluate(async () => {
    const options = { sampleRate: 16000 };
    const detached = new Float32Array(160);
    structuredClone(detached, { transfer: [detached.buffer] });
    const spent = await clip("flac/test-en-us-m7-03.flac");
    structuredClone(spent.getChannelData(0), { transfer: [spent.getChannelData(0).buffer] });
    const gone = { arrayBuffer: async () => { throw new DOMException("gone", "NotFoundError"); }, name: "gone.wav" };
    const given = {
      "no samples": [new Float32Array(0), options],
      "NaN as sample 1": [Float32Array.of(0, NaN, 1), options],
      "samples come without their rate": [new Float32Array(160)],
      "samples come without": [new Float32Array(160), { sampleRate: null }],
      "sampleRate is -1": [new Float32Array(160), { sampleRate: -1 }],
      "sampleRate is NaN": [new Float32Array(160), { sampleRate: NaN }],
      "sampleRate is string": [new Float32Array(160), { sampleRate: "16000" }],
      "sampleRate is symbol": [new Float32Array(160), { sampleRate: Symbol() }],
      "cannot decode": [new Blob(["no audio at all, but more than sixty-four letters of something that is no file"])],
      "notes.wav": [new File(["no audio at all"], "notes.wav")],
      "0 bytes": [new Blob([])],
      "a web page": [new Blob(["<!DOCTYPE html><title>Not found</title>"])],
      "Git LFS": [new Blob(["version https://git-lfs.github.com/spec/v1\noid sha256:00"])],
      "audio is a string": ["speech.wav"],
      "audio is undefined": [],
      "audio is null": [null],
      "audio is 5": [5],
      "kind Array": [[0, 0.5]],
      "kind Object": [{}],
      "kind Int32Array": [new Int32Array(5), options],
      "gone.wav cannot be read": [gone],
      detached: [detached, options],
      "handed over to another thread": [spent],
      12000: [new Float32Array(1600).fill(12000), options],
      "sample.*1": [Float32Array.of(3e38), options],
      "too little for one frame": [Float32Array.of(0.5), { sampleRate: 48000 }],
    };
    const errors = {};
    for (const [message, audio] of Object.entries(given)) errors[message] = await refused(asr.transcribe(...audio));
    const short = [Float32Array.of(0.5), { sampleRate: 48000 }];
    const alike = [await refused(asr.transcribe(...short)), await refused(asr.encode(...short)), await refused(asr.features(...short))];
    const stream = await asr.stream({ onPartial: null, chunkMs: null, sampleRate: null });
    const streamed = [
      await refused(stream.push(Float32Array.of(Infinity))),
      await refused(stream.push(Float32Array.of(-20000))),
      await refused(stream.push(detached)),
      await refused(stream.push("samples")),
      await refused(asr.stream({ chunkMs: 50 })),
      await refused(asr.stream({ chunkMs: () => 40 })),
      await refused(asr.stream({ sampleRate: 0 })),
      await refused(asr.listen({ source: {} })),
      await refused(asr.listen({ source: new MediaStream() })),
    ];
    await stream.cancel();
    const silent = await asr.transcribe(new Float32Array(16000), options);
    return { errors, alike, streamed, silent, later: await asr.transcribe(new Float32Array(400), options) };
  });
  for (const [message, error] of Object.entries(errors)) assertRefused(error, "bad-audio", new RegExp(message), message);
  for (const error of alike) assert.deepEqual(error, alike[0]);
  for (const error of streamed) assertRefused(error, "bad-audio");
  assert.ok(typeof silent.text === "string" && Array.isArray(silent.words) && typeof later.text === "string");
});

test("options of a wrong kind, callbacks that throw, and signals", async () => {
  const page = await loaded();
  const { errors, aborted, told, text, reported, finished, left } = await page.evaluate(async () => {
    const { Polymix } = polymix;
    const audio = await clip("flac/test-en-us-m7-03.flac");
    const waveform = audio.getChannelData(0);
    const errors = {
      "bad-model address": await refused(Polymix.load()),
      "bad-model understood": await refused(Polymix.load("http://[")),
      "failed onProgress": await refused(Polymix.load("/dist/model/", { onProgress: "often" })),
      "failed signal": await refused(asr.transcribe(audio, { signal: {} })),
      "failed stallMs": await refused(Polymix.load("/dist/model/", { stallMs: 0 })),
      "failed onPartial": await refused(asr.stream({ onPartial: 5 })),
      "failed [(]TypeError": await refused(asr.features({ getChannelData() {}, get length() { throw new TypeError("a trap"); } })),
    };
    await asr.transcribe(audio);
    await asr.encode(audio);
    const before = (await asr.memory()).gpu;
    const signal = AbortSignal.abort(new Error("no more"));
    const later = new AbortController();
    const waits = [
      asr.transcribe(audio, { signal: later.signal }),
      asr.encode(audio, { signal: later.signal }),
      asr.stream({ signal: later.signal }),
      Polymix.load("/dist/model/", { signal: later.signal }),
      Polymix.decode({ arrayBuffer: () => new Promise(() => {}) }, { signal: later.signal }),
    ].map(refused);
    later.abort();
    const ending = new AbortController();
    const stream = await asr.stream({ signal: ending.signal });
    ending.abort();
    const aborted = [
      ...(await Promise.all(waits)),
      await refused(stream.finish()),
      await refused(asr.features(audio, { signal })),
      await refused(Polymix.load("/dist/model/", { signal })),
      await refused(asr.listen({ signal })),
    ];
    const reported = [];
    const report = (event) => (event.preventDefault(), reported.push(event.error.message));
    addEventListener("error", report);
    const told = [];
    const heard = await asr.stream({ onPartial: ({ text }) => { told.push(text); throw new Error("a callback"); } });
    await heard.push(waveform);
    const finished = await Promise.all([heard.finish(), heard.finish(null), heard.finish()]);
    removeEventListener("error", report);
    await when(async () => (await asr.memory()).gpu <= before);
    const { text } = await asr.transcribe(audio, null);
    return { errors, aborted, told, text, reported, finished, left: (await asr.memory()).gpu - before };
  });
  for (const [expected, error] of Object.entries(errors)) {
    const [code, message] = expected.split(" ");
    assertRefused(error, code, new RegExp(message));
  }
  for (const error of aborted) assertRefused(error, "aborted");
  assert.ok(told.length > 0 && reported.length === told.length, `${told} ${reported}`);
  assert.deepEqual([finished[1], finished[2]], [finished[0], finished[0]]);
  assert.equal(finished[0].text, text);
  assert.ok(left <= 0, `${left} bytes are left`);
});
