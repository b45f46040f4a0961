// The page in Chromium: a sample, files, the microphone, the keyboard, a phone, no WebGPU; screenshots in target/web.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { CORPUS, OUT } from "./browser.mjs";
import { shared } from "./shared.mjs";

let opening = null;

/** The page once its model is loaded; `asked` has the addresses that it asked for. */
const visited = () =>
  (opening ??= (async () => {
    const page = await opened("/dist/index.html", { viewport: { width: 1100, height: 960 } });
    await page.locator("#record:enabled").waitFor({ timeout: 120_000 });
    return page;
  })());

async function opened(path, options) {
  const { browser, server } = await shared();
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.noise = [];
  page.asked = [];
  page.on("console", (message) => page.noise.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => page.noise.push(`error: ${error.message}`));
  page.on("request", (request) => page.asked.push(request.url()));
  // What plays is no element of the page.
  await page.addInitScript(() => {
    const { play } = HTMLMediaElement.prototype;
    HTMLMediaElement.prototype.play = function () {
      globalThis.player = this;
      return play.call(this);
    };
  });
  await page.goto(`${server.url}${path}`);
  return page;
}

/** Nothing was printed since the last call, and nobody else was asked. */
async function quiet(page) {
  const { server } = await shared();
  assert.deepEqual(page.noise.splice(0), []);
  for (const url of page.asked) assert.ok(url.startsWith(server.url) || url.startsWith("blob:"), url);
}

/** What was heard last, and that it can be seen. */
async function heard(page) {
  const text = await page.locator('#text[data-state="done"]').textContent({ timeout: 60_000 });
  await page.locator("#figure").waitFor();
  await page.locator('#samples button[aria-disabled="false"]').first().waitFor();
  return text;
}

test("a sample, by keyboard alone, keeps the focus", async () => {
  const page = await visited();
  const first = page.locator("#samples button").first();
  const focused = () => first.evaluate((button) => button === document.activeElement);
  for (let i = 0; i < 20 && !(await focused()); i++) await page.keyboard.press("Tab");
  assert.ok(await focused(), "Tab does not reach the samples");
  await page.keyboard.press("Enter");
  const text = await heard(page);
  assert.equal(text, await first.textContent());
  assert.ok(await focused(), "the focus is lost");
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
  assert.ok(painted[0] > 1 && painted[1] > 50, `colors: ${painted}`);
  assert.match(await page.locator("#knows").textContent(), /twenty English words, alone and in strings/);
  await page.screenshot({ path: join(OUT, "page.png"), fullPage: true });
  await quiet(page);
});

