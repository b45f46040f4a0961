// Where a page says that a model is: in a folder, among files that it holds, or in the browser's storage.

import { PolymixError } from "./errors.js";
import { stored } from "./stored.js";

const badModel = (message, cause) => new PolymixError("bad-model", message, { cause });

/** `{ url, files, stallMs }`: one of the first two, as the workers take them. */
export async function sourceOf(given, stallMs) {
  if (given?.stored !== undefined) return { files: await stored(given.stored), stallMs };
  if (given?.files !== undefined) return { files: await filesOf(given.files), stallMs };
  return { url: folderOf(given), stallMs };
}

/** The model's folder, with the query that its files are asked for with. */
function folderOf(url) {
  let folder;
  try {
    if (typeof url !== "string" && typeof url?.href !== "string") throw new TypeError("it is no string and no URL");
    folder = new URL(url, globalThis.document?.baseURI ?? import.meta.url);
  } catch (error) {
    throw badModel(`the model's address cannot be understood (${error.message}); give that of its folder`, error);
  }
  if (!folder.pathname.endsWith("/")) folder.pathname += "/";
  return folder.href;
}

/** Copies of the files' bytes, by their names. */
export async function filesOf(files) {
  if (typeof files !== "object" || files === null) {
    throw badModel('files are no object; give one such as { "config.json": bytes, … }');
  }
  const copied = Object.entries(files).map(async ([name, file]) => [name, await bytesOf(name, file)]);
  return Object.fromEntries(await Promise.all(copied));
}

async function bytesOf(name, file) {
  try {
    const bytes = typeof file?.arrayBuffer === "function" ? await file.arrayBuffer() : file;
    if (ArrayBuffer.isView(bytes)) return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength).slice();
    if (Object.prototype.toString.call(bytes) === "[object ArrayBuffer]") return new Uint8Array(bytes).slice();
  } catch (error) {
    throw badModel(`${name}: cannot be read (${error.message}); choose it again`, error);
  }
  throw badModel(`${name}: is no file; give its bytes, or a Blob`);
}
