// Times in Chromium: loading, the first and later transcriptions, streams, learning, and the longest task of the page's own
// thread meanwhile. Prints them and writes target/web/bench.json.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { CORPUS, DIST, OUT, launch, open } from "./browser.mjs";
import { serve } from "./server.mjs";

const server = await serve({ "/dist/": DIST, "/corpus/": CORPUS });
const browser = await launch();
const page = await open(await browser.newContext(), server.url);
const measured = await page.evaluate(async () => {
  const { Polymix } = await import("/dist/polymix.js");
  const audio = await Polymix.decode(await (await fetch("/corpus/flac/test-en-us-m7-02.flac")).blob());
  const whole = audio.getChannelData(0);
  const clip = (seconds) => Float32Array.from({ length: 16000 * seconds }, (_, i) => whole[i % whole.length]);
  let longest = 0;
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
  }).observe({ type: "longtask" });
  const rows = [];
  const time = async (name, work) => {
    const begun = performance.now();
    await work();
    rows.push({ name, ms: performance.now() - begun });
  };
  const options = { sampleRate: 16000 };
  let asr;
  await time("load, kernels at first use", async () => (asr = await Polymix.load("/dist/model/", { warm: false })));
  await time("1 s, first, with kernels", () => asr.transcribe(clip(1), options));
  await asr.dispose();
  await time("load, kernels compiled", async () => (asr = await Polymix.load("/dist/model/")));
  await time("1 s, first", () => asr.transcribe(clip(1), options));
  for (const seconds of [1, 10, 60]) {
    if (seconds > 1) await time(`${seconds} s, first of its length`, () => asr.transcribe(clip(seconds), options));
    const times = [];
    for (let i = 0; i < (seconds > 10 ? 1 : 5); i++) times.push((await asr.transcribe(clip(seconds), options)).ms);
    rows.push({ name: `${seconds} s`, ms: times.sort((a, b) => a - b)[Math.floor(times.length / 2)] });
  }
  const stream = await asr.stream();
  const { chunkMs } = asr.info;
  const chunk = clip(chunkMs / 1000);
  // The last frames of a chunk need the samples after it.
  await time("stream, first chunk", async () => {
    await stream.push(chunk);
    await stream.push(new Float32Array(1000));
  });
  const chunks = [];
  for (let i = 0; i < 20; i++) {
    const begun = performance.now();
    await stream.push(chunk);
    chunks.push(performance.now() - begun);
  }
  rows.push({ name: `stream, a chunk of ${chunkMs} ms`, ms: chunks.sort((a, b) => a - b)[10] });
  const memory = await asr.memory();
  const examples = Array.from({ length: 10 }, (_, i) => ({ ...options, audio: clip(1).map((x) => x * (1 - 0.05 * i)), text: "up" }));
  for (const [name, layers] of [["the head", "head"], ["the head and two layers", { last: 2 }]]) {
    const told = [];
    const begun = performance.now();
    await asr.adapt({ examples, layers, steps: 20, onProgress: ({ step, heldOut }) => told.push([performance.now(), step, heldOut]) });
    const learned = performance.now() - begun;
    // Steps behind which nothing was held back and heard; the first compiles.
    const plain = told.flatMap(([now, step, heldOut], i) => (step > 1 && !heldOut ? [now - told[i - 1][0]] : []));
    rows.push({ name: `learning, ${name}: a step`, ms: plain.sort((a, b) => a - b)[Math.floor(plain.length / 2)] });
    rows.push({ name: `learning, ${name}: 20 steps`, ms: learned });
    await asr.use("/dist/model/");
  }
  // Long tasks are told a moment later.
  await new Promise((resolve) => setTimeout(resolve, 300));
  await asr.dispose();
  return { adapter: asr.info.adapter, rows, longestTaskMs: longest, memory };
});
await browser.close();
await server.close();
console.log(`browser: ${measured.adapter}`);
for (const { name, ms } of measured.rows) console.log(`${name.padEnd(44)} ${ms.toFixed(1).padStart(9)} ms`);
const longest = measured.longestTaskMs;
console.log(`${"longest task of the page".padEnd(44)} ${(longest ? longest.toFixed(1) : "below 50").padStart(9)} ms`);
console.log(`GPU ${(measured.memory.gpu / 2 ** 20).toFixed(1)} MiB, wasm ${(measured.memory.wasm / 2 ** 20).toFixed(1)} MiB`);
await mkdir(OUT, { recursive: true });
await writeFile(join(OUT, "bench.json"), JSON.stringify(measured, null, 2) + "\n");
