// The page in Chromium: a sample, a file, the microphone, the keyboard, no WebGPU; screenshots in target/web.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { CORPUS, DIST, OUT, launch, open, writeWav } from "./browser.mjs";
import { serve } from "./server.mjs";

const SPOKEN = join(OUT, "microphone.wav");

let server, browser, context;

before(async () => {
  server = await serve({ "/": DIST }, async (path) => {
    if (path !== "/nowhere/worker.js") {
      return path.startsWith("/nowhere/") ? readFile(join(DIST, path.slice("/nowhere/".length))) : null;
    }
    const worker = await readFile(join(DIST, "worker.js"));
    return `Object.defineProperty(navigator, "gpu", { value: undefined });\n${worker}`;
  });
  // What the false microphone plays: a sample of the page, after and before a second of silence.
  const reader = await launch();
  const tab = await open(await reader.newContext(), server.url);
  const samples = await tab.evaluate(async () => {
    const { Polymix } = await import("/polymix.js");
    const page = await (await fetch("/page.js")).text();
    const [sample] = /samples\/[^"]+\.flac/.exec(page);
    const audio = await Polymix.decode(await (await fetch(`/${sample}`)).blob());
    return [...new Float32Array(16000), ...audio.getChannelData(0), ...new Float32Array(16000)];
  });
  await reader.close();
  await writeWav(SPOKEN, samples, 16000);
  browser = await launch([
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    `--use-file-for-fake-audio-capture=${SPOKEN}`,
  ]);
  context = await browser.newContext({ viewport: { width: 1100, height: 960 } });
});

after(async () => {
  await browser?.close();
  await server?.close();
});

/** The page once its model is loaded, and the addresses that it asked for. */
async function loaded() {
  const page = await context.newPage();
  page.noise = [];
  page.asked = [];
  page.on("console", (message) => page.noise.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => page.noise.push(`error: ${error.message}`));
  page.on("request", (request) => page.asked.push(request.url()));
  await page.goto(`${server.url}/index.html`);
  await page.locator("#record:enabled").waitFor();
  return page;
}

const heard = (page) => page.locator('#text[data-state="done"]').textContent({ timeout: 60_000 });

async function quiet(page) {
  assert.deepEqual(page.noise, []);
  for (const url of page.asked) assert.ok(url.startsWith(server.url) || url.startsWith("blob:"), url);
  await page.close();
}

test("a sample, by keyboard alone", async () => {
  const page = await loaded();
  const first = page.locator("#samples button").first();
  for (let i = 0; i < 20 && !(await first.evaluate((button) => button === document.activeElement)); i++) {
    await page.keyboard.press("Tab");
  }
  assert.ok(await first.evaluate((button) => button === document.activeElement), "Tab does not reach the samples");
  await page.keyboard.press("Enter");
  const text = await heard(page);
  assert.equal(text, await first.textContent());
  const words = await page.locator("#words button").allTextContents();
  assert.equal(words.join(" "), text);
  const label = await page.locator("#words button").first().getAttribute("aria-label");
  assert.match(label, /^\w+, \d\.\d\d to \d\.\d\d seconds, \d+ percent sure; play$/);
  const boxes = await page.locator("#words li").evaluateAll((items) => items.map((item) => item.getBoundingClientRect().left));
  assert.deepEqual(boxes, boxes.toSorted((a, b) => a - b));
  for (const id of ["adapter", "model", "load-time", "run-time", "rtf", "memory"]) {
    assert.notEqual(await page.locator(`#${id}`).textContent(), "–", id);
  }
  const painted = await page.locator("canvas").evaluateAll((all) =>
    all.map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return new Set(new Uint32Array(data.buffer)).size;
    }),
  );
  assert.ok(painted[0] > 1 && painted[1] > 50, `colours: ${painted}`);
  await page.screenshot({ path: join(OUT, "page.png"), fullPage: true });
  await page.setViewportSize({ width: 390, height: 844 });
  await page.waitForTimeout(200);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "scrolls sideways");
  await page.screenshot({ path: join(OUT, "page-narrow.png"), fullPage: true });
  await quiet(page);
});

test("every control has a name", async () => {
  const page = await loaded();
  const nameless = await page.locator("button:visible, input").evaluateAll((all) =>
    all.filter((control) => !(control.textContent.trim() || control.labels?.[0]?.textContent.trim())).map((c) => c.id),
  );
  assert.deepEqual(nameless, []);
  assert.match(await page.locator("header").textContent(), /All audio stays in this page/);
  await quiet(page);
});

test("a chosen file, and one that is no audio", async () => {
  const page = await loaded();
  await page.locator("#file").setInputFiles(join(CORPUS, "flac", "test-en-us-m7-01.flac"));
  await page.locator("#figure").waitFor();
  await page.locator("#play").click();
  await page.locator("#cursor").waitFor();
  await page.locator("#file").setInputFiles({ name: "a.wav", mimeType: "audio/wav", buffer: Buffer.from("nothing") });
  await page.locator("#failure").waitFor();
  assert.match(await page.locator("#failure-text").textContent(), /cannot decode/);
  assert.ok(await page.locator("#record").isEnabled());
  await quiet(page);
});

test("the microphone, with text while one speaks", async () => {
  const page = await loaded();
  await page.locator("#record").click();
  // The false microphone repeats its file without pauses between words; what the model makes of that is its own matter.
  await page.locator('#text[data-state="partial"]').waitFor({ timeout: 60_000 });
  assert.equal(await page.locator("#record").getAttribute("aria-pressed"), "true");
  await page.screenshot({ path: join(OUT, "page-recording.png"), fullPage: true });
  await page.locator("#record").click();
  const text = await heard(page);
  assert.ok(text.trim().length > 0, text);
  assert.ok((await page.locator("#words button").count()) > 0);
  await quiet(page);
});

test("without WebGPU the page says what to do", async () => {
  const page = await open(context, `${server.url}/nowhere/index.html`);
  await page.locator("#failure").waitFor();
  assert.match(await page.locator("#failure-title").textContent(), /no WebGPU/);
  assert.ok(await page.locator("#failure-webgpu").isVisible());
  assert.ok(await page.locator("#inputs").isHidden());
  await page.screenshot({ path: join(OUT, "page-no-webgpu.png"), fullPage: true });
  assert.deepEqual(page.noise, []);
  await page.close();
});
