// What may befall a model while it works: its device, its microphone, the page's own callbacks, its end.

import assert from "node:assert/strict";
import { test } from "node:test";

import { processes } from "./browser.mjs";
import { assertRefused, loaded, shared, visit, workersLeft } from "./shared.mjs";

let opening = null;

/**
 * A page whose model's device is destroyed by `lose()`, and whose microphone plays `spoken` again and again; `tracks`
 * and `contexts` are what was opened to listen.
 */
const fragile = () =>
  (opening ??= (async () => {
    const page = await visit();
    await page.evaluate(async () => {
      const { Polymix } = await import("/dist~fragile/polymix.js");
      globalThis.loads = 0;
      const onProgress = ({ loaded, total }) => (loads += loaded === total);
      globalThis.asr = await Polymix.load("/dist/model/", { warm: false, onProgress });
      const channel = new BroadcastChannel("lose");
      globalThis.lose = () => channel.postMessage("now");
      globalThis.spoken = await clip("flac/test-en-us-m7-03.flac");
      globalThis.tracks = [];
      globalThis.contexts = [];
      const Context = AudioContext;
      const speaker = new Context();
      const sink = speaker.createMediaStreamDestination();
      const source = new AudioBufferSourceNode(speaker, { buffer: spoken, loop: true });
      source.connect(sink);
      source.start();
      globalThis.AudioContext = class extends Context {
        constructor(...given) {
          super(...given);
          contexts.push(this);
        }
      };
      navigator.mediaDevices.getUserMedia = async () => {
        const stream = sink.stream.clone();
        tracks.push(...stream.getTracks());
        return stream;
      };
      /** Everything that a stream tells, with its microphone. */
      globalThis.listening = async (options) => {
        const told = { errors: [], ends: [], partials: 0, pieces: 0 };
        const stream = await asr.listen({
          onError: ({ code, message }) => told.errors.push({ code, message, typed: true }),
          onEnd: ({ code, message }) => told.ends.push({ code, message, typed: true }),
          onPartial: () => told.partials++,
          onAudio: () => told.pieces++,
          ...options,
        });
        await when(() => options?.onAudio || told.pieces > 2);
        return { stream, told };
      };
      /** Whether the last microphone and its audio are over. */
      globalThis.over = () => tracks.at(-1).readyState === "ended" && contexts.at(-1).state === "closed";
    });
    return page;
  })());

test("a microphone that is unplugged, muted, suspended or closed is told at once, and what was said stays", async () => {
  const page = await fragile();
  const found = await page.evaluate(async () => {
    const befall = {
      stopped: (track) => track.stop(),
      unplugged: (track) => track.dispatchEvent(new Event("ended")),
      closed: (track, context) => context.close(),
      muted: (track) => track.dispatchEvent(new Event("mute")),
      suspended: (track, context) => context.suspend(),
      refused: (track, context) => {
        context.resume = () => Promise.reject(new DOMException("no", "NotAllowedError"));
        return context.suspend();
      },
    };
    const found = {};
    for (const [name, happen] of Object.entries(befall)) {
      const { stream, told } = await listening();
      await happen(tracks.at(-1), contexts.at(-1));
      await when(() => told.errors.length > 0);
      if (["muted", "suspended"].includes(name)) {
        const before = told.pieces;
        await when(() => told.pieces > before + 2);
      } else {
        await when(() => told.ends.length > 0 && over());
      }
      const { text } = await stream.finish();
      found[name] = { told, text: typeof text, over: over() };
    }
    return found;
  });
  const ends = { stopped: 1, unplugged: 1, closed: 1, muted: 0, suspended: 0, refused: 1 };
  for (const [name, { told, text, over }] of Object.entries(found)) {
    assert.deepEqual([told.ends.length, text, over], [ends[name], "string", true], name);
    for (const error of [...told.errors, ...told.ends]) assertRefused(error, "bad-audio", /microphone/, name);
  }
  assert.match(found.muted.told.errors[0].message, /muted/);
  assert.match(found.suspended.told.errors[0].message, /suspended/);
});

