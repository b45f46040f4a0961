// Models that the browser keeps under names, in IndexedDB: the files of each.

import { PolymixError } from "./errors.js";

const [DATABASE, MODELS] = ["polymix", "models"];

const storage = (message, cause) => new PolymixError("storage", message, { cause });

/** What went wrong, with the remedy. */
function failed(error) {
  if (error instanceof PolymixError) return error;
  if (error?.name === "QuotaExceededError") {
    return storage("the browser has no room for another model; forget one, or free space on the disk", error);
  }
  const why = error?.message || error?.name || "no reason given";
  return storage(`the browser's storage failed (${why}); allow this page to keep data, and try again`, error);
}

export function nameOf(name) {
  if (typeof name === "string" && name !== "") return name;
  throw storage("the name of a stored model is no text; give a text such as \"mine\"");
}

function opened() {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open(DATABASE, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(MODELS);
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

/** What `work` asks of the store, once the browser has it for good. */
async function within(mode, work) {
  let database = null;
  try {
    database = await opened();
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(MODELS, mode);
      const asked = work(transaction.objectStore(MODELS));
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onabort = () => reject(transaction.error ?? asked.error);
    });
  } catch (error) {
    throw failed(error);
  } finally {
    database?.close();
  }
}

/** Keeps files under a name; what had it before is replaced. */
export async function keep(name, files) {
  const key = nameOf(name);
  await within("readwrite", (models) => models.put(files, key));
}

/** The files of a name. */
export async function stored(name) {
  const key = nameOf(name);
  const files = await within("readonly", (models) => models.get(key));
  if (!files) throw storage(`no model is stored as ${JSON.stringify(key)}; Polymix.stored() tells the names`);
  return files;
}

export const names = () => within("readonly", (models) => models.getAllKeys());

/** Removes what is stored under a name, if anything is. */
export async function forget(name) {
  const key = nameOf(name);
  await within("readwrite", (models) => models.delete(key));
}
