// Beam search in Chromium: beside the command's, with a language model that is fetched, hot words, streams.

import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { gzipSync } from "node:zlib";

import { DIST, OUT, clips, polymix, writeWav } from "./browser.mjs";
import { assertRefused, below, loaded } from "./shared.mjs";

/** A model of two words in the ARPA form, which knows nothing of what the clips say. */
const ARPA = `\\data\\
ngram 1=5

\\1-grams:
-2 <unk>
-99 <s>
-1 </s>
-0.5 sex
-0.5 fore

\\end\\
`;

const LM = join(OUT, "search.lm");

before(async () => {
  await mkdir(OUT, { recursive: true });
  await writeFile(`${LM}.arpa`, ARPA);
  await polymix("lm", "build", `${LM}.arpa`, "--out", LM);
});

let fetched = 0;
below("/lm/", async (name) => {
  fetched++;
  if (name === "lm") return readFile(LM);
  if (name === "lm.gz") return gzipSync(await readFile(LM));
  return name === "bad" ? Buffer.from(ARPA) : null;
});

const SEARCH = { beam: 50, beamPrune: -60, tokenPrune: -15 };
const OPTIONS = ["--beam", "50", "--beam-prune", "-60", "--token-prune", "-15"];

test("a search with a language model and several texts is the command's", async () => {
  const page = await loaded();
  const name = (await clips("test.jsonl"))[3].audio_filepath;
  const found = await page.evaluate(
    async ({ name, search }) => {
      const audio = await clip(name);
      const seen = [];
      const lm = new URL("/lm/lm", location.href);
      const options = { decoder: { ...search, alpha: 1.5, beta: -1, lm, nBest: 3 }, onProgress: (p) => seen.push(p) };
      const first = await asr.transcribe(audio, options);
      const again = await asr.transcribe(audio, options);
      const packed = await asr.transcribe(audio, { decoder: { ...options.decoder, lm: "/lm/lm.gz" } });
      const plain = await asr.transcribe(audio);
      const greedy = await asr.transcribe(audio, { decoder: { decoder: "greedy" } });
      return { first, again, packed, plain, greedy, seen, samples: Array.from(audio.getChannelData(0)), rate: audio.sampleRate };
    },
    { name, search: SEARCH },
  );
  const wav = join(OUT, "search.wav");
  await writeWav(wav, found.samples, found.rate);
  const weights = ["--alpha", "1.5", "--beta", "-1", "--lm", LM, "--n-best", "3"];
  const [native] = JSON.parse(await polymix("transcribe", join(DIST, "model"), wav, "--json", ...OPTIONS, ...weights));
  const texts = (beams) => beams.map(({ text }) => text);
  assert.equal(found.first.beams.length, 3);
  assert.deepEqual(texts(found.first.beams), texts(native.beams));
  for (const [i, { score }] of found.first.beams.entries()) {
    assert.ok(Math.abs(score - native.beams[i].score) < 1e-2 * Math.max(1, Math.abs(score)), `${score} ${native.beams[i].score}`);
  }
  assert.equal(found.first.text, found.first.beams[0].text);
  assert.deepEqual(texts(found.again.beams), texts(found.first.beams));
  assert.deepEqual(texts(found.packed.beams), texts(found.first.beams));
  assert.equal(found.plain.beams, undefined);
  assert.deepEqual(found.plain.words, found.greedy.words);
  // Two addresses, each fetched once, with progress.
  assert.equal(fetched, 2);
  assert.equal(found.seen.at(-1).loaded, (await readFile(LM)).length);
});

