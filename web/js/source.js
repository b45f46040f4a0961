// Where the workers have a model from, `{ url, files, stallMs }`: files that the page holds, and a folder for what is not
// among them. And the libraries.

import { CodedError } from "./serve.js";
import { joined, receive } from "./receive.js";

export const badModel = (message) => new CodedError("bad-model", message);

/** The address of a file of the model's folder, whose query goes with each; nothing where there is no folder. */
export function addressOf({ url }, name) {
  if (!url) return undefined;
  const address = new URL(name, url);
  address.search = new URL(url).search;
  return address;
}

/** Hands the pieces of a file to `take`. */
async function read(source, name, kind, take) {
  const held = source.files?.[name];
  if (held) return take(held);
  const address = addressOf(source, name);
  if (!address) throw badModel(`${name}: is not among the files of the model; give all that were saved`);
  await receive(address, { kind, stallMs: source.stallMs, failed: badModel, take });
}

export async function text(source, name) {
  const pieces = [];
  await read(source, name, "json", (piece) => pieces.push(piece));
  return new TextDecoder().decode(joined(pieces));
}

/** Reads model.safetensors as it comes in; what is not a model is refused at its table. */
async function weights(source, Download, progress) {
  const download = new Download();
  let loaded = 0;
  const take = (piece) => {
    download.push(piece);
    loaded += piece.byteLength;
    progress({ loaded, total: download.total ?? null });
  };
  try {
    await read(source, "model.safetensors", "binary", take);
    return download;
  } catch (error) {
    download.free();
    throw error;
  }
}

/** Whether a model with this config.json has no vocab.json: what tells classes apart has none. */
function classifies(config) {
  try {
    return "utterance" in JSON.parse(config).kind;
  } catch {
    // The library says what is wrong with it.
    return false;
  }
}

/**
 * `{ library, files }` of a model: its files, as its library takes them. `libraryFor` gives the library of models that tell
 * classes apart, or of those that write text.
 */
export async function modelFiles(source, libraryFor, progress = () => {}) {
  const config = text(source, "config.json");
  const library = config.then((json) => libraryFor(classifies(json)));
  const reading = library.then(({ Download }) => weights(source, Download, progress));
  const vocabulary = config.then((json) => (classifies(json) ? undefined : text(source, "vocab.json")));
  try {
    const files = await Promise.all([config, text(source, "preprocessor_config.json"), vocabulary, reading]);
    return { library: await library, files };
  } catch (error) {
    reading.then((download) => download.free(), () => {});
    throw error;
  }
}

/** Starts the library at `url` by its `init`; servers that do not know the type of .wasm files will do. */
export async function library(url, init, stallMs) {
  const failed = (message) => new CodedError("failed", message);
  const pieces = [];
  let streamed = null;
  const opened = (response) => {
    if (response.headers.get("Content-Type") !== "application/wasm") return;
    streamed = WebAssembly.compileStreaming(response.clone());
    // Told by what is read beside it.
    streamed.catch(() => {});
  };
  await receive(url, { kind: "binary", stallMs, failed, take: (piece) => pieces.push(piece), opened });
  try {
    return await init({ module_or_path: await (streamed ?? WebAssembly.compile(joined(pieces))) });
  } catch (error) {
    throw failed(`${url} is not polymix's library (${error.message}); copy it beside worker.js again`);
  }
}
