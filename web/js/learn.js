// What a page says of learning, as the worker takes it, and what comes of it.

import { PolymixError, badAudio, guarded, until } from "./errors.js";
import { channelsOf } from "./audio.js";
import { LEARNING, Remote } from "./remote.js";
import { keep } from "./stored.js";

/** The most steps that the library takes. */
const MOST_STEPS = 100_000;

const wrong = (name, remedy) => new PolymixError("failed", `${name} cannot be understood; ${remedy}`);

function whole(options, name, usual, least, most) {
  const value = options[name] ?? usual;
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw wrong(name, `give a whole number from ${least} to ${most}`);
}

/** What the examples of each task have beside their audio. */
const TOLD = new Map([["transcribe", "text"], ["classify", "label"]]);

function told(task) {
  const name = TOLD.get(task ?? "transcribe");
  if (!name) throw wrong("task", 'give "transcribe" or "classify"');
  return name;
}

/** The settings of the library. */
export function settingsOf(options) {
  told(options.task);
  const layers = options.layers ?? { last: 2 };
  if (layers !== "head" && layers !== "all" && !(Number.isInteger(layers.last) && layers.last > 0)) {
    throw wrong("layers", 'give "head", "all", or { last: 2 } for so many of the last layers');
  }
  return {
    // The library knows how many are usual.
    steps: options.steps == null ? null : whole(options, "steps", null, 1, MOST_STEPS),
    seed: whole(options, "seed", 0, 0, 2 ** 32 - 1),
    layers: typeof layers === "string" ? layers : { last: layers.last },
  };
}

/** `{ channels, sampleRate, channel, told, classified }` of every example; what the page gave stays whole. */
export async function examplesOf(examples, task) {
  const key = told(task);
  if (typeof examples?.[Symbol.iterator] !== "function" || typeof examples === "string") {
    throw wrong("examples", `give a list of { audio, ${key} }`);
  }
  const taken = [];
  for (const example of examples) {
    const name = `examples[${taken.length}]`;
    if (typeof example?.[key] !== "string") throw wrong(`${name}.${key}`, "give what its audio is, as a string");
    try {
      const { channels, sampleRate } = await channelsOf(example.audio, example);
      const channel = example.channel ?? "mix";
      if (channel !== "mix" && !channels[channel - 1]) {
        throw badAudio(`channel is ${String(channel)}; give "mix", or one from 1 to ${channels.length}`);
      }
      taken.push({ channels, sampleRate, channel, told: example[key], classified: key === "label" });
    } catch (error) {
      if (!(error instanceof PolymixError)) throw error;
      throw new PolymixError(error.code, `${name}: ${error.message}`, { cause: error });
    }
  }
  return taken;
}

/** What the model of `source` is after it has learned; ends at once, with all that it holds, when one of `signals` aborts. */
export async function learn(source, settings, examples, onProgress, ...signals) {
  const remote = new Remote(LEARNING, source.stallMs);
  try {
    return await until(remote.call("learn", { source, settings, examples }, { onProgress }), ...signals);
  } finally {
    remote.end(new PolymixError("disposed", "learning is over; begin anew"));
  }
}

/** What was learned. */
export class PolymixSession {
  #files;

  constructor(files, told) {
    this.#files = files;
    Object.assign(this, told);
  }

  save() {
    return guarded(async () => structuredClone(this.#files));
  }

  keep(name) {
    return guarded(() => keep(name, this.#files));
  }
}