test("hot words change what is heard, in a clip and in a stream", async () => {
  const page = await loaded();
  const name = (await clips("test.jsonl"))[3].audio_filepath;
  const found = await page.evaluate(
    async ({ name, search }) => {
      const audio = await clip(name);
      const hot = { ...search, hotWords: { xs: 60 } };
      const waveform = audio.getChannelData(0);
      const partials = [];
      const onPartial = ({ words, settled }) => partials.push(words.slice(0, settled).map(({ word }) => word));
      const stream = await asr.stream({ sampleRate: audio.sampleRate, decoder: hot, onPartial });
      for (let i = 0; i < waveform.length; i += 5000) await stream.push(waveform.slice(i, i + 5000));
      return {
        plain: (await asr.transcribe(audio, { decoder: search })).text,
        hot: (await asr.transcribe(audio, { decoder: hot })).text,
        streamed: (await stream.finish()).text,
        partials,
      };
    },
    { name, search: { ...SEARCH, tokenPrune: -1000, beamPrune: -1000 } },
  );
  assert.notEqual(found.hot, found.plain);
  assert.ok(found.hot.split(" ").includes("xs"), JSON.stringify(found));
  assert.equal(found.streamed, found.hot);
  for (const settled of found.partials) {
    assert.deepEqual(settled, found.hot.split(" ").slice(0, settled.length));
  }
});

test("sentences of a stream end by themselves", async () => {
  const page = await loaded();
  const found = await page.evaluate(async () => {
    const waveform = Float32Array.from({ length: 96000 }, (_, i) => 0.3 * Math.sin(i * 0.07 * (1 + (i % 16000) / 9000)));
    const hear = async (endpoint) => {
      const told = [];
      const stream = await asr.stream({ endpoint, onSentence: ({ words }) => told.push([words[0].start, words.at(-1).end]) });
      for (let i = 0; i < waveform.length; i += 5000) await stream.push(waveform.slice(i, i + 5000));
      return { told, last: (await stream.finish()).text };
    };
    return {
      cut: await hear({ longestMs: 1000 }),
      whole: await hear(null),
      one: await hear({ pauseMs: 60000, longestMs: 600000 }),
      wrong: await refused(asr.stream({ endpoint: { pause: 3 } })),
      short: await refused(asr.stream({ endpoint: { longestMs: 10 } })),
    };
  });
  assert.ok(found.cut.told.length >= 2, JSON.stringify(found));
  const times = found.cut.told.flat();
  assert.deepEqual(times, times.toSorted((a, b) => a - b));
  assert.ok(times.at(-1) <= 6 && times.at(-1) > 4, JSON.stringify(times));
  assert.deepEqual(found.whole.told, []);
  assert.equal(found.one.told.length, 1);
  assert.equal(found.one.last, found.whole.last);
  assertRefused(found.wrong, "bad-audio", /endpoint\.pause .*pauseMs/);
  assertRefused(found.short, "failed", /0\.04 s, 0 dB and 1 s/);
});

test("wrong options and files that are no language model are refused by name", async () => {
  const page = await loaded();
  const refusals = await page.evaluate(async () => {
    const waveform = new Float32Array(16000);
    const refusal = (decoder) => refused(asr.transcribe(waveform, { sampleRate: 16000, decoder }));
    return {
      key: await refusal({ beams: 3 }),
      kind: await refusal({ beam: "3" }),
      range: await refusal({ beam: 0 }),
      prune: await refusal({ tokenPrune: 1 }),
      best: await refusal({ nBest: 0 }),
      hot: await refusal({ hotWords: 5 }),
      weight: await refusal({ hotWords: { a: 1e9 } }),
      list: await refusal([]),
      file: await refusal({ lm: "/lm/bad" }),
      after: (await asr.transcribe(waveform, { sampleRate: 16000 })).text,
    };
  });
  assertRefused(refusals.key, "failed", /decoder\.beams.*none of/);
  assertRefused(refusals.kind, "failed", /decoder\.beam.*number/);
  assertRefused(refusals.range, "failed", /beam is 0/);
  assertRefused(refusals.prune, "failed", /token_prune is 1/);
  assertRefused(refusals.best, "failed", /nBest.*whole number/);
  assertRefused(refusals.hot, "failed", /hotWords.*list/);
  assertRefused(refusals.weight, "failed", /hotWords.*1000/);
  assertRefused(refusals.list, "failed", /no object/);
  assertRefused(refusals.file, "bad-model", /bad.*lm build/);
  assert.equal(typeof refusals.after, "string");
});