test("every control has a name, a height for fingers, and a border that can be seen", async () => {
  const page = await visited();
  const controls = page.locator("button:visible, .button:visible");
  const nameless = await page.locator("button:visible, input").evaluateAll((all) =>
    all.filter((control) => !(control.textContent.trim() || control.labels?.[0]?.textContent.trim())).map((c) => c.id),
  );
  assert.deepEqual(nameless, []);
  assert.match(await page.locator("header").textContent(), /All audio stays in this page/);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    const measured = await controls.evaluateAll((all) => {
      const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
      const luminance = (color) => {
        pixel.fillStyle = color;
        pixel.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...pixel.getImageData(0, 0, 1, 1).data].map((x) => {
          const share = x / 255;
          return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      return all.map((control) => {
        const behind = getComputedStyle(control.closest(".card, .result, .failure")).backgroundColor;
        const [one, two] = [luminance(getComputedStyle(control).borderTopColor), luminance(behind)].sort((a, b) => b - a);
        return [control.textContent, control.getBoundingClientRect().height, (one + 0.05) / (two + 0.05)];
      });
    });
    assert.ok(measured.length > 8);
    for (const [name, height, contrast] of measured) {
      assert.ok(height >= 44 && contrast >= 3, `${name}, ${colorScheme}: ${height} px high, ${contrast.toFixed(2)}:1`);
    }
  }
  await page.emulateMedia({ colorScheme: null });
});

test("every sample is heard as its button says", async () => {
  const page = await visited();
  for (const button of await page.locator("#samples button").all()) {
    await button.click();
    assert.equal(await heard(page), await button.textContent());
  }
  await quiet(page);
});

test("words to listen for go with the next clip", async () => {
  const page = await visited();
  await page.evaluate(async () => {
    const { Polymix } = await import("./polymix.js");
    const { transcribe } = Polymix.prototype;
    Polymix.prototype.transcribe = function (audio, options) {
      globalThis.asked = options.decoder ?? null;
      return transcribe.call(this, audio, options);
    };
  });
  const sample = page.locator("#samples button").first();
  for (const [typed, hotWords] of [["zero, nine ;", ["zero", "nine"]], ["", null]]) {
    await page.locator("#hot-words").fill(typed);
    await sample.click();
    assert.equal(await heard(page), await sample.textContent());
    assert.deepEqual(await page.evaluate(() => globalThis.asked?.hotWords ?? null), hotWords);
  }
  await quiet(page);
});

/** A WAV of a second in two channels of 16 bits; `sample(i)` gives both. */
function stereo(sample) {
  const file = Buffer.alloc(44 + 4 * 16000);
  file.write("RIFF");
  file.writeUInt32LE(file.length - 8, 4);
  file.write("WAVEfmt ", 8);
  [16, 0x20001, 16000, 64000, 0x100004].forEach((word, i) => file.writeUInt32LE(word, 16 + 4 * i));
  file.write("data", 36);
  file.writeUInt32LE(file.length - 44, 40);
  for (let i = 0; i < 16000; i++) sample(i).forEach((x, channel) => file.writeInt16LE(x, 44 + 4 * i + 2 * channel));
  return file;
}

test("what was heard is drawn, whichever channel it is in", async () => {
  const page = await visited();
  const tone = (i) => Math.round(9000 * Math.sin(i / 5));
  for (const [name, sample, said] of [
    ["right.wav", (i) => [0, tone(i)], /^right\.wav, 1\.00 s at 16000 Hz$/],
    ["inverted.wav", (i) => [tone(i), -tone(i)], /channel 1: the channels cancel each other out/],
  ]) {
    await page.locator("#file").setInputFiles({ name, mimeType: "audio/wav", buffer: stereo(sample) });
    await page.locator("#caption", { hasText: name }).waitFor();
    assert.match(await page.locator("#caption").textContent(), said);
    const inked = await page.locator("#wave").evaluate((canvas) => {
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
      return data.filter((x, i) => i % 4 === 3 && x > 0).length / (data.length / 4);
    });
    assert.ok(inked > 0.5, `${name}: ${inked}`);
    await page.locator('#samples button[aria-disabled="false"]').first().waitFor();
  }
});

test("a file, played, then one that is no audio: nothing of the first stays", async () => {
  const page = await visited();
  await page.locator("#file").setInputFiles(join(CORPUS, "flac", "test-en-us-m7-01.flac"));
  await heard(page);
  await page.locator("#play").click();
  await page.locator("#cursor").waitFor();
  await page.evaluate(() => (player.loop = true));
  await page.locator("#file").setInputFiles({ name: "model.safetensors", mimeType: "", buffer: Buffer.from("nothing") });
  await page.locator("#failure").waitFor();
  assert.match(await page.locator("#failure-text").textContent(), /^This browser cannot decode model\.safetensors/);
  assert.ok(await page.evaluate(() => player.paused), "the first file still plays");
  assert.equal(await page.locator("#text").textContent(), "");
  assert.ok(await page.locator("#figure").isHidden());
  assert.equal(await page.locator("#words button").count(), 0);
  assert.equal(await page.locator("#run-time").textContent(), "–");
  assert.ok(await page.locator("#record").isEnabled());
  await page.locator("#file").setInputFiles({ name: "empty.wav", mimeType: "audio/wav", buffer: Buffer.alloc(0) });
  assert.match(await page.locator("#failure-text", { hasText: "empty" }).textContent(), /^empty\.wav is no audio/);
  await quiet(page);
});

test("the microphone, with text while one speaks; one that is unplugged ends the recording", async () => {
  const page = await visited();
  await page.evaluate(async () => {
    const context = new AudioContext();
    const sink = context.createMediaStreamDestination();
    const bytes = await (await fetch("samples/flac/test-en-us-m7-03.flac")).arrayBuffer();
    const buffer = await context.decodeAudioData(bytes);
    const source = new AudioBufferSourceNode(context, { buffer, loop: true });
    source.connect(sink);
    source.start();
    navigator.mediaDevices.getUserMedia = async () => (globalThis.microphone = sink.stream.clone());
  });
  await page.locator("#samples button").first().click();
  await heard(page);
  await page.locator("#play").click();
  await page.evaluate(() => (player.loop = true));
  await page.locator("#record").click();
  await page.locator('#text[data-state="partial"]').waitFor({ timeout: 60_000 });
  assert.ok(await page.evaluate(() => player.paused), "the sample plays into the recording");
  assert.ok(await page.locator("#figure").isHidden());
  assert.equal(await page.locator("#record").getAttribute("aria-pressed"), "true");
  await page.screenshot({ path: join(OUT, "page-recording.png"), fullPage: true });
  await page.locator("#record").click();
  assert.ok((await heard(page)).trim().length > 0);
  assert.ok((await page.locator("#words button").count()) > 0);
  await page.locator("#record").click();
  await page.locator('#text[data-state="partial"]').waitFor({ timeout: 60_000 });
  await page.evaluate(() => microphone.getTracks()[0].dispatchEvent(new Event("ended")));
  await page.locator('#record[aria-pressed="false"]').waitFor();
  await page.locator("#figure").waitFor();
  assert.match(await page.locator("#record-hint").textContent(), /^The microphone was unplugged/);
  await quiet(page);
});

/** Lets the page's microphone play a clip of the corpus, once, as soon as the page says that one may speak. */
const speaking = (page, clip) =>
  page.evaluate(async (clip) => {
    const bytes = await (await fetch(`/corpus/flac/${clip}.flac`)).arrayBuffer();
    navigator.mediaDevices.getUserMedia = async () => {
      const context = new AudioContext();
      const buffer = await context.decodeAudioData(bytes.slice(0));
      const source = new AudioBufferSourceNode(context, { buffer });
      const sink = context.createMediaStreamDestination();
      source.connect(sink);
      const note = document.querySelector("#teach-note");
      note.textContent = "";
      const waiting = setInterval(() => {
        if (note.textContent !== "Speak now.") return;
        clearInterval(waiting);
        source.start(context.currentTime + 0.1);
      }, 20);
      return sink.stream;
    };
  }, clip);

test("words are taught by keyboard alone, heard, exported, forgotten, and imported", async () => {
  const page = await visited();
  await page.setViewportSize({ width: 390, height: 844 });
  await page.locator("#hear-tab").focus();
  await page.keyboard.press("ArrowRight");
  assert.ok(await page.locator("#teach").isVisible() && (await page.locator("#hear").isHidden()));
  assert.equal(await page.evaluate(() => document.activeElement.id), "teach-tab");
  await page.locator("#learn").click();
  assert.match(await page.locator("#learned").textContent(), /^Add 2 words/);
  const clips = { Rojo: ["test-en-us-m7-06", "test-en-us-m7-06"], neun: ["test-en-gb-steph-06", "test-en-gb-scotland-m5-05"] };
  for (const [word, voices] of Object.entries(clips)) {
    await page.locator("#word").focus();
    await page.keyboard.type(word);
    await page.keyboard.press("Enter");
    for (const [number, voice] of voices.entries()) {
      await speaking(page, voice);
      // Adding a word puts the focus on its button, and recording leaves it there.
      assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), `Record a take of: ${word}`);
      await page.keyboard.press("Enter");
      await page.locator("#teach-note", { hasText: `Recorded a take of ${word}: ${number + 1} take` }).waitFor();
    }
  }
  const takes = page.locator(".takes li");
  assert.equal(await takes.count(), 4);
  for (const name of await takes.locator("button:first-child").allTextContents()) {
    const seconds = Number(/^Play (\d\.\d) s$/.exec(name)[1]);
    assert.ok(seconds > 0.3 && seconds < 1.5, `a take is not trimmed: ${name}`);
  }
  await takes.last().getByRole("button", { name: "Delete" }).click();
  await page.locator("#teach-note", { hasText: "Deleted a take of neun: 1 take left." }).waitFor();
  assert.equal(await takes.count(), 3);
  await page.locator("#learn").click();
  assert.match(await page.locator("#learned").textContent(), /^Record 2 takes or more of neun/);
  await speaking(page, "test-en-gb-scotland-m5-05");
  await page.locator(".lesson-record").last().click();
  await page.locator("#teach-note", { hasText: "Recorded a take of neun: 2 takes" }).waitFor();
  await page.locator("#steps").fill("40");
  await page.locator("#learn").press("Enter");
  await page.locator("#learned", { hasText: /^(Learned|Nothing was heard)/ }).waitFor({ timeout: 60_000 });
  assert.match(await page.locator("#learned").textContent(), /^Learned\. Of 2 held-back takes, [12] are heard rightly/);
  assert.match(await page.locator("#curve").getAttribute("aria-label"), /at step 40 of 40$/);
  await speaking(page, "test-en-us-m7-06");
  await page.locator("#speak").click();
  await page.locator("#spoken", { hasText: "% sure" }).waitFor();
  assert.match(await page.locator("#spoken").textContent(), /^Rojo \(\d+ % sure\)$/);
  assert.match(await page.locator("#model").textContent(), /, taught$/);
  await page.screenshot({ path: join(OUT, "page-teach.png"), fullPage: true });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "scrolls sideways");
  const small = await page.locator("#teach button:visible").evaluateAll((all) =>
    all.filter((button) => button.getBoundingClientRect().height < 44).map((button) => button.textContent),
  );
  assert.deepEqual(small, []);

  await page.locator("#keep").click();
  await page.locator("#stored", { hasText: "Kept" }).waitFor();
  const downloading = page.waitForEvent("download");
  await page.locator("#export").click();
  const archive = join(OUT, "taught-model.zip");
  await (await downloading).saveAs(archive);
  await page.locator("#forget").click();
  await page.locator("#stored", { hasText: "Forgotten" }).waitFor();
  assert.ok(await page.locator("#restore").isHidden());
  assert.doesNotMatch(await page.locator("#model").textContent(), /taught/);
  await page.locator("#import").setInputFiles(archive);
  await page.locator("#stored", { hasText: "It hears what was taught: Rojo, neun." }).waitFor();
  await page.locator("#speak").click();
  await page.locator("#spoken", { hasText: "% sure" }).waitFor();
  assert.match(await page.locator("#spoken").textContent(), /^Rojo \(/);
  await page.locator("#import").setInputFiles({ name: "a.zip", mimeType: "application/zip", buffer: Buffer.from("nothing") });
  await page.locator("#stored", { hasText: "a.zip cannot be read (it is no zip archive)" }).waitFor();
  await page.locator("#forget").click();
  await page.locator("#stored", { hasText: "Forgotten" }).waitFor();
  await page.locator("#hear-tab").click();
  await page.setViewportSize({ width: 1100, height: 960 });
  await quiet(page);
});

