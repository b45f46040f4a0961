// Learning in Chromium: losses beside the command's, cancelling, a lost device, what is saved and kept.

import assert from "node:assert/strict";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { CORPUS, DIST, OUT, clips, polymix } from "./browser.mjs";
import { assertRefused, visit, workersLeft } from "./shared.mjs";

const MODEL = join(DIST, "model");
const SETTINGS = { layers: "head", steps: 20, seed: 3 };
/** What the words of the corpus are called here. */
const CALLED = { six: "sis", stop: "alt", nine: "neun", down: "ab", seven: "sieben" };

/** Clips of these words, as other words. */
const takes = async () =>
  (await clips("test.jsonl"))
    .filter(({ text }) => text in CALLED)
    .map(({ audio_filepath: name, text }) => ({ name, text: CALLED[text] }));

let opening = null;

/** A page with a model, `asr`, and the takes of `examples`; the device that learns is destroyed by `lose()`. */
const pupil = () =>
  (opening ??= (async () => {
    const page = await visit();
    await page.evaluate(async (takes) => {
      globalThis.polymix = await import("/dist~fragile-teacher/polymix.js");
      globalThis.asr = await polymix.Polymix.load("/dist/model/", { warm: false });
      const channel = new BroadcastChannel("lose-teacher");
      globalThis.lose = () => channel.postMessage("now");
      globalThis.examples = await Promise.all(
        takes.map(async ({ name, text }) => ({ audio: await clip(name), text })),
      );
      globalThis.hear = async () => (await asr.transcribe(examples[0].audio)).text;
    }, await takes());
    return page;
  })());

const close = (a, b) => Math.abs(a - b) <= 1e-3 * Math.abs(b);

test("a few takes are learned as the command learns them, and heard at once; the command opens what is saved", async () => {
  const page = await pupil();
  const { before, session, progress, after, saved, grown, ms } = await page.evaluate(async (settings) => {
    const before = await hear();
    const memory = await asr.memory();
    const progress = [];
    const begun = performance.now();
    const session = await asr.adapt({ examples, ...settings, onProgress: (told) => progress.push(told) });
    const ms = performance.now() - begun;
    const after = [];
    for (const { take } of session.heard) after.push((await asr.transcribe(examples[take].audio)).text);
    const files = Object.entries(await session.save()).map(([name, bytes]) => [name, Array.from(bytes)]);
    globalThis.session = session;
    return { before, session: { ...session }, progress, after, saved: files, grown: (await asr.memory()).gpu - memory.gpu, ms };
  }, SETTINGS);
  await workersLeft(page, 1);
  const { losses } = session;
  console.log(
    `learned in ${ms.toFixed(0)} ms: loss ${losses[0].toFixed(3)} → ${losses.at(-1).toFixed(3)}, ` +
      `${session.before.errors} → ${session.after.errors} wrong characters held back`,
  );
  assert.equal(losses.length, SETTINGS.steps);
  assert.ok(losses.at(-1) < 0.5 * losses[0], `${losses}`);
  assert.ok(session.better && session.after.errors < session.before.errors, JSON.stringify(session.after));
  assert.deepEqual([session.leftOut, session.newCharacters], [[], []]);
  assert.deepEqual(progress.filter(({ step }) => step > 0).map(({ step, steps, loss }) => [step, steps, loss]),
    losses.map((loss, i) => [i + 1, SETTINGS.steps, loss]));
  assert.deepEqual(progress.find(({ heldOut }) => heldOut).heldOut, session.before);
  assert.deepEqual(after, session.heard.map(({ after }) => after));
  assert.ok(Math.abs(grown) < 1 << 22, `${grown} bytes on the GPU`);
  assert.equal(typeof before, "string");

  const lines = (await takes()).map(({ name, text }) => JSON.stringify({ audio_filepath: join(CORPUS, name), text }));
  const [manifest, native, folder] = [join(OUT, "takes.jsonl"), join(OUT, "adapted-native"), join(OUT, "adapted")];
  await mkdir(OUT, { recursive: true });
  await writeFile(manifest, lines.join("\n") + "\n");
  await Promise.all([native, folder].map((path) => rm(path, { recursive: true, force: true })));
  const options = ["--layers", SETTINGS.layers, "--steps", `${SETTINGS.steps}`, "--seed", `${SETTINGS.seed}`, "--json"];
  const command = JSON.parse(await polymix("adapt", MODEL, "--data", manifest, "--out", native, ...options));
  losses.forEach((loss, i) => assert.ok(close(loss, command.losses[i]), `step ${i + 1}: ${loss}, ${command.losses[i]}`));
  assert.deepEqual(session.heard.map(({ text, before, after }) => [text, before, after]),
    command.held_out.map(({ text, before, after }) => [text, before, after]));

  await mkdir(folder);
  for (const [name, bytes] of saved) await writeFile(join(folder, name), Buffer.from(bytes));
  assert.match(await readFile(join(folder, "README.md"), "utf8"), /Adapted by a web page: the head on/);
  const held = session.heard.map(({ take }) => JSON.parse(lines[take]).audio_filepath);
  const heard = JSON.parse(await polymix("transcribe", folder, ...held, "--json"));
  assert.deepEqual(heard.map(({ text }) => text), after);
});

