// What both workers do: they serve one call after another, tell of a lost device at once, and give errors codes.

export class CodedError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Tells the page at once when a device that is opened from here on is lost, and not only with the next call. */
export function watchDevices(disposed = () => false) {
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (...options) {
    const device = await requestDevice.apply(this, options);
    device.lost.then(({ message }) => {
      if (disposed()) return;
      postMessage({ lost: `the GPU's device was lost (${message || "no reason given"}); try again` });
    });
    return device;
  };
}

/** Serves `calls` from now on; `lastPanic` says what a trap of the library means. */
export function serve(calls, lastPanic) {
  /** Calls that are not begun, and may still be cancelled. */
  const queued = new Set();
  let queue = Promise.resolve();
  const answer = async ({ id, call, args }) => {
    if (!queued.delete(id)) return;
    try {
      const result = await calls[call](args, (progress) => postMessage({ id, progress }));
      postMessage({ id, result });
    } catch (error) {
      postMessage({ id, error: described(error, lastPanic) });
    }
  };
  addEventListener("message", ({ data }) => {
    if ("cancel" in data) return queued.delete(data.cancel);
    queued.add(data.id);
    queue = queue.then(() => answer(data));
  });
  postMessage({ started: true });
}

function described(error, lastPanic) {
  if (error instanceof WebAssembly.RuntimeError) {
    return { code: "failed", broken: true, message: `internal error: ${lastPanic() || error.message}; try again` };
  }
  // A DOMException's code is a number.
  const code = typeof error?.code === "string" ? error.code : "failed";
  return { code, message: error?.message ?? String(error) };
}
