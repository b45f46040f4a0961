// What all tests of a process share: one server, one browser, one page with a loaded model.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after } from "node:test";

import { CORPUS, DIST, launch, open } from "./browser.mjs";
import { serve } from "./server.mjs";

/** What a worker runs first, by the name after `/dist~`: the one that learns where the name says teacher, else the one that hears. */
const PATCHES = {
  "no-webgpu": `Object.defineProperty(navigator, "gpu", { value: undefined });`,
  "no-adapter": `GPU.prototype.requestAdapter = async () => null;`,
  limits: `Object.defineProperty(GPUSupportedLimits.prototype, "maxBufferSize", { get: () => 65536 });`,
  // A device that is lost as soon as it is to compute something.
  lost: `
    for (const name of ["createComputePipeline", "createComputePipelineAsync"]) {
      const create = GPUDevice.prototype[name];
      GPUDevice.prototype[name] = function (...options) {
        this.destroy();
        return create.apply(this, options);
      };
    }`,
  fragile: fragile("lose"),
  "fragile-teacher": fragile("lose-teacher"),
};

/** A device that is destroyed when the page says so on a channel. */
function fragile(channel) {
  return `
    const { requestDevice } = GPUAdapter.prototype;
    GPUAdapter.prototype.requestDevice = async function (...options) {
      const device = await requestDevice.apply(this, options);
      new BroadcastChannel("${channel}").onmessage = () => device.destroy();
      return device;
    };`;
}

/** Answers of the tests' own, by what their paths begin with. */
const answers = {};

/** Lets `answer(rest of the path, url)` answer what is below `prefix`, as `special` of `serve`. */
export function below(prefix, answer) {
  answers[prefix] = answer;
}

below("/dist~", async (path) => {
  const [, name, file] = /^([a-z-]+)\/(.+)$/.exec(path) ?? [];
  if (!(name in PATCHES)) return null;
  const content = await readFile(join(DIST, file));
  const patched = name.endsWith("-teacher") ? "teacher.js" : "worker.js";
  return file === patched ? `${PATCHES[name]}\n${content}` : content;
});

async function special(path, url) {
  const prefix = Object.keys(answers).find((prefix) => path.startsWith(prefix));
  return prefix ? answers[prefix](path.slice(prefix.length), url) : null;
}

let sharing = null;
let loading = null;

/** What all tests of a process share, started by the first that asks: the server and the browser. */
export function shared() {
  return (sharing ??= (async () => {
    const server = await serve({ "/dist/": DIST, "/corpus/": CORPUS }, special);
    const browser = await launch();
    return { server, browser, context: await browser.newContext() };
  })());
}

/** A page of all tests with a loaded model, `asr`, whose console must stay silent. */
export function loaded() {
  return (loading ??= (async () => {
    const page = await visit();
    await page.evaluate(async () => (globalThis.asr = await polymix.Polymix.load("/dist/model/")));
    return page;
  })());
}

/** A page of one's own. */
export async function visit() {
  const { context, server } = await shared();
  const page = await open(context, server.url);
  await equip(page);
  return page;
}

after(async () => {
  const { browser, server } = (await sharing?.catch(() => null)) ?? {};
  await browser?.close();
  await server?.close();
});

/** Gives a page the module, `polymix`, and the helpers of the tests. */
async function equip(page) {
  await page.evaluate(async () => {
    globalThis.polymix = await import("/dist/polymix.js");
    globalThis.clip = async (name) => polymix.Polymix.decode(await (await fetch(`/corpus/${name}`)).blob());
    /** The code and message of what a promise rejects with. */
    globalThis.refused = (promise) =>
      promise.then(
        (value) => ({ code: "none", message: JSON.stringify(value) ?? "undefined" }),
        (error) => ({ code: error.code, message: error.message, typed: error.name === "PolymixError" }),
      );
    /** Waits until `condition` holds, but not for ever. */
    globalThis.when = async (condition) => {
      for (const begun = performance.now(); !(await condition()); ) {
        if (performance.now() - begun > 20_000) throw new Error(`never: ${condition}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    };
  });
}

/** Workers end a moment after they are told to. */
export async function workersLeft(page, count) {
  for (let i = 0; i < 50 && page.workers().length !== count; i++) await page.waitForTimeout(100);
  assert.equal(page.workers().length, count);
}

/** Whether the error has the code, fits the message, and has the words that every error of the package has. */
export function assertRefused(error, code, message, what = "") {
  assert.deepEqual([error.code, error.typed], [code, true], `${what}: ${error.message}`);
  if (message) assert.match(error.message, message, what);
  assert.match(error.message, /[;:] /, `no remedy: ${error.message}`);
  assert.doesNotMatch(error.message, /(^|\s)--[a-z]/, "an option of the command line");
}