test("on a phone the result is scrolled to", async () => {
  const page = await visited();
  await page.setViewportSize({ width: 390, height: 667 });
  await page.emulateMedia({ reducedMotion: "reduce" });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "scrolls sideways");
  await page.evaluate(() => scrollTo(0, 0));
  await page.locator("#samples button").first().click();
  await heard(page);
  const seen = (id) => page.locator(id).evaluate((element) => {
    const { top, bottom } = element.getBoundingClientRect();
    return top >= 0 && bottom <= innerHeight;
  });
  assert.ok(await seen("#text"), "the text is outside the window");
  await page.locator("#file").setInputFiles({ name: "a.wav", mimeType: "audio/wav", buffer: Buffer.from("nothing") });
  await page.locator("#failure").waitFor();
  assert.ok(await seen("#failure-text"), "the error is outside the window");
  await page.screenshot({ path: join(OUT, "page-narrow.png"), fullPage: true });
  await quiet(page);
  await page.close();
});

test("without WebGPU the page says what to do; where one touches, nothing is dropped", async () => {
  const page = await opened("/dist~no-webgpu/index.html", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await page.locator("#failure").waitFor();
  assert.match(await page.locator("#failure-title").textContent(), /no WebGPU/);
  assert.ok(await page.locator("#failure-webgpu").isVisible());
  assert.ok(await page.locator("#inputs").isHidden());
  assert.equal(await page.locator(".drop").evaluate((hint) => getComputedStyle(hint).display), "none");
  await page.screenshot({ path: join(OUT, "page-no-webgpu.png"), fullPage: true });
  assert.deepEqual(page.noise, []);
  await page.close();
});
