// The tab in which the model is taught: words, takes of each, training with its curve, and a test of the result.

import { Capture } from "./capture.js";
import { Polymix } from "./polymix.js";
import { isSpeech, joined, loudness, trimmed, unplayed, wav } from "./sound.js";
import { packed, unpacked } from "./zip.js";

const at = (id) => document.getElementById(id);

/** The model that the page comes with, and the name under which the browser keeps what was taught. */
const [BASE, NAME] = ["model/", "taught"];
/** The file in which an export tells its words. */
const WORDS = "words.json";
/** Seconds of a recording at the most, of one of no word, and of the quiet that ends one. */
const [LONGEST, NO_WORD, QUIET] = [5, 2, 0.8];
/** Milliseconds that the browser has to open the microphone's part. */
const STALL = 30_000;
/** Least confidence of a word that is taken for one of the taught. */
const SURE = 0.5;
/** Takes and words without which learning is not begun. */
const [LEAST_TAKES, LEAST_WORDS] = [2, 2];

let asr = null;
let page = null;
/** `{ text, takes: [{ samples, sampleRate, url, item }], item }`; the first is what is none of the words. */
const words = [];
/** What records: `{ button, stop }`. */
let recording = null;
/** Aborts what learns. */
let learning = null;
/** The files of the model that was taught, and its words. */
let taught = null;
const player = new Audio();

/** What was said, as it is compared. */
const plain = (text) => text.normalize("NFC").toLowerCase().trim().replace(/\s+/g, " ");
const named = ({ text }) => text || "None of these";
const counted = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

function note(text) {
  at("teach-note").textContent = text;
}

function addWord(text) {
  const word = { text, takes: [], item: at("lesson").content.firstElementChild.cloneNode(true) };
  const [title, count, record, remove] = [".lesson-name", ".lesson-count", ".lesson-record", ".lesson-remove"].map((name) =>
    word.item.querySelector(name),
  );
  title.textContent = named(word);
  word.count = count;
  record.setAttribute("aria-label", `Record a take of: ${named(word)}`);
  record.addEventListener("click", () => toggleTake(word, record));
  remove.setAttribute("aria-label", `Remove: ${named(word)}`);
  remove.addEventListener("click", () => {
    if (recording?.button === record) return;
    unplayed(player, word.takes.map((take) => take.url));
    words.splice(words.indexOf(word), 1);
    word.item.remove();
    changed();
    at("word").focus();
  });
  remove.hidden = text === "";
  words.push(word);
  at("lessons").append(word.item);
  changed();
  return word;
}

function addTake(word, samples, sampleRate) {
  const item = at("take").content.firstElementChild.cloneNode(true);
  const [play, remove] = item.querySelectorAll("button");
  const take = { samples, sampleRate, item, url: URL.createObjectURL(wav(samples, sampleRate)) };
  const seconds = `${(samples.length / sampleRate).toFixed(1)} s`;
  play.textContent = `Play ${seconds}`;
  play.setAttribute("aria-label", `Play a take of ${named(word)}, ${seconds}`);
  play.addEventListener("click", () => {
    player.src = take.url;
    // Another take may come before it begins.
    player.play().catch(() => {});
  });
  remove.setAttribute("aria-label", `Delete the take of ${named(word)}, ${seconds}`);
  remove.addEventListener("click", () => {
    unplayed(player, [take.url]);
    word.takes.splice(word.takes.indexOf(take), 1);
    item.remove();
    word.item.querySelector(".lesson-record").focus();
    note(`Deleted a take of ${named(word)}: ${counted(word.takes.length, "take")} left.`);
    changed();
  });
  word.takes.push(take);
  word.item.querySelector(".takes").append(item);
  changed();
}

