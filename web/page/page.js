import * as lesson from "./lesson.js";
import { Polymix } from "./polymix.js";
import { joined, unplayed, wav } from "./sound.js";

const at = (id) => document.getElementById(id);

/** Clips of the carried corpus that the model was not trained on: of voices that it has not heard, and of people whom it has. */
const SAMPLES = {
  voices: [
    ["six", "samples/flac/test-en-us-m7-03.flac"],
    ["stop", "samples/flac/test-en-us-nyc-linda-07.flac"],
    ["nine zero", "samples/flac/test-en-us-f4-00.flac"],
    ["up eight right", "samples/flac/test-en-us-m7-02.flac"],
    ["eight three one", "samples/flac/test-en-gb-scotland-m5-07.flac"],
  ],
  people: [
    ["seven", "samples/digits/flac/7_jackson_2.flac"],
    ["two", "samples/digits/flac/2_nicolas_2.flac"],
    ["five", "samples/digits/flac/5_theo_2.flac"],
  ],
};

let asr = null;
let busy = false;
/** The microphone while it records: its stream, the pieces of audio, and what ended it before the user did. */
let recording = null;
const RECORD_HINT = at("record-hint").textContent;
/** What the figure shows: `{ samples, seconds, features, url }`. */
let shown = null;

const player = new Audio();

const milliseconds = (ms) => (ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

async function load() {
  at("failure").hidden = true;
  at("loading").hidden = false;
  at("tabs").hidden = at("panels").hidden = false;
  try {
    asr = await Polymix.load("model/", {
      onProgress({ loaded, total }) {
        if (loaded === total) {
          at("progress").removeAttribute("value");
          at("loading-text").textContent = "Compiling for this GPU…";
        } else {
          at("progress").value = total ? loaded / total : 0;
          at("loading-text").textContent = "Loading the model…";
        }
      },
    });
  } catch (error) {
    return fail(error);
  } finally {
    at("loading").hidden = true;
  }
  const { adapter, loadMs, chunkMs } = asr.info;
  at("adapter").textContent = adapter;
  showModel(false);
  at("load-time").textContent = milliseconds(loadMs);
  for (const control of controls()) control.disabled = false;
  at("record").disabled = chunkMs === null;
  await Promise.all([showMemory(), lesson.begin(asr)]);
}

function showModel(taught) {
  at("model").textContent = `${(asr.info.parameters / 1e6).toFixed(1)} M parameters${taught ? ", taught" : ""}`;
}

/** What went wrong as a sentence; names such as those of files stay as they are written. */
function sentence(error) {
  const text = String(error?.message || error).replace(/\.$/, "");
  const begun = /^[a-z]+[ ,']/.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
  return `${begun}.`;
}

function fail(error) {
  const titles = {
    "no-webgpu": "This browser has no WebGPU",
    limits: "The GPU is too small",
    "device-lost": "The GPU was lost",
    "bad-model": "The model cannot be loaded",
    "bad-audio": "This audio cannot be heard",
  };
  at("failure-title").textContent = titles[error?.code] ?? "Something failed";
  at("failure-text").textContent = sentence(error);
  at("failure-webgpu").hidden = error?.code !== "no-webgpu";
  at("retry").hidden = asr !== null;
  at("tabs").hidden = at("panels").hidden = asr === null;
  at("failure").hidden = false;
  clear();
  reveal(at("failure"), "nearest");
}

/** Nothing of an earlier clip stays beside what comes now. */
function clear() {
  at("figure").hidden = true;
  at("words").replaceChildren();
  at("run-time").textContent = at("rtf").textContent = "–";
  if (shown) unplayed(player, [shown.url]);
  shown = null;
  say("", "empty");
}

/** Scrolls to what is outside the window, as on a phone. */
function reveal(element, block) {
  const { top, bottom } = element.getBoundingClientRect();
  if (top >= 0 && bottom <= innerHeight) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block, behavior: still ? "auto" : "smooth" });
}

const controls = () => document.querySelectorAll("#inputs button, #inputs input");

/** How the next clip is decoded: with a search where there are words to listen for. */
function decoder() {
  const hotWords = at("hot-words").value.split(/[,;]/).map((words) => words.trim()).filter(Boolean);
  return hotWords.length > 0 ? { beam: 100, hotWords } : undefined;
}

/** While one clip is transcribed no other is begun. Controls stay enabled all the same, so that none loses the focus. */
function work(on) {
  busy = on;
  for (const control of controls()) control.setAttribute("aria-disabled", String(on && control !== at("record")));
}

function say(text, state) {
  at("text").textContent = text;
  at("text").dataset.state = state;
}

