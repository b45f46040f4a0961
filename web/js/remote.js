// The worker, as the page sees it: calls that are promises, and an end that tells everyone who waits.

import { PolymixError, after, tell } from "./errors.js";

/** Errors after which a fresh worker may do better, and whether the call was what the worker was doing then. */
const lost = new WeakMap();

/** Whether the worker or its device was lost. */
export const isLost = (error) => lost.has(error);

/** Whether the loss befell the call itself, and not one that waited behind another. */
export const wasServed = (error) => lost.get(error) === true;

export class Remote {
  #worker;
  #address;
  #bootstrap = null;
  #starting;
  #waiting = new Map();
  #watchers = new Set();
  #next = 0;
  #ended = null;
  /** Whether the model is there. */
  loaded = false;

  /** A worker of the `script`, one of those below, that says within `stallMs` that it runs. */
  constructor(script, stallMs) {
    this.#open(script);
    this.#worker.addEventListener("message", ({ data }) => this.#receive(data));
    this.#worker.addEventListener("messageerror", () => this.#broke("its answer cannot be read"));
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault?.();
      this.#broke(event.message || "its files cannot be fetched, or the page's Content-Security-Policy forbids it");
    });
    this.#starting = after(stallMs, () => {
      const message = `polymix's worker does not start within ${stallMs / 1000} s`;
      this.end(new PolymixError("failed", `${message}; check that its server answers (${this.#address})`));
    });
  }

  #open(script) {
    if (typeof globalThis.Worker !== "function") {
      const message = "polymix runs in browsers, and there are no workers here, as on a server";
      throw new PolymixError("failed", `${message}; load the model in the page, once it is shown`);
    }
    this.#address = addressOf(script);
    try {
      this.#worker = new Worker(scriptAddress(this.#ownAddress()), { type: "module", name: "polymix" });
    } catch (error) {
      const remedy = error.message.includes("Trusted")
        ? "let the page's Content-Security-Policy have `trusted-types polymix`"
        : `serve polymix from the page's own origin, or ${this.#permission()}`;
      const message = `polymix's worker cannot be started from ${this.#address} (${error.message}); ${remedy}`;
      throw new PolymixError("failed", message, { cause: error });
    }
  }

  /** Workers come from the page's own origin alone: from elsewhere a script of the page's own imports it. */
  #ownAddress() {
    const { origin, protocol } = new URL(this.#address);
    if (!protocol.startsWith("http") || origin === globalThis.origin) return this.#address;
    const script = `import ${JSON.stringify(this.#address)};`;
    // Frames without an origin of their own may not start what they named themselves.
    this.#bootstrap =
      globalThis.origin === "null"
        ? `data:text/javascript,${encodeURIComponent(script)}`
        : URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    return this.#bootstrap;
  }

  #receive({ id, result, progress, error, started, lost: loss }) {
    if (started) return clearTimeout(this.#starting);
    if (loss) return this.end(new PolymixError("device-lost", loss), { charge: true });
    const call = this.#waiting.get(id);
    if (!call) return;
    if (progress) return tell(call.onProgress, progress);
    this.#waiting.delete(id);
    if (!error) return call.resolve(result);
    const failure = new PolymixError(error.code, error.message);
    const fatal = error.code === "device-lost" || error.broken;
    if (fatal) lost.set(failure, true);
    call.reject(failure);
    if (fatal) this.end(failure);
  }

  #broke(reason) {
    const remedy = this.#bootstrap ? this.#permission() : "copy all of polymix's files together";
    this.end(new PolymixError("failed", `polymix's worker stopped: ${reason} (${this.#address}); ${remedy}`));
  }

  /** What a worker from elsewhere needs. */
  #permission() {
    const { origin } = new URL(this.#address);
    const scheme = globalThis.origin === "null" ? "data:" : "blob:";
    return `let the page's Content-Security-Policy have \`worker-src ${scheme} ${origin}\`, and that server allow CORS`;
  }

  /** What the worker answers. Where `signal` aborts, a call that still waits is not begun. */
  call(call, args = {}, { transfer = [], onProgress, signal } = {}) {
    if (this.#ended) return Promise.reject(this.#failure(false));
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      // Throws where something cannot be sent, which rejects the promise.
      this.#worker.postMessage({ id, call, args }, transfer);
      // Whoever aborts waits no longer.
      const cancel = () => this.#waiting.delete(id) && this.#worker.postMessage({ cancel: id });
      const settled = (settle) => (value) => {
        signal?.removeEventListener("abort", cancel);
        settle(value);
      };
      this.#waiting.set(id, { resolve: settled(resolve), reject: settled(reject), onProgress });
      signal?.addEventListener("abort", cancel);
    });
  }

  /** Calls `watcher` with the error when the worker ends; gives what stops that. */
  watch(watcher) {
    if (this.#ended) queueMicrotask(() => watcher(this.#ended));
    else this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /**
   * Ends the worker, and with it everything that it holds; calls that wait fail with `error`. Where it was lost,
   * `charge` says that the first of them was what the worker was doing.
   */
  end(error, { charge = false } = {}) {
    if (this.#ended) return;
    this.#ended = error;
    clearTimeout(this.#starting);
    this.#worker.terminate();
    if (this.#bootstrap) URL.revokeObjectURL(this.#bootstrap);
    if (error.code === "device-lost" && !lost.has(error)) lost.set(error, charge);
    for (const { reject } of this.#waiting.values()) {
      reject(this.#failure(charge));
      charge = false;
    }
    this.#waiting.clear();
    for (const watcher of this.#watchers) watcher(error);
    this.#watchers.clear();
  }

  /** An error of the call's own. */
  #failure(charge) {
    const { code, message } = this.#ended;
    const failure = new PolymixError(code, message, { cause: this.#ended });
    if (lost.has(this.#ended)) lost.set(failure, charge);
    return failure;
  }
}

/** The worker that recognizes. */
export const RECOGNIZER = () => new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "polymix" });

/** The worker that learns. */
export const LEARNING = () => new Worker(new URL("./teacher.js", import.meta.url), { type: "module", name: "polymix" });

/**
 * Where the script of a worker is. Bundlers know the expression of a worker with its URL alone, so it is evaluated with
 * a Worker that only keeps the address.
 */
function addressOf(script) {
  const own = globalThis.Worker;
  let address;
  globalThis.Worker = class {
    constructor(url) {
      address = String(url);
    }
  };
  try {
    script();
  } finally {
    globalThis.Worker = own;
  }
  return address;
}

let policy;

/** The address as pages with Trusted Types want it. */
function scriptAddress(address) {
  const { trustedTypes } = globalThis;
  if (!trustedTypes) return address;
  try {
    policy ??= trustedTypes.createPolicy("polymix", { createScriptURL: (url) => url });
    return policy.createScriptURL(address);
  } catch {
    // The page forbids the policy: where it insists on Trusted Types, the worker is refused, with the remedy.
    return address;
  }
}