/** What the lists say and the buttons allow now. */
function changed() {
  for (const { count, takes } of words) count.textContent = counted(takes.length, "take");
  const ready = asr !== null;
  for (const button of at("teach").querySelectorAll("button, input, select")) button.disabled = !ready;
  const idle = !recording && !learning;
  for (const button of at("lessons").querySelectorAll(".lesson-record")) {
    button.setAttribute("aria-disabled", String(Boolean(learning) || (recording && recording.button !== button)));
  }
  at("learn").setAttribute("aria-disabled", String(Boolean(recording)));
  at("learn").textContent = learning ? "Stop learning" : "Learn";
  at("speak").setAttribute("aria-disabled", String(!taught || Boolean(learning) || (recording && recording.button !== at("speak"))));
  for (const id of ["keep", "export"]) at(id).setAttribute("aria-disabled", String(!taught || !idle));
  for (const id of ["forget", "import"]) at(id).setAttribute("aria-disabled", String(!idle));
}

const off = (button) => button.getAttribute("aria-disabled") === "true";

/** Records until the button is pressed again, a word is followed by quiet, or the time is over; the samples, if any. */
async function record(button, seconds, quietEnds) {
  const label = button.textContent;
  const pieces = [];
  let [most, quiet, length] = [0, 0, 0];
  let stop;
  const over = new Promise((resolve) => (stop = resolve));
  recording = { button, stop };
  player.pause();
  note("");
  changed();
  button.textContent = "Stop";
  button.setAttribute("aria-pressed", "true");
  let capture = null;
  try {
    capture = await Capture.open(null, STALL);
    const { sampleRate } = capture;
    const onSamples = (samples) => {
      pieces.push(samples);
      length += samples.length;
      const now = loudness(samples);
      // The meter shows from -60 dB on.
      at("level").value = Math.max(0, 1 + Math.log10(Math.max(now, 1e-6)) / 3);
      most = Math.max(most, now);
      quiet = isSpeech(now, most) ? 0 : quiet + samples.length / sampleRate;
      const said = quietEnds && most > 0.02 && quiet > QUIET;
      if (said || length > seconds * sampleRate) stop();
    };
    await capture.start(onSamples, (error, last) => {
      note(page.sentence(error));
      if (last) stop();
    });
    note("Speak now.");
    await over;
    return { samples: joined(pieces), sampleRate };
  } catch (error) {
    note(page.sentence(error));
    return null;
  } finally {
    await capture?.close();
    recording = null;
    at("level").value = 0;
    button.textContent = label;
    button.setAttribute("aria-pressed", "false");
    changed();
  }
}

async function toggleTake(word, button) {
  if (recording?.button === button) return recording.stop();
  if (off(button)) return;
  const take = await record(button, word.text ? LONGEST : NO_WORD, word.text !== "");
  if (!take || take.samples.length === 0) return;
  const { sampleRate } = take;
  const samples = word.text ? trimmed(take.samples, sampleRate) : take.samples;
  if (!samples) return note("Nothing but quiet was heard: speak closer to the microphone, and record again.");
  addTake(word, samples, sampleRate);
  note(`Recorded a take of ${named(word)}: ${counted(word.takes.length, "take")}.`);
}

/** Why learning cannot begin yet; nothing where it can. */
function lacking() {
  const said = words.filter(({ text }) => text);
  if (said.length < LEAST_WORDS) return `Add ${LEAST_WORDS} words or more first.`;
  const few = said.find(({ takes }) => takes.length < LEAST_TAKES);
  return few && `Record ${LEAST_TAKES} takes or more of ${named(few)} first; three to five are better.`;
}