function sayTranscript({ text }) {
  say(text || "(no word was heard)", text ? "done" : "empty");
}

async function showMemory() {
  const memory = await asr.memory().catch(() => null);
  at("memory").textContent = memory ? mebibytes(memory.gpu) : "–";
}

/** Begins a transcription, if none is running. */
function begin() {
  if (busy || !asr) return false;
  work(true);
  at("record").setAttribute("aria-disabled", "true");
  at("failure").hidden = true;
  at("record-hint").textContent = RECORD_HINT;
  clear();
  return true;
}

/** Transcribes a file, or what the sample's address holds. */
async function transcribe(name, blob) {
  if (!begin()) return;
  say("Listening…", "busy");
  try {
    const file = await blob();
    const audio = await Polymix.decode(file);
    const { samples, sampleRate, channel } = await asr.mono(audio);
    const transcript = await asr.transcribe(samples, { sampleRate, decoder: decoder() });
    const label = channel === "mix" ? name : `${name} (channel ${channel}: the channels cancel each other out)`;
    await show(label, samples, sampleRate, transcript, file);
    measured(transcript.ms, transcript.rtf);
  } catch (error) {
    fail(error);
  } finally {
    work(false);
  }
  await showMemory();
}

function measured(ms, rtf) {
  at("run-time").textContent = milliseconds(ms);
  at("rtf").textContent = rtf.toFixed(3);
}

async function toggleRecording() {
  if (recording) return finishRecording();
  if (!begin()) return;
  const begun = { stream: null, pieces: [], ended: null };
  try {
    begun.stream = await asr.listen({
      decoder: decoder(),
      onPartial: ({ text }) => say(text, "partial"),
      onAudio: (samples, sampleRate) => begun.pieces.push({ samples, sampleRate }),
      onError: (error) => (at("record-hint").textContent = sentence(error)),
      onEnd(error) {
        begun.ended = error;
        if (recording === begun) finishRecording();
      },
    });
    recording = begun;
    say("Speak now.", "busy");
    at("record").textContent = "Stop";
    at("record").setAttribute("aria-pressed", "true");
    at("record").setAttribute("aria-disabled", "false");
    reveal(at("text"), "nearest");
    if (begun.ended) await finishRecording();
  } catch (error) {
    fail(error);
    work(false);
  }
}

async function finishRecording() {
  const { stream, pieces, ended } = recording;
  recording = null;
  at("record").textContent = "Record";
  at("record").setAttribute("aria-pressed", "false");
  at("record").setAttribute("aria-disabled", "true");
  try {
    const begun = performance.now();
    const transcript = await stream.finish();
    const ms = performance.now() - begun;
    at("record-hint").textContent = ended ? sentence(ended) : RECORD_HINT;
    const samples = joined(pieces.map((piece) => piece.samples));
    if (samples.length === 0) return sayTranscript(transcript);
    const { sampleRate } = pieces[0];
    await show("recording", samples, sampleRate, transcript, wav(samples, sampleRate));
    at("run-time").textContent = `${milliseconds(ms)} after the end`;
    at("rtf").textContent = "live";
  } catch (error) {
    fail(error);
  } finally {
    work(false);
  }
}

async function show(name, samples, sampleRate, transcript, file) {
  const seconds = samples.length / sampleRate;
  const features = await asr.features(samples, { sampleRate });
  shown = { samples, seconds, features, url: URL.createObjectURL(file) };
  at("figure").hidden = false;
  sayTranscript(transcript);
  at("caption").textContent = `${name}, ${seconds.toFixed(2)} s at ${sampleRate} Hz`;
  const items = transcript.words.map(({ word, start, end, confidence }) => {
    const item = document.createElement("li");
    item.style.left = `${(100 * start) / seconds}%`;
    item.style.width = `${(100 * Math.max(end - start, 0.02)) / seconds}%`;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = word;
    const times = `${start.toFixed(2)} to ${end.toFixed(2)} seconds, ${Math.round(100 * confidence)} percent sure`;
    button.title = times;
    button.setAttribute("aria-label", `${word}, ${times}; play`);
    button.addEventListener("click", () => play(start, end));
    item.append(button);
    return item;
  });
  at("words").replaceChildren(...items);
  draw();
  reveal(at("result"), "start");
}

function draw() {
  if (!shown) return;
  const scale = devicePixelRatio;
  for (const [id, paint] of [["wave", paintWave], ["mel", paintMel]]) {
    const canvas = at(id);
    const height = id === "wave" ? 72 : 160;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
    paint(canvas);
  }
}