test("what a callback does with its piece changes nothing, nor what it throws", async () => {
  const page = await fragile();
  const { texts, reported, pieces } = await page.evaluate(async () => {
    const reported = new Set();
    const report = (event) => (event.preventDefault(), reported.add(event.error.message));
    addEventListener("error", report);
    const pieces = [];
    let rate = 0;
    const { stream } = await listening({
      onAudio(samples, sampleRate) {
        pieces.push(samples.slice());
        rate = sampleRate;
        structuredClone(samples, { transfer: [samples.buffer] });
        throw new Error("onAudio");
      },
      onPartial: () => { throw new Error("onPartial"); },
    });
    await when(() => reported.size === 2);
    const heard = await stream.finish();
    removeEventListener("error", report);
    const again = await asr.stream({ sampleRate: rate });
    for (const piece of pieces) again.push(piece);
    return { texts: [heard.text, (await again.finish()).text], reported: [...reported], pieces: pieces.length };
  });
  assert.ok(pieces > 10);
  assert.equal(texts[0], texts[1]);
  assert.deepEqual(reported.sort(), ["onAudio", "onPartial"]);
});

test("a microphone that cannot be had gives everything back, and tells why", async () => {
  const page = await fragile();
  const { errors, left, live, late } = await page.evaluate(async () => {
    const before = (await asr.memory()).gpu;
    const { getUserMedia } = navigator.mediaDevices;
    const errors = {};
    for (const name of ["NotAllowedError", "NotFoundError", "NotReadableError", "OtherError"]) {
      navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", name); };
      errors[name] = await refused(asr.listen());
    }
    // Who is asked may answer when nobody waits any longer.
    let answer;
    navigator.mediaDevices.getUserMedia = () => new Promise((resolve) => (answer = resolve));
    const controller = new AbortController();
    const waiting = refused(asr.listen({ signal: controller.signal }));
    await when(() => answer);
    controller.abort();
    errors.aborted = await waiting;
    answer(await getUserMedia());
    navigator.mediaDevices.getUserMedia = getUserMedia;
    await when(() => tracks.at(-1).readyState === "ended");
    const { addModule } = AudioWorklet.prototype;
    AudioWorklet.prototype.addModule = async () => { throw new DOMException("no", "AbortError"); };
    errors.worklet = await refused(asr.listen());
    AudioWorklet.prototype.addModule = addModule;
    const Node = AudioWorkletNode;
    globalThis.AudioWorkletNode = class { constructor() { throw new DOMException("no", "InvalidStateError"); } };
    errors.node = await refused(asr.listen());
    globalThis.AudioWorkletNode = Node;
    errors.chunk = await refused(asr.listen({ chunkMs: 50 }));
    return {
      errors,
      left: (await asr.memory()).gpu - before,
      live: tracks.filter(({ readyState }) => readyState === "live").length,
      late: contexts.filter(({ state }) => state !== "closed").length,
    };
  });
  const { aborted, ...others } = errors;
  assertRefused(aborted, "aborted");
  for (const error of Object.values(others)) assertRefused(error, "bad-audio");
  assert.match(errors.NotAllowedError.message, /allow it/);
  assert.match(errors.NotFoundError.message, /plug one in/);
  assert.deepEqual([left, live, late], [0, 0, 0]);
});

test("an inverted channel of what is listened to is no silence", async () => {
  const page = await fragile();
  const loudest = await page.evaluate(async () => {
    const context = new AudioContext();
    const stereo = new AudioBuffer({ numberOfChannels: 2, length: spoken.length, sampleRate: 16000 });
    stereo.copyToChannel(spoken.getChannelData(0), 0);
    stereo.copyToChannel(spoken.getChannelData(0).map((x) => -x), 1);
    const sink = new MediaStreamAudioDestinationNode(context, { channelCount: 2 });
    const source = new AudioBufferSourceNode(context, { buffer: stereo, loop: true });
    source.connect(sink);
    source.start();
    let loudest = 0;
    const onAudio = (samples) => (loudest = Math.max(loudest, ...samples));
    const stream = await asr.listen({ source: sink.stream, onAudio });
    await when(() => loudest > 0.05);
    await stream.cancel();
    const live = sink.stream.getTracks().every(({ readyState }) => readyState === "live");
    await context.close();
    return [loudest, live];
  });
  assert.ok(loudest[0] > 0.05 && loudest[1], `${loudest}`);
});

test("the browser's own microphone is heard, and is let go", async () => {
  const page = await loaded();
  const pieces = await page.evaluate(async () => {
    let pieces = 0;
    const stream = await asr.listen({ onAudio: () => pieces++ });
    await when(() => pieces > 5);
    await stream.cancel();
    return pieces;
  });
  assert.ok(pieces > 5);
});