async function learn() {
  if (learning) return learning.abort();
  if (off(at("learn"))) return;
  const reason = lacking();
  if (reason) return (at("learned").textContent = reason);
  learning = new AbortController();
  const { signal } = learning;
  const examples = words.flatMap(({ text, takes }) =>
    takes.map(({ samples, sampleRate }) => ({ audio: samples, sampleRate, text })),
  );
  const curve = { losses: [], heldOut: [] };
  at("learned").textContent = "Listening to the takes…";
  changed();
  try {
    const layers = at("layers").value;
    const session = await asr.adapt({
      examples,
      layers: /^\d+$/.test(layers) ? { last: Number(layers) } : layers,
      steps: Number(at("steps").value),
      signal,
      onProgress: ({ step, steps, loss, heldOut }) => {
        if (loss !== null) curve.losses.push(loss);
        if (heldOut) {
          curve.heldOut.push([step, heldOut.loss]);
          const { right, takes } = heldOut;
          // Told a few times in all, so that a screen reader can follow.
          at("learned").textContent = `Step ${step} of ${steps}: ${right} of ${counted(takes, "held-back take")} heard rightly.`;
        }
        draw(curve, steps);
      },
    });
    const { better, before, after, leftOut } = session;
    const out = leftOut.length > 0 ? ` ${counted(leftOut.length, "take")} could not be learned: ${leftOut[0].reason}.` : "";
    if (better) {
      await teach({ files: await session.save(), words: words.map(({ text }) => text).filter(Boolean) });
      at("learned").textContent =
        `Learned. Of ${counted(after.takes, "held-back take")}, ${after.right} are heard rightly; before, ${before.right} were.${out}`;
    } else {
      at("learned").textContent = `Nothing was heard better than before, so the model stays as it was; record more takes.${out}`;
    }
  } catch (error) {
    at("learned").textContent =
      error.code === "aborted" ? "Stopped; the model is as it was." : page.sentence(error);
  } finally {
    learning = null;
    changed();
  }
}

/** The loss by step as a line, that of the held-out takes as dots. */
function draw({ losses, heldOut }, steps) {
  const canvas = at("curve");
  canvas.hidden = false;
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  canvas.height = Math.round(120 * devicePixelRatio);
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const all = [...losses, ...heldOut.map(([, loss]) => loss)].filter((loss) => loss !== null);
  const most = Math.max(1e-6, ...all);
  const pad = 6 * devicePixelRatio;
  const place = (step, loss) => [
    pad + ((canvas.width - 2 * pad) * step) / steps,
    canvas.height - pad - ((canvas.height - 2 * pad) * Math.min(loss, most)) / most,
  ];
  context.lineWidth = 2 * devicePixelRatio;
  context.strokeStyle = style.color;
  context.beginPath();
  losses.forEach((loss, i) => loss !== null && context.lineTo(...place(i + 1, loss)));
  context.stroke();
  context.fillStyle = style.outlineColor;
  for (const [step, loss] of heldOut) {
    if (loss === null) continue;
    context.beginPath();
    context.arc(...place(step, loss), 4 * devicePixelRatio, 0, 2 * Math.PI);
    context.fill();
  }
  const last = losses.at(-1);
  canvas.setAttribute("aria-label", `Loss by step${last === undefined ? "" : `: ${losses[0]?.toFixed(2)} at first, ${last?.toFixed(2)} at step ${losses.length} of ${steps}`}`);
}

/** What was taught is there from now on, and can be tried. */
async function teach(model) {
  taught = model;
  page.taught(model !== null);
  at("spoken").textContent = model ? "Nothing yet." : "Teach it something first.";
  changed();
}

async function speak() {
  const button = at("speak");
  if (recording?.button === button) return recording.stop();
  if (off(button)) return (at("spoken").textContent = "Teach it something first.");
  at("spoken").textContent = "Speak now.";
  const take = await record(button, LONGEST, true);
  if (!take || take.samples.length === 0) return (at("spoken").textContent = "Nothing was recorded.");
  try {
    const { sampleRate } = take;
    const samples = trimmed(take.samples, sampleRate);
    if (!samples) return (at("spoken").textContent = "None of these: nothing but quiet was heard.");
    const { text, words: parts } = await asr.transcribe(samples, { sampleRate });
    const confidence = parts.reduce((sum, part) => sum + part.confidence, 0) / Math.max(1, parts.length);
    const sure = `${Math.round(100 * confidence)} % sure`;
    const known = taught.words.find((word) => plain(word) === plain(text));
    const spelled = text ? `it sounds like “${text}”, ${sure}` : "no word was heard";
    at("spoken").textContent = known && confidence >= SURE ? `${known} (${sure})` : `None of these (${spelled})`;
  } catch (error) {
    at("spoken").textContent = page.sentence(error);
  }
}