function paintWave(canvas) {
  const { samples } = shown;
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(at("record")).backgroundColor;
  const column = samples.length / width;
  // Of a long clip some hundred samples a column show as much as all.
  const step = Math.max(1, Math.floor(column / 200));
  const extremes = [];
  let loudest = 1e-3;
  for (let x = 0; x < width; x++) {
    let [low, high] = [0, 0];
    const end = Math.min(samples.length, Math.max(Math.floor(x * column) + 1, (x + 1) * column));
    for (let i = Math.floor(x * column); i < end; i += step) {
      low = Math.min(low, samples[i]);
      high = Math.max(high, samples[i]);
    }
    extremes.push([low, high]);
    loudest = Math.max(loudest, high, -low);
  }
  extremes.forEach(([low, high], x) => {
    const top = (height / 2) * (1 - high / loudest);
    context.fillRect(x, top, 1, Math.max(1, ((high - low) / loudest) * (height / 2)));
  });
}

/** Black, violet, orange, yellow: lightness rises all the way, so that it reads without color too. */
const STOPS = [[0, 0, 4], [51, 16, 104], [136, 34, 106], [212, 72, 66], [251, 155, 6], [252, 255, 164]];

/** 256 colors, as the words of an image. */
const COLOURS = Uint32Array.from({ length: 256 }, (_, i) => {
  const place = (i / 256) * (STOPS.length - 1);
  const [low, high] = [STOPS[Math.floor(place)], STOPS[Math.floor(place) + 1]];
  const [r, g, b] = low.map((x, channel) => Math.round(x + (place % 1) * (high[channel] - x)));
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
});

function paintMel(canvas) {
  const { data, shape: [frames, bands] } = shown.features;
  // The silence that the model adds at both ends is no part of the clip.
  const silent = Math.round(asr.info.silence * 100);
  const count = Math.max(1, frames - 2 * silent);
  const columns = Math.min(count, canvas.width);
  const frame = (column) => (silent + Math.floor((column * count) / columns)) * bands;
  const some = Float32Array.from({ length: 4000 }, (_, i) => data[frame((i * columns) / 4000) + ((i * 37) % bands)]).sort();
  const [floor, ceiling] = [some[200], some[3980]];
  const scale = 255 / Math.max(1e-3, ceiling - floor);
  const pixels = new Uint32Array(columns * bands);
  for (let column = 0; column < columns; column++) {
    const from = frame(column);
    for (let band = 0; band < bands; band++) {
      const value = Math.min(255, Math.max(0, (data[from + band] - floor) * scale));
      pixels[(bands - 1 - band) * columns + column] = COLOURS[value | 0];
    }
  }
  const small = new OffscreenCanvas(columns, bands);
  const image = new ImageData(new Uint8ClampedArray(pixels.buffer), columns, bands);
  small.getContext("2d").putImageData(image, 0, 0);
  canvas.getContext("2d").drawImage(small, 0, 0, canvas.width, canvas.height);
}

function play(start = 0, end = Infinity) {
  if (!shown) return;
  if (player.src !== shown.url) player.src = shown.url;
  player.currentTime = start;
  // Another clip may pause it before it begins.
  player.play().catch(() => {});
  at("cursor").hidden = false;
  const step = () => {
    if (player.currentTime >= end) player.pause();
    if (shown) at("cursor").style.left = `${Math.min(100, (100 * player.currentTime) / shown.seconds)}%`;
    if (!player.paused && !player.ended) return requestAnimationFrame(step);
    at("cursor").hidden = true;
    at("play").textContent = "Play";
  };
  at("play").textContent = "Pause";
  requestAnimationFrame(step);
}

async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: the server answers ${response.status}; load the page again`);
  return response.blob();
}

for (const [kind, samples] of Object.entries(SAMPLES)) {
  for (const [label, url] of samples) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.disabled = true;
    button.addEventListener("click", () => transcribe(url.split("/").pop(), () => fetched(url)));
    at(kind).append(button);
  }
}
at("file").addEventListener("change", () => {
  const [file] = at("file").files;
  if (file) transcribe(file.name, async () => file);
  // The same file may be chosen again.
  at("file").value = "";
});
at("file").addEventListener("click", (event) => busy && event.preventDefault());
at("record").addEventListener("click", toggleRecording);
at("retry").addEventListener("click", load);
at("play").addEventListener("click", () => (player.paused ? play() : player.pause()));
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    const file = kind === "drop" ? event.dataTransfer.files[0] : null;
    if (file && !at("hear").hidden) transcribe(file.name, async () => file);
  });
}
let redraw = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(redraw);
  redraw = requestAnimationFrame(draw);
});

lesson.prepare({ sentence, taught: showModel, shown: draw });
load();
