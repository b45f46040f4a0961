// What the tests share: the browser, its console, memory of its processes, clips, and the command to compare with.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { chromium } from "playwright-core";

export const WEB = dirname(dirname(fileURLToPath(import.meta.url)));
export const ROOT = dirname(WEB);
export const DIST = join(WEB, "dist");
export const CORPUS = join(ROOT, "corpus");
export const OUT = join(ROOT, "target", "web");

const run = promisify(execFile);

/** Chromium with WebGPU, on the GPU that POLYMIX_WEB_ADAPTER names, by default the software one. */
export async function launch() {
  const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
  assert.ok(executablePath, "there is no chromium here; run scripts/setup test");
  const adapter = process.env.POLYMIX_WEB_ADAPTER ?? "swiftshader";
  const args = [
    "--no-sandbox",
    "--enable-unsafe-webgpu",
    ...(adapter === "auto" ? [] : [`--use-webgpu-adapter=${adapter}`]),
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-domain-blocking-for-3d-apis",
    "--disable-gpu-process-crash-limit",
    "--autoplay-policy=no-user-gesture-required",
    // A microphone that beeps, and nobody to ask.
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
  ];
  return chromium.launch({ executablePath, headless: true, args });
}

/** A page whose console must stay silent: `page.noise` collects what it says. */
export async function open(context, url) {
  const page = await context.newPage();
  page.noise = [];
  page.on("console", (message) => page.noise.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => page.noise.push(`error: ${error.message}`));
  await page.goto(url);
  return page;
}

/** The browser's processes: `{ type, id }`. */
export async function processes(browser) {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  return processInfo;
}

/** Resident memory of all processes of the browser, in MiB by kind. */
export async function resident(browser) {
  const kinds = { all: 0 };
  for (const { type, id } of await processes(browser)) {
    const status = await readFile(`/proc/${id}/status`, "utf8").catch(() => "");
    const mebibytes = Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024;
    kinds[type] = (kinds[type] ?? 0) + mebibytes;
    kinds.all += mebibytes;
  }
  return kinds;
}

/** The lines of a manifest of the corpus. */
export async function clips(manifest) {
  const lines = (await readFile(join(CORPUS, manifest), "utf8")).trim().split("\n");
  return lines.map((line) => JSON.parse(line));
}

/** Runs the `polymix` command on the native adapter. */
export async function polymix(...args) {
  const binary = join(ROOT, "target", "debug", "polymix");
  const device = process.env.POLYMIX_DEVICE ? ["--device", process.env.POLYMIX_DEVICE] : [];
  const { stdout } = await run(binary, [...args, ...device, "--quiet"], { maxBuffer: 1 << 26 });
  return stdout;
}

/** Writes a WAV of 32-bit floats, which loses nothing. */
export async function writeWav(path, samples, sampleRate) {
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + 4 * samples.length, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(3, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(sampleRate, 24);
  header.writeUInt32LE(4 * sampleRate, 28);
  header.writeUInt16LE(4, 32);
  header.writeUInt16LE(32, 34);
  header.write("data", 36);
  header.writeUInt32LE(4 * samples.length, 40);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, Buffer.concat([header, Buffer.from(Float32Array.from(samples).buffer)]));
}

/** The F32 tensors of a safetensors file. */
export async function tensors(path) {
  const file = await readFile(path);
  const length = Number(file.readBigUInt64LE(0));
  const table = JSON.parse(file.subarray(8, 8 + length).toString());
  const entries = Object.entries(table).filter(([name]) => name !== "__metadata__");
  return Object.fromEntries(
    entries.map(([name, { shape, data_offsets: [start, end] }]) => {
      const bytes = file.subarray(8 + length + start, 8 + length + end);
      return [name, { shape, data: new Float32Array(new Uint8Array(bytes).buffer) }];
    }),
  );
}