/** The files with a list of the words. */
const filesOf = ({ files, words }) => ({ ...files, [WORDS]: new TextEncoder().encode(JSON.stringify(words)) });

function wordsOf(files) {
  if (!files[WORDS]) return [];
  const found = JSON.parse(new TextDecoder().decode(files[WORDS]));
  return Array.isArray(found) ? found.filter((word) => typeof word === "string") : [];
}

/** Does what a button of the last card says, and tells. */
async function stored(button, work) {
  if (off(button)) return;
  try {
    at("stored").textContent = await work();
  } catch (error) {
    at("stored").textContent = page.sentence(error);
  }
  await showStored();
}

async function use(files) {
  const { [WORDS]: list, ...model } = files;
  await asr.use({ files: model });
  const known = wordsOf(files);
  for (const text of known) if (!words.some((word) => plain(word.text) === plain(text))) addWord(text);
  await teach({ files: model, words: known });
  return `It hears what was taught: ${known.join(", ") || "its words are not told"}.`;
}

const actions = {
  async keep() {
    await Polymix.keep(NAME, filesOf(taught));
    return "Kept in this browser, until you forget it.";
  },
  async restore() {
    return use(await Polymix.kept(NAME));
  },
  async export() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(packed(filesOf(taught)));
    link.download = "taught-model.zip";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    return "Exported: the archive of a model, which the polymix command opens too, unpacked.";
  },
  async forget() {
    await asr.use(BASE);
    await Polymix.forget(NAME);
    await teach(null);
    return "Forgotten: the model is the one that the page comes with.";
  },
};

async function showStored() {
  const names = await Polymix.stored().catch(() => []);
  at("restore").hidden = !names.includes(NAME);
}

/** Shows one of the two tabs. */
function select(tab) {
  for (const one of at("tabs").querySelectorAll("[role=tab]")) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", String(chosen));
    one.tabIndex = chosen ? 0 : -1;
    at(one.getAttribute("aria-controls")).hidden = !chosen;
  }
  page.shown();
}

/** Prepares the tab; `given` has `sentence(error)`, and is told by `taught(whether)` and `shown()`. */
export function prepare(given) {
  page = given;
  for (const tab of at("tabs").querySelectorAll("[role=tab]")) tab.addEventListener("click", () => select(tab));
  at("tabs").addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
    const tabs = [...at("tabs").querySelectorAll("[role=tab]")];
    const other = { Home: tabs[0], End: tabs.at(-1) }[event.key] ?? tabs.find((tab) => tab !== event.target);
    select(other);
    other.focus();
    event.preventDefault();
  });
  at("word-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = at("word").value.trim();
    if (!text) return note("Type a word or a phrase first.");
    if (words.some((word) => plain(word.text) === plain(text))) return note(`${text} is there already.`);
    const { item } = addWord(text);
    at("word").value = "";
    note(`Added ${text}: record it some three times.`);
    item.querySelector(".lesson-record").focus();
  });
  // Steps of the head alone are soon done.
  at("layers").addEventListener("change", () => (at("steps").value = at("layers").value === "head" ? 1000 : 60));
  at("learn").addEventListener("click", learn);
  at("speak").addEventListener("click", speak);
  for (const [id, work] of Object.entries(actions)) at(id).addEventListener("click", () => stored(at(id), work));
  at("import").addEventListener("click", (event) => off(at("import")) && event.preventDefault());
  at("import").addEventListener("change", () => {
    const [file] = at("import").files;
    if (file) stored(at("import"), async () => use(await unpacked(file, file.name)));
    // The same file may be chosen again.
    at("import").value = "";
  });
  addWord("");
}

/** The model is there. */
export async function begin(model) {
  asr = model;
  changed();
  await showStored();
}
