// The npm package: what `npm pack` makes is installed elsewhere, type-checked against, and imported in Chromium.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { before, test } from "node:test";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

import { CORPUS, DIST, OUT, WEB, open } from "./browser.mjs";
import { serve } from "./server.mjs";
import { shared } from "./shared.mjs";

const run = promisify(execFile);
const CONSUMER = join(OUT, "consumer");

before(async () => {
  await rm(CONSUMER, { recursive: true, force: true });
  await mkdir(CONSUMER, { recursive: true });
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", OUT], { cwd: WEB });
  const [{ filename, size, unpackedSize, files }] = Object.values(JSON.parse(stdout));
  console.log(`${filename}: ${files.length} files, ${(size / 1e6).toFixed(2)} MB packed, ${(unpackedSize / 1e6).toFixed(2)} MB unpacked`);
  await writeFile(join(CONSUMER, "package.json"), '{ "name": "consumer", "private": true, "type": "module" }');
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", join(OUT, filename)], { cwd: CONSUMER });
});

test("the library is small enough to be fetched", async () => {
  const wasm = await readFile(join(DIST, "polymix_web_bg.wasm"));
  const compressed = gzipSync(wasm, { level: 9 }).length;
  console.log(`wasm: ${wasm.length} bytes, ${compressed} compressed`);
  assert.ok(wasm.length <= 1_350_000 && compressed <= 480_000);
  assert.ok((await stat(join(DIST, "model", "model.safetensors"))).size <= 3_000_000);
});

test("types are found, and hold", async () => {
  const source = `
    import { Polymix, PolymixError, type AdaptProgress, type Classified, type DecoderOptions, type Heard, type Mono, type PolymixErrorCode, type PolymixSession, type Transcript } from "polymix";

    export async function hear(file: File, samples: Float32Array): Promise<string> {
      const asr = await Polymix.load(new URL("https://example.com/model/"), {
        onProgress: ({ loaded, total }) => console.log(total === null ? loaded : loaded / total),
      });
      try {
        const { text, words, rtf }: Transcript = await asr.transcribe(file);
        const decoder: DecoderOptions = { beam: 100, lm: new URL("https://example.com/lm"), hotWords: { polymix: 10 }, nBest: 5 };
        const { beams } = await asr.transcribe(file, { decoder, onProgress: ({ loaded }) => console.log(loaded) });
        console.log(beams?.[0]?.score, (await asr.transcribe(file, { decoder: "model" })).settled);
        // @ts-expect-error A beam is a number of texts.
        await asr.transcribe(file, { decoder: { beam: "wide" } });
        const stream = await asr.stream({ sampleRate: 48000, onPartial: (heard: Heard) => console.log(heard.text) });
        const { signal } = new AbortController();
        const listening = await asr.listen({ signal, onEnd: ({ code, message }: PolymixError) => console.log(code, message) });
        const { text: said }: Heard = await listening.finish({ signal });
        const mono: Mono = await asr.mono(new Int16Array(16000), { sampleRate: 16000, channel: 1, signal: null });
        console.log(said, mono.samples.length, mono.channel === "mix");
        const partial: Heard | null = await stream.push(samples);
        const { logits } = await asr.encode(samples, { sampleRate: 16000 });
        const examples = [{ audio: file, text: "hola" }, { audio: samples, sampleRate: 48000, text: "adiós" }];
        const onLearned = ({ step, loss, heldOut }: AdaptProgress) => console.log(step, loss ?? 0, heldOut?.right);
        const session: PolymixSession = await asr.adapt({ examples, layers: { last: 2 }, seed: 1, signal, onProgress: onLearned });
        await session.keep("mine");
        await asr.use({ stored: (await Polymix.stored())[0] ?? "mine" });
        await asr.use({ files: await session.save() }, { signal });
        await Polymix.forget("mine");
        await asr.adapt({ task: "classify", examples: [{ audio: file, label: "yes" }, { audio: file, label: "no" }] });
        const { label, probability }: Classified = await asr.classify(file);
        console.log(label, probability.toFixed(2));
        // @ts-expect-error Takes say what is said in them.
        await asr.adapt({ examples: [{ audio: file }] });
        // @ts-expect-error A path is no audio.
        await asr.transcribe("speech.wav");
        // @ts-expect-error Models are loaded, not constructed.
        new Polymix();
        return text + words[0]?.confidence.toFixed(2) + rtf + partial?.text + logits?.shape[0];
      } catch (error) {
        const code: PolymixErrorCode | undefined = error instanceof PolymixError ? error.code : undefined;
        return code ?? "failed";
      } finally {
        await asr.dispose();
      }
    }`;
  await writeFile(join(CONSUMER, "consumer.ts"), source);
  const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom,dom.iterable"];
  const tsc = join(WEB, "node_modules", ".bin", "tsc");
  await run(tsc, [...options, "consumer.ts"], { cwd: CONSUMER }).catch(({ stdout }) => assert.fail(stdout));
});

test("its import works in a browser, from its own folder alone", async (t) => {
  const resolve = "for (const name of process.argv.slice(1)) console.log(import.meta.resolve(name))";
  const names = ["polymix", "polymix/model/config.json"];
  const { stdout } = await run("node", ["--input-type=module", "-e", resolve, ...names], { cwd: CONSUMER });
  const [entry, model] = stdout.trim().split("\n").map((url) => `/${relative(CONSUMER, fileURLToPath(url))}`);
  const own = await serve({ "/node_modules/": join(CONSUMER, "node_modules"), "/corpus/": CORPUS });
  t.after(() => own.close());
  const { context } = await shared();
  const page = await open(context, own.url);
  const [bands, refused] = await page.evaluate(
    async ([entry, model]) => {
      const { Polymix } = await import(entry);
      const asr = await Polymix.load(new URL(".", new URL(model, location.href)), { warm: false });
      const { shape } = await asr.features(await (await fetch("/corpus/flac/test-en-us-m7-02.flac")).blob());
      // The worklet is opened before the stream is refused.
      const refused = await asr.listen({ chunkMs: 50 }).then(() => "", ({ message }) => message);
      await asr.dispose();
      return [shape[1], refused];
    },
    [entry, model],
  );
  assert.equal(bands, 80);
  assert.match(refused, /chunkMs is 50/);
  assert.deepEqual(page.noise, []);
  await page.close();
});