test("what was learned is kept under a name, used, and forgotten; a full storage is an error", async () => {
  const page = await pupil();
  const found = await page.evaluate(async () => {
    const { Polymix } = polymix;
    const learned = await hear();
    await session.keep("mine");
    await asr.use("/dist/model/");
    const before = await hear();
    await asr.use({ stored: "mine" });
    const again = await hear();
    await asr.use({ files: await session.save() });
    const saved = await hear();
    return { learned, before, again, saved, names: await Polymix.stored() };
  });
  assert.notEqual(found.before, found.learned);
  assert.deepEqual([found.again, found.saved, found.names], [found.learned, found.learned, ["mine"]]);
  // As the browser says it; a quota that is set from outside does not bind at once.
  const full = await page.evaluate(async () => {
    const { put } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = () => {
      throw new DOMException("the quota has been exceeded", "QuotaExceededError");
    };
    try {
      return await refused(session.keep("other"));
    } finally {
      IDBObjectStore.prototype.put = put;
    }
  });
  assertRefused(full, "storage", /no room/);
  const { errors, names, used } = await page.evaluate(async () => {
    const { Polymix } = polymix;
    await Polymix.forget("mine");
    await Polymix.forget("never");
    const { "vocab.json": _, ...files } = await session.save();
    const errors = {
      storage: [
        await refused(asr.use({ stored: "mine" })),
        await refused(Polymix.load({ stored: "mine" })),
        await refused(session.keep("")),
      ],
      "bad-model": [
        await refused(asr.use({ files })),
        await refused(asr.use({ files: { "config.json": 7 } })),
        await refused(asr.use({ files: null })),
        await refused(asr.use("/dist/nothing/")),
      ],
    };
    const used = await hear();
    await asr.use("/dist/model/");
    return { errors, names: await Polymix.stored(), used };
  });
  for (const [code, all] of Object.entries(errors)) for (const error of all) assertRefused(error, code);
  assert.deepEqual([names, used], [[], found.learned]);
});

test("the same seed has the same losses; cancelled, the model is as it was", async () => {
  const page = await pupil();
  const { losses, first, errors, texts } = await page.evaluate(async (settings) => {
    const first = session.losses;
    const before = await hear();
    const controller = new AbortController();
    const steps = [];
    const onProgress = ({ step, loss }) => {
      steps.push(loss);
      if (step === 5) controller.abort();
    };
    const { signal } = controller;
    const learning = refused(asr.adapt({ examples, ...settings, onProgress, signal }));
    const second = await refused(asr.adapt({ examples }));
    const cancelled = await learning;
    const texts = [before, await hear()];
    return { losses: steps.filter((loss) => loss !== null), first, errors: { cancelled, second }, texts };
  }, SETTINGS);
  await workersLeft(page, 1);
  assert.deepEqual(losses, first.slice(0, 5));
  assertRefused(errors.cancelled, "aborted");
  assertRefused(errors.second, "failed", /learning already/);
  assert.equal(texts[0], texts[1]);
});

test("a device that is lost while it learns is an error, and the model is as it was", async () => {
  const page = await pupil();
  const { error, texts } = await page.evaluate(async (settings) => {
    const before = await hear();
    const onProgress = ({ step }) => step === 1 && lose();
    const error = await refused(asr.adapt({ examples, ...settings, steps: 100_000, onProgress }));
    return { error, texts: [before, await hear()] };
  }, SETTINGS);
  await workersLeft(page, 1);
  assertRefused(error, "device-lost");
  assert.equal(texts[0], texts[1]);
});

