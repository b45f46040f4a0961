// What every promise of the package rejects with, and the two ways to leave a wait: an abort, and too long a wait.

export class PolymixError extends Error {
  name = "PolymixError";

  constructor(code, message, options) {
    super(message, options);
    this.code = code;
  }
}

export const badAudio = (message, cause) => new PolymixError("bad-audio", message, { cause });

/** What `work` gives; whatever it throws becomes a PolymixError. */
export async function guarded(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof PolymixError) throw error;
    const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    throw new PolymixError("failed", `polymix could not go on (${what}); check what it was given, or load it again`, {
      cause: error,
    });
  }
}

/** Calls back into the page; what is thrown there is reported as the page's own error, and nothing here stops. */
export function tell(callback, ...values) {
  try {
    callback?.(...values);
  } catch (error) {
    if (globalThis.reportError) reportError(error);
    else console.error(error);
  }
}

/** A callback of the options, or nothing. */
export function callbackOf(options, name) {
  const callback = options[name] ?? undefined;
  if (callback === undefined || typeof callback === "function") return callback;
  throw new PolymixError("failed", `${name} is no function; give one, or leave it out`);
}

/** The options' AbortSignal, or nothing; throws where it says already that nobody waits. */
export function signalOf(options) {
  const signal = options.signal ?? undefined;
  if (signal === undefined) return undefined;
  if (typeof signal.aborted !== "boolean" || typeof signal.addEventListener !== "function") {
    throw new PolymixError("failed", "signal is no AbortSignal; give the `signal` of an AbortController");
  }
  if (signal.aborted) throw aborted(signal);
  return signal;
}

export function aborted({ reason }) {
  if (reason instanceof PolymixError) return reason;
  const why = reason?.message ?? reason ?? "no reason given";
  return new PolymixError("aborted", `the call was aborted by its signal (${why}); call again`, { cause: reason });
}

/** Waits for `promise`, but no longer than until one of `signals` aborts. */
export async function until(promise, ...signals) {
  const ended = new AbortController();
  const aborts = signals.filter(Boolean).map(
    (signal) =>
      new Promise((_, reject) => {
        const stop = () => reject(aborted(signal));
        if (signal.aborted) stop();
        else signal.addEventListener("abort", stop, { once: true, signal: ended.signal });
      }),
  );
  try {
    return await Promise.race([promise, ...aborts]);
  } finally {
    ended.abort();
  }
}

/** Waits for `promise`, but no longer than `ms`: then rejects with what `error` makes. */
export async function within(promise, ms, error) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = after(ms, () => reject(error()));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A timer; one of longer than browsers count, such as Infinity, never rings. */
export const after = (ms, ring) => (ms < 2 ** 31 ? setTimeout(ring, ms) : undefined);
