// What a page says of decoding, as the worker takes it.

import { PolymixError } from "./errors.js";

/** Numbers and choices, by the keys of a decoder.json. */
const SETTINGS = {
  decoder: ["decoder", "string"],
  beam: ["beam", "number"],
  beamPrune: ["beam_prune", "number"],
  tokenPrune: ["token_prune", "number"],
  pruneHistory: ["prune_history", "boolean"],
  alpha: ["alpha", "number"],
  beta: ["beta", "number"],
  unknown: ["unknown", "number"],
  scoreBoundary: ["score_boundary", "boolean"],
  hotWordWeight: ["hot_word_weight", "number"],
};

const wrong = (name, remedy) => new PolymixError("failed", `decoder.${name} cannot be understood; ${remedy}`);

/**
 * `{ settings, lm, words, hotWords, nBest }` of the `decoder` of options, or `undefined` where they have none; `"model"`
 * stands for the decoder.json of the model's folder.
 */
export function decoderOf(decoder) {
  if (decoder === undefined || decoder === null) return undefined;
  if (decoder === "model") return { model: true };
  if (typeof decoder !== "object" || Array.isArray(decoder)) {
    throw new PolymixError("failed", 'decoder is no object; give one such as { beam: 100, hotWords: ["polymix"] }');
  }
  const { lm, words, hotWords, nBest, ...rest } = decoder;
  const settings = {};
  for (const [name, value] of Object.entries(rest)) {
    if (value === undefined || value === null) continue;
    const [key, type] = SETTINGS[name] ?? [];
    if (!key) throw wrong(name, `it is none of ${Object.keys(SETTINGS).join(", ")}, lm, words, hotWords, nBest`);
    if (typeof value !== type) throw wrong(name, `give a ${type}`);
    settings[key] = value;
  }
  settings.decoder ??= "beam";
  if (nBest !== undefined && nBest !== null && !(Number.isInteger(nBest) && nBest >= 1 && nBest <= 65536)) {
    throw wrong("nBest", "give a whole number from 1 to 65536");
  }
  return {
    settings: JSON.stringify(settings),
    lm: lm === undefined || lm === null ? undefined : addressOf(lm),
    words: words === undefined || words === null ? undefined : listOf("words", words).join(" "),
    hotWords: hotWords === undefined || hotWords === null ? undefined : hotWordsOf(hotWords),
    nBest: nBest ?? 1,
  };
}

function addressOf(lm) {
  try {
    if (typeof lm !== "string" && typeof lm?.href !== "string") throw new TypeError("it is no string and no URL");
    return new URL(lm, globalThis.document?.baseURI ?? import.meta.url).href;
  } catch (error) {
    throw wrong("lm", `give the address of a language model (${error.message})`);
  }
}

function listOf(name, words) {
  const list = typeof words === "string" ? words.split(/\r?\n/) : [...(words[Symbol.iterator] ? words : [])];
  if ((list.length === 0 && !words[Symbol.iterator]) || list.some((word) => typeof word !== "string")) {
    throw wrong(name, "give a list of words");
  }
  return list;
}

/** Words, a line each; of an object, each with its weight. */
function hotWordsOf(words) {
  if (typeof words === "object" && !words[Symbol.iterator]) {
    return Object.entries(words).map(([word, weight]) => {
      if (!Number.isFinite(weight)) throw wrong("hotWords", `give a number as the weight of ${JSON.stringify(word)}`);
      return `${word} ${weight}`;
    }).join("\n");
  }
  return listOf("hotWords", words).join("\n");
}