test("a device that is lost while one listens, or while nothing is done, is told at once", async () => {
  const page = await fragile();
  const { told, finished, pushed } = await page.evaluate(async () => {
    const { stream, told } = await listening();
    lose();
    await when(() => told.ends.length > 0 && over());
    return { told, finished: await refused(stream.finish()), pushed: await refused(stream.push(new Float32Array(10))) };
  });
  assert.deepEqual([told.errors.length, told.ends.length], [1, 1]);
  for (const error of [told.errors[0], told.ends[0], finished, pushed]) assertRefused(error, "device-lost");
  await workersLeft(page, 0);
  const loads = await page.evaluate(async () => {
    const before = loads;
    await asr.features(spoken);
    lose();
    return loads - before;
  });
  await workersLeft(page, 0);
  const [shape, more] = await page.evaluate(async () => [(await asr.features(spoken)).shape, loads]);
  assert.deepEqual([shape[1], loads, more], [80, 1, 3]);
});

test("disposing while one listens ends microphone, audio and worker", async () => {
  const page = await fragile();
  const { told, ended, errors, code } = await page.evaluate(async () => {
    const { stream, told } = await listening();
    const call = refused(asr.features(spoken));
    await asr.dispose();
    const errors = [await refused(stream.finish()), await refused(asr.memory()), await refused(asr.listen()), await refused(asr.stream())];
    return { told, ended: over(), errors, code: (await call).code };
  });
  assert.ok(ended && ["none", "disposed"].includes(code), code);
  assert.deepEqual(told.ends.map(({ code }) => code), ["disposed"]);
  for (const error of errors) assertRefused(error, "disposed");
  await workersLeft(page, 0);
  assert.deepEqual(page.noise, []);
  await page.close();
});

test("a device that stays lost is an error after one more try", async () => {
  const page = await visit();
  const { error, loads } = await page.evaluate(async () => {
    const { Polymix } = await import("/dist~lost/polymix.js");
    let loads = 0;
    const asr = await Polymix.load("/dist/model/", {
      onProgress: ({ loaded, total }) => (loads += loaded === total),
      warm: false,
    });
    const error = await refused(asr.transcribe(new Float32Array(8000), { sampleRate: 16000 }));
    await asr.dispose();
    return { error, loads };
  });
  assertRefused(error, "device-lost");
  assert.equal(loads, 2);
  await page.close();
});

test("calls of two tabs go on when the browser's GPU process ends, each with its own audio", async () => {
  const { browser } = await shared();
  const [page, other] = [await loaded(), await visit()];
  await other.evaluate(async () => {
    globalThis.loads = 0;
    const onProgress = ({ loaded, total }) => (loads += loaded === total);
    globalThis.asr = await polymix.Polymix.load("/dist/model/", { onProgress, warm: false });
  });
  const begin = (page) =>
    page.evaluate(async () => {
      const clips = await Promise.all(["flac/test-en-us-m7-03.flac", "flac/test-en-us-m7-02.flac"].map(clip));
      const short = new Float32Array(800);
      globalThis.hear = async () => {
        const [one, two, { shape }, { samples }] = await Promise.all([
          asr.transcribe(clips[0]),
          asr.transcribe(clips[1]),
          asr.features(short, { sampleRate: 16000 }),
          asr.mono(clips[1]),
        ]);
        return [one.text, two.text, ...shape, samples.length];
      };
      const first = [await hear(), await hear()];
      globalThis.codes = [];
      globalThis.stream = await asr.stream({ onEnd: ({ code }) => codes.push(code) });
      await stream.push(clips[0].getChannelData(0).subarray(0, 8000));
      return first;
    });
  const expected = (await Promise.all([begin(page), begin(other)])).flat();
  for (const heard of expected) assert.deepEqual(heard, expected[0]);
  // The piece of the stream is what finds out first, with the calls behind it.
  const waiting = [page, other].map((page) =>
    page.evaluate(async () => {
      const pushed = refused(stream.push(new Float32Array(160_000)));
      const again = await hear();
      return { again, pushed: await pushed, finished: await refused(stream.finish()), codes };
    }),
  );
  for (const { type, id } of await processes(browser)) if (type === "GPU") process.kill(id, "SIGKILL");
  for (const { again, pushed, finished, codes } of await Promise.all(waiting)) {
    assert.deepEqual(again, expected[0]);
    for (const error of [pushed, finished]) assertRefused(error, "device-lost");
    assert.deepEqual(codes, ["device-lost"]);
  }
  assert.equal(await other.evaluate(() => loads), 2);
  await other.evaluate(() => asr.dispose());
  assert.deepEqual(other.noise, []);
  await other.close();
});
