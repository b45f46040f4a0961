// Where a page gets the package and the model from: damaged models, servers that answer something else or nothing,
// other origins, policies, and no browser at all.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { test } from "node:test";

import { DIST, WEB, open } from "./browser.mjs";
import { serve } from "./server.mjs";
import { assertRefused, below, shared, visit, workersLeft } from "./shared.mjs";

const MODEL = join(DIST, "model");
const HTML = Buffer.from("<!doctype html><title>Sign in</title>");
const POINTER = Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 2451466\n");

/** What comes for some files of the model, by the name after `/models/`; a number is a status. */
const MODELS = {
  missing: { "config.json": 404 },
  forbidden: { "vocab.json": 403 },
  busy: { "model.safetensors": 503 },
  html: { "model.safetensors": HTML },
  "html-config": { "config.json": HTML },
  pointer: { "model.safetensors": POINTER },
  "pointer-config": { "preprocessor_config.json": POINTER },
  empty: { "vocab.json": Buffer.alloc(0) },
  json: { "model.safetensors": Buffer.from('{"error": "Repository not found"}') },
  gzip: { "model.safetensors": Buffer.from([0x1f, 0x8b, 8, 0]) },
  cut: { "model.safetensors": (bytes) => bytes.subarray(0, bytes.length - 1000) },
  long: { "model.safetensors": (bytes) => Buffer.concat([bytes, Buffer.alloc(8)]) },
  other: { "config.json": (bytes) => Buffer.from(bytes.toString().replace(/"layers": \d+/, '"layers": 1')) },
  unknown: { "config.json": (bytes) => Buffer.from(bytes.toString().replace('"layers"', '"storeys": 1, "layers"')) },
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

below("/models/", async (path) => {
  const [, name, file] = /^([a-z-]+)\/(.+)$/.exec(path);
  const change = MODELS[name][file];
  if (typeof change === "number") return { status: change, headers: {}, body: "no" };
  const bytes = await readFile(join(MODEL, file));
  return typeof change === "function" ? change(bytes) : (change ?? bytes);
});

/** Begins, and goes on for ever. */
const stalled = (begin) => {
  const body = new Readable({ read() {} });
  body.push(begin);
  return { headers: {}, body };
};

below("/stalled/", async (file) => {
  const bytes = await readFile(join(MODEL, file));
  return file === "model.safetensors" ? stalled(bytes.subarray(0, 100_000)) : bytes;
});

// Only with its signature.
below("/signed", async (path, url) => {
  if (url.searchParams.get("sig") !== "a+b") return { status: 403, headers: {}, body: "no" };
  return readFile(join(MODEL, path.slice(1)));
});

/** The package with another library, by the name after `/dist-`. */
const LIBRARIES = { html: HTML, pointer: POINTER, stalled: stalled("\0asm").body };
below("/dist-", async (path) => {
  const [, name, file] = /^([a-z]+)\/(.+)$/.exec(path);
  if (file !== "polymix_web_bg.wasm") return readFile(join(DIST, file));
  const type = name === "html" ? "text/html" : "application/wasm";
  return { headers: { "Content-Type": type }, body: LIBRARIES[name] };
});

let visiting = null;

/** A page whose console may say what the browser itself says of such servers. */
const visitor = () => (visiting ??= visit());

test("wrong models are refused by the file that is wrong, and by what came in its place", async () => {
  const expected = {
    missing: /config\.json answers 404: .*folder that holds it/,
    forbidden: /forbidden\/vocab\.json answers 403: .*permission/,
    busy: /busy\/model\.safetensors answers 503: .*later/,
    html: /html\/model\.safetensors sends a web page \(HTML\)/,
    "html-config": /config\.json sends a web page \(HTML\)/,
    pointer: /model\.safetensors sends a Git LFS pointer/,
    "pointer-config": /preprocessor_config\.json sends a Git LFS pointer/,
    empty: /vocab\.json sends nothing/,
    json: /model\.safetensors sends a JSON document/,
    gzip: /model\.safetensors sends a gzip archive/,
    cut: /model\.safetensors.*ends too early/,
    long: /model\.safetensors.*longer than its table/,
    other: /model\.safetensors.*does not belong/,
    unknown: /config\.json.*storeys/,
    letters: /model\.safetensors.*2 tokens.*29 outputs/,
    far: /preprocessor_config\.json.*8000/,
    "not-finite": /model\.safetensors.*not finite/,
  };
  const page = await visitor();
  const errors = await page.evaluate(
    (names) => Promise.all(names.map((name) => refused(polymix.Polymix.load(`/models/${name}/`)))),
    Object.keys(expected),
  );
  for (const [i, [name, message]] of Object.entries(expected).entries()) assertRefused(errors[i], "bad-model", message, name);
  const error = await page.evaluate(() => refused(polymix.Polymix.load("http://localhost:9/model/")));
  assertRefused(error, "bad-model", /localhost:9/);
  await workersLeft(page, 0);
});

test("the query of a folder's address goes with each file, and a secret in it into no message", async () => {
  const page = await visitor();
  const [bands, error] = await page.evaluate(async () => {
    const asr = await polymix.Polymix.load("/signed?sig=a%2Bb", { warm: false });
    const { shape } = await asr.features(new Float32Array(1600), { sampleRate: 16000 });
    await asr.dispose();
    return [shape[1], await refused(polymix.Polymix.load("/signed/?sig=guessed"))];
  });
  assert.equal(bands, 80);
  assertRefused(error, "bad-model", /\/signed\/[a-z_]+\.json answers 403/);
  assert.doesNotMatch(error.message, /guessed/);
});

test("a server that stalls is given up, a load that is aborted ends at once", async () => {
  const page = await visitor();
  const [stalled, library, aborted] = await page.evaluate(async () => {
    const controller = new AbortController();
    const onProgress = () => controller.abort();
    const other = await import("/dist-stalled/polymix.js");
    return Promise.all([
      refused(polymix.Polymix.load("/stalled/", { stallMs: 3000 })),
      refused(other.Polymix.load("/dist/model/", { stallMs: 3000 })),
      refused(polymix.Polymix.load("/stalled/", { signal: controller.signal, onProgress, stallMs: Infinity })),
    ]);
  });
  assertRefused(stalled, "bad-model", /model\.safetensors.*no byte came for 3 s/);
  assertRefused(library, "failed", /polymix_web_bg\.wasm.*no byte came for 3 s/);
  assertRefused(aborted, "aborted");
  await workersLeft(page, 0);
});

test("a library that is something else, no WebGPU and small limits have codes of their own", async () => {
  const page = await visitor();
  const errors = await page.evaluate(async () => {
    const errors = {};
    for (const folder of ["/dist-html/", "/dist-pointer/", "/dist~no-webgpu/", "/dist~no-adapter/", "/dist~limits/"]) {
      const { Polymix } = await import(`${folder}polymix.js`);
      errors[folder] = await refused(Polymix.load("/dist/model/"));
    }
    return errors;
  });
  assertRefused(errors["/dist-html/"], "failed", /polymix_web_bg\.wasm.*web page/);
  assertRefused(errors["/dist-pointer/"], "failed", /polymix_web_bg\.wasm.*Git LFS pointer/);
  assertRefused(errors["/dist~no-webgpu/"], "no-webgpu");
  assertRefused(errors["/dist~no-adapter/"], "no-webgpu");
  assertRefused(errors["/dist~limits/"], "limits");
});

/** Loads the package from `folder`, and tells the length of a second's features, or the error. */
const TRIAL = (folder) => `
  const told = (value) => (globalThis.result = value, parent.postMessage({ result: value }, "*"));
  try {
    const { Polymix } = await import("${folder}polymix.js");
    const asr = await Polymix.load("${folder}model/", { warm: false });
    const { shape } = await asr.features(new Float32Array(16000), { sampleRate: 16000 });
    await asr.dispose();
    told({ code: "none", frames: shape[0] });
  } catch (error) {
    told({ code: error.code, typed: error.name === "PolymixError", message: error.message });
  }`;

test("from another origin, in a sandboxed frame and under Trusted Types", async (t) => {
  const { context, server } = await shared();
  const cors = { "Access-Control-Allow-Origin": "*" };
  const elsewhere = await serve({}, async (path) => ({ headers: cors, body: await readFile(join(DIST, path)) }));
  t.after(() => elsewhere.close());
  const html = (policy, body) => ({
    headers: { "Content-Type": "text/html", "Content-Security-Policy": policy, ...cors },
    body: `<!doctype html><link rel=icon href=data:,>${body}`,
  });
  const script = (folder) => `<script type=module>${TRIAL(folder)}</script>`;
  const connect = `connect-src 'self' ${elsewhere.url} ${server.url}`;
  const scripts = `script-src 'unsafe-inline' 'self' ${elsewhere.url} ${server.url} 'wasm-unsafe-eval'`;
  const trusted = (policy) => `require-trusted-types-for 'script'; trusted-types ${policy}`;
  const pages = {
    origin: html(`${connect}; ${scripts}; worker-src blob: ${elsewhere.url}`, script(`${elsewhere.url}/`)),
    "origin-forbidden": html(`${connect}; ${scripts}; worker-src 'self'`, script(`${elsewhere.url}/`)),
    sandbox: html("", `<iframe sandbox="allow-scripts" src="/pages/framed"></iframe>
      <script>addEventListener("message", ({ data }) => (globalThis.result = data.result))</script>`),
    framed: html("", script(`${elsewhere.url}/`)),
    trusted: html(trusted("polymix"), script("/dist/")),
    distrusted: html(trusted("other"), script("/dist/")),
  };
  below("/pages/", async (name) => pages[name]);
  const result = async (name) => {
    const page = await open(context, `${server.url}/pages/${name}`);
    await page.waitForFunction(() => globalThis.result, null, { timeout: 30_000 });
    const found = await page.evaluate(() => result);
    await page.close();
    return found;
  };
  for (const name of ["origin", "sandbox", "trusted"]) {
    const found = await result(name);
    assert.equal(found.code, "none", `${name}: ${found.message}`);
    assert.ok(found.frames > 100);
  }
  assertRefused(await result("origin-forbidden"), "failed", /worker.*blob: http:\/\/localhost/);
  assertRefused(await result("distrusted"), "failed", /trusted-types polymix/);
});

test("in a worker of the page, files are not decoded, and the reason is told", async () => {
  const page = await visitor();
  below("/own-worker.js", async () => `
    import { Polymix } from "/dist/polymix.js";
    const blob = await (await fetch("/corpus/flac/test-en-us-m7-03.flac")).blob();
    Polymix.decode(blob).catch(({ code, message, name }) => postMessage({ code, message, typed: name === "PolymixError" }));`);
  const error = await page.evaluate(
    () => new Promise((resolve) => {
      new Worker("/own-worker.js", { type: "module" }).onmessage = ({ data }) => resolve(data);
    }),
  );
  assertRefused(error, "bad-audio", /OfflineAudioContext.*decode .*in the page/);
});

test("on a server the package can be imported, and says what is missing", async () => {
  const { Polymix, PolymixError } = await import(join(WEB, "js", "polymix.js"));
  const refused = (promise) =>
    promise.then(() => ({}), (error) => ({ code: error.code, message: error.message, typed: error instanceof PolymixError }));
  assertRefused(await refused(Polymix.load("/model/")), "failed", /browsers.*server/);
  assertRefused(await refused(Polymix.decode(new Blob(["a".repeat(80)]))), "bad-audio", /server has no OfflineAudioContext/);
});

test("no message of the library advises an option of the command line", async () => {
  const text = (await readFile(join(DIST, "polymix_web_bg.wasm"))).toString("latin1");
  assert.deepEqual(text.match(/[ `]--[a-z][a-z-]+/g), null);
});