test("classes are learned, told with probabilities, and saved as a model that the command opens", async () => {
  const page = await pupil();
  const { session, told, labels, saved, codes } = await page.evaluate(async (settings) => {
    const labelled = examples.map(({ audio, text }) => ({ audio, label: text }));
    const session = await asr.adapt({ task: "classify", examples: labelled, ...settings });
    const told = [];
    for (const { take } of session.heard) told.push(await asr.classify(examples[take].audio));
    const codes = [];
    for (const call of ["transcribe", "encode"]) codes.push((await refused(asr[call](examples[0].audio))).code);
    const labels = [asr.info.labels];
    const saved = Object.entries(await session.save()).map(([name, bytes]) => [name, Array.from(bytes)]);
    await asr.use("/dist/model/");
    labels.push(asr.info.labels);
    codes.push((await refused(asr.classify(examples[0].audio))).code);
    return { session: { ...session }, told, labels, saved, codes };
  }, SETTINGS);
  const { losses, heard, after } = session;
  console.log(`classes: loss ${losses[0].toFixed(3)} → ${losses.at(-1).toFixed(3)}, ${after.right} of ${after.takes} right`);
  assert.ok(losses.at(-1) < 0.5 * losses[0] && session.better, `${losses}`);
  assert.deepEqual(told.map(({ label }) => label), heard.map(({ after }) => after));
  for (const { probability, labels: all } of told) {
    assert.deepEqual(all.map(({ label }) => label).sort(), labels[0]);
    assert.ok(Math.abs(all.reduce((sum, one) => sum + one.probability, 0) - 1) < 1e-5 && probability === all[0].probability);
  }
  assert.deepEqual([labels, codes], [[Object.values(CALLED).sort(), []], Array(3).fill("bad-model")]);
  const folder = join(OUT, "adapted-classes");
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  for (const [name, bytes] of saved) await writeFile(join(folder, name), Buffer.from(bytes));
  const lines = (await takes()).map(({ name, text }) => JSON.stringify({ audio_filepath: join(CORPUS, name), label: text }));
  const manifest = join(OUT, "labels.jsonl");
  await writeFile(manifest, heard.map(({ take }) => lines[take]).join("\n") + "\n");
  const scores = JSON.parse(await polymix("evaluate", folder, "--data", manifest, "--json"));
  assert.equal(Math.round(scores.accuracy * after.takes), after.right, JSON.stringify(scores));
});

test("what cannot be learned is named, and disposing ends learning", async () => {
  const page = await pupil();
  const { failed, audio, few, ended } = await page.evaluate(async () => {
    const wrong = (options) => refused(asr.adapt(options));
    const samples = new Float32Array(4000);
    const failed = [
      await wrong(undefined),
      await wrong({ examples: 7 }),
      await wrong({ examples: [{ audio: samples, sampleRate: 16000 }] }),
      await wrong({ examples, steps: 0 }),
      await wrong({ examples, seed: -1 }),
      await wrong({ examples, layers: { last: 0 } }),
      await wrong({ examples, layers: null, task: "sing" }),
      await wrong({ examples, onProgress: 7 }),
    ];
    const audio = await wrong({ examples: [...examples, { audio: samples, text: "a" }] });
    const few = await wrong({ examples: [{ audio: samples.fill(0.1), sampleRate: 16000, text: "six" }] });
    const ended = wrong({ examples });
    await asr.dispose();
    return { failed, audio, few, ended: await ended };
  });
  await workersLeft(page, 0);
  failed.forEach((error, i) => assertRefused(error, "failed", undefined, `${i}`));
  assertRefused(audio, "bad-audio", /examples\[\d+\].*sampleRate/);
  assertRefused(few, "failed", /give at least two/);
  assertRefused(ended, "disposed");
  assert.deepEqual(page.noise, []);
  await page.close();
});

test("the library that learns is apart", async () => {
  const { size } = await stat(join(DIST, "polymix_train_bg.wasm"));
  console.log(`the library that learns: ${size} bytes`);
  assert.ok(size <= 4_000_000, `${size}`);
});
