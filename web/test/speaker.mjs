// A speaker of the Free Spoken Digit Dataset whom a model has not heard, in Chromium: words wrong in his other takes before and
// after it has learned five takes of each digit, the time, and memory over 20 adaptations in a row. The data are in
// $POLYMIX_SHARED/data/fsdd. Prints them and writes target/web/speaker.json.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";

import { DIST, OUT, ROOT, launch, open, resident } from "./browser.mjs";
import { serve } from "./server.mjs";

const [model, speaker] = process.argv.slice(2);
if (!speaker) throw new Error("speaker.mjs MODEL SPEAKER: please give a model's folder and the speaker's name");
const data = join(process.env.POLYMIX_SHARED ?? join(ROOT, "..", "shared"), "data", "fsdd");
const lines = async (name) =>
  (await readFile(join(data, name), "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))
    .filter((line) => line.speaker === speaker)
    .map(({ audio_filepath: path, text }) => ({ path, text, take: Number(/_(\d+)\./.exec(path)[1]) }));
const all = [...(await lines("train.jsonl")), ...(await lines("test.jsonl"))];
const taught = all.filter(({ take }) => take >= 10 && take < 15);
const others = all.filter(({ take }) => take < 5 || take >= 45);

const server = await serve({ "/dist/": DIST, "/data/": data, "/unheard/": resolve(model) });
const browser = await launch();
const page = await open(await browser.newContext(), server.url);
const measured = await page.evaluate(
  async ({ taught, others }) => {
    const { Polymix } = await import("/dist/polymix.js");
    const clip = async ({ path, text }) => ({ audio: await (await fetch(`/data/${path}`)).blob(), text });
    const [examples, rest] = [await Promise.all(taught.map(clip)), await Promise.all(others.map(clip))];
    const asr = await Polymix.load("/unheard/");
    globalThis.asr = asr;
    globalThis.examples = examples;
    const wrong = async () => {
      let count = 0;
      for (const { audio, text } of rest) count += (await asr.transcribe(audio)).text !== text;
      return count;
    };
    const before = await wrong();
    const rows = [];
    const kinds = [["the head", "head"], ["the head and two layers", { last: 2 }]];
    for (const [name, layers] of kinds) {
      const begun = performance.now();
      const { better, losses } = await asr.adapt({ examples, layers });
      const seconds = (performance.now() - begun) / 1000;
      rows.push({ name, seconds, steps: losses.length, better, after: await wrong() });
      await asr.use("/unheard/");
    }
    return { adapter: asr.info.adapter, taught: examples.length, others: rest.length, before, rows };
  },
  { taught, others },
);
measured.memory = [];
for (let round = 0; round < 20; round++) {
  const { gpu, wasm } = await page.evaluate(async (seed) => {
    await asr.adapt({ examples: examples.slice(0, 10), layers: "head", steps: 5, seed });
    return asr.memory();
  }, round);
  measured.memory.push({ gpu, wasm, resident: (await resident(browser)).all });
}
await browser.close();
await server.close();
const percent = (count) => `${((100 * count) / measured.others).toFixed(1)} %`;
console.log(`browser: ${measured.adapter}; ${speaker}: ${measured.taught} takes taught, ${measured.others} others`);
console.log(`wrong before: ${percent(measured.before)}`);
for (const { name, seconds, steps, after } of measured.rows) {
  console.log(`${name}: ${percent(after)} wrong after ${steps} steps in ${seconds.toFixed(1)} s`);
}
for (const index of [0, 1, 9, 19]) {
  const { gpu, wasm, resident } = measured.memory[index];
  const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(1);
  console.log(`adaptation ${index + 1}: GPU ${mebibytes(gpu)} MiB, wasm ${mebibytes(wasm)} MiB, all processes ${resident.toFixed(0)} MiB`);
}
await mkdir(OUT, { recursive: true });
await writeFile(join(OUT, "speaker.json"), JSON.stringify(measured, null, 2));
