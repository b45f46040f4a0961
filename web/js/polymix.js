// polymix for web pages: a model in a worker, speech to text on the GPU. Types and documentation: polymix.d.ts.

export class PolymixError extends Error {
  name = "PolymixError";

  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** A worker whose calls are promises. */
class Remote {
  #worker;
  #waiting = new Map();
  #next = 0;
  #ended = null;

  constructor() {
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "polymix" });
    this.#worker.addEventListener("message", ({ data }) => this.#receive(data));
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      const reason = event.message ?? "its files cannot be fetched, or the page's Content-Security-Policy forbids it";
      this.end(new PolymixError("failed", `polymix's worker stopped: ${reason}`));
    });
  }

  #receive({ id, result, progress, error, args }) {
    const call = this.#waiting.get(id);
    if (!call) return;
    if (progress) return call.onProgress?.(progress);
    this.#waiting.delete(id);
    if (!error) return call.resolve(result);
    call.reject(Object.assign(new PolymixError(error.code, error.message), hidden({ args, broken: error.broken })));
  }

  call(call, args = {}, transfer = [], onProgress = undefined) {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject, onProgress });
      this.#worker.postMessage({ id, call, args }, transfer);
    });
  }

  /** Ends the worker, and with it everything that it holds; calls that wait fail with `error`. */
  end(error) {
    this.#ended ??= error;
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }
}

const DETAILS = Symbol("details");
const hidden = (details) => ({ [DETAILS]: details });

/** Whether a fresh worker may do better. */
const isLost = (error) => error.code === "device-lost" || Boolean(error[DETAILS]?.broken);

const DISPOSED = () => new PolymixError("disposed", "this model was disposed; load it again");

export class Polymix {
  #url;
  #options;
  #remote = null;
  #starting = null;
  #disposed = false;
  #info = null;
  #nextStream = 0;

  constructor(url, options) {
    this.#url = url;
    this.#options = options;
  }

  static async load(url, { onProgress, warm = true } = {}) {
    const folder = new URL(url, globalThis.document?.baseURI ?? import.meta.url);
    if (!folder.pathname.endsWith("/")) folder.pathname += "/";
    const polymix = new Polymix(folder.href, { onProgress, warm });
    await polymix.#started();
    return polymix;
  }

  static async decode(blob) {
    return decoded(blob);
  }

  get info() {
    return this.#info;
  }

  async transcribe(audio, options) {
    return this.#hear("transcribe", audio, options);
  }

  async encode(audio, options) {
    return this.#hear("encode", audio, options);
  }

  async features(audio, options) {
    return this.#hear("features", audio, options);
  }

  async stream({ sampleRate = 16000, chunkMs, onPartial } = {}) {
    const stream = this.#nextStream++;
    const remote = await this.#retried(async (remote) => {
      await remote.call("openStream", { stream, sampleRate, chunkMs });
      return remote;
    });
    return new PolymixStream(remote, stream, onPartial, (error) => this.#lost(remote, error));
  }

  async listen({ source, onAudio, ...options } = {}) {
    const media = source ?? (await microphone());
    const context = new AudioContext();
    const close = async () => {
      if (!source) for (const track of media.getTracks()) track.stop();
      if (context.state !== "closed") await context.close();
    };
    try {
      const { sampleRate } = context;
      const stream = await this.stream({ ...options, sampleRate });
      await context.audioWorklet.addModule(new URL("./microphone.js", import.meta.url));
      const node = new AudioWorkletNode(context, "polymix-microphone", { numberOfOutputs: 0 });
      stream.follow(node.port, close, onAudio && ((samples) => onAudio(samples, sampleRate)));
      context.createMediaStreamSource(media).connect(node);
      await context.resume();
      return stream;
    } catch (error) {
      await close();
      if (error instanceof PolymixError) throw error;
      throw new PolymixError("bad-audio", `the microphone failed (${error.message}); try again`);
    }
  }

  async memory() {
    return (await this.#started()).call("memory");
  }

  async dispose() {
    if (this.#disposed) return;
    this.#disposed = true;
    const remote = await this.#starting?.catch(() => null);
    // An orderly end gives the buffers back now and not when the browser collects them.
    await remote?.call("dispose").catch(() => {});
    remote?.end(DISPOSED());
  }

  /** The worker with the model; started where there is none. */
  #started() {
    if (this.#disposed) return Promise.reject(DISPOSED());
    this.#starting ??= (async () => {
      const remote = new Remote();
      this.#remote = remote;
      try {
        const { onProgress, warm } = this.#options;
        this.#info = await remote.call("load", { url: this.#url, warm }, [], onProgress);
        return remote;
      } catch (error) {
        remote.end(error);
        this.#starting = null;
        throw error;
      }
    })();
    return this.#starting;
  }

  /** Ends a worker whose device is lost, so that the next call starts another. */
  #lost(remote, error) {
    if (!isLost(error) || this.#remote !== remote) return;
    remote.end(error);
    this.#remote = this.#starting = null;
  }

  /** Runs `call`; where the device was lost meanwhile, loads the model again and runs it once more. */
  async #retried(call) {
    for (let attempt = 1; ; attempt++) {
      const remote = await this.#started();
      try {
        return await call(remote);
      } catch (error) {
        this.#lost(remote, error);
        if (attempt === 2 || !isLost(error) || this.#disposed) throw error;
      }
    }
  }

  async #hear(name, audio, { sampleRate } = {}) {
    let args = await channelsOf(audio, sampleRate);
    return this.#retried(async (remote) => {
      try {
        return await remote.call(name, args, args.channels.map((channel) => channel.buffer));
      } catch (error) {
        args = error[DETAILS]?.args ?? args;
        throw error;
      }
    });
  }
}

class PolymixStream {
  #remote;
  #stream;
  #onPartial;
  #onLost;
  #text = "";
  #failure = null;
  #pushed = Promise.resolve();
  #close = async () => {};

  constructor(remote, stream, onPartial, onLost) {
    this.#remote = remote;
    this.#stream = stream;
    this.#onPartial = onPartial;
    this.#onLost = onLost;
  }

  get text() {
    return this.#text;
  }

  async push(samples) {
    if (!(samples instanceof Float32Array)) {
      throw new PolymixError("bad-audio", "a stream takes samples as a Float32Array, from -1 to 1");
    }
    const copy = samples.slice();
    const heard = await this.#call("push", { samples: copy }, [copy.buffer]);
    if (heard && heard.text !== this.#text) {
      this.#text = heard.text;
      this.#onPartial?.(heard);
    }
    return heard;
  }

  async finish() {
    await this.#close();
    await this.#pushed;
    if (this.#failure) throw this.#failure;
    const heard = await this.#call("finish", {}, []);
    this.#text = heard.text;
    return heard;
  }

  async cancel() {
    await this.#close();
    await this.#remote.call("closeStream", { stream: this.#stream }).catch(() => {});
  }

  /** Pushes what comes out of `port` until the end, when `close` is called. */
  follow(port, close, onAudio) {
    this.#close = async () => {
      port.onmessage = null;
      await close();
    };
    port.onmessage = ({ data }) => {
      onAudio?.(data);
      // What fails here is told by finish.
      this.#pushed = this.push(data).catch((error) => {
        this.#failure ??= error;
      });
    };
  }

  async #call(name, args, transfer) {
    try {
      return await this.#remote.call(name, { stream: this.#stream, ...args }, transfer);
    } catch (error) {
      this.#onLost(error);
      throw error;
    }
  }
}

async function microphone() {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  } catch (error) {
    const reason = error?.message ?? "pages have it over https or localhost only";
    throw new PolymixError("bad-audio", `the microphone cannot be used (${reason}); allow it and try again`);
  }
}

/** Copies of the audio's channels: what the caller gave stays whole. */
async function channelsOf(audio, sampleRate) {
  if (audio instanceof Float32Array) {
    if (sampleRate === undefined) {
      throw new PolymixError("bad-audio", "samples come without their rate; give { sampleRate }");
    }
    return { channels: [audio.slice()], sampleRate };
  }
  const buffer = audio instanceof Blob ? await decoded(audio) : audio;
  if (globalThis.AudioBuffer && buffer instanceof AudioBuffer) {
    const numbers = Array.from({ length: buffer.numberOfChannels }, (_, channel) => channel);
    const channels = numbers.map((channel) => buffer.getChannelData(channel).slice());
    return { channels, sampleRate: buffer.sampleRate };
  }
  throw new PolymixError("bad-audio", "audio is a Float32Array, an AudioBuffer or a Blob; give one of these");
}

/** An audio file, at its own rate where its header is understood. */
async function decoded(blob) {
  const bytes = await blob.arrayBuffer();
  const rate = rateOf(new DataView(bytes)) ?? 48000;
  try {
    return await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
  } catch (error) {
    const kind = blob.type || "of unknown type";
    const reason = `this browser cannot decode the file (${kind}: ${error.message})`;
    throw new PolymixError("bad-audio", `${reason}; give WAV, FLAC, MP3, OGG or what else it plays`);
  }
}

/** The sample rate that a WAV or FLAC header tells, so that the browser does not resample. */
function rateOf(view) {
  const tag = (at) => (at + 4 <= view.byteLength ? view.getUint32(at) : 0);
  let rate;
  if (tag(0) === 0x664c6143 && view.byteLength >= 22) rate = view.getUint32(18) >>> 12;
  if (tag(0) === 0x52494646 && tag(8) === 0x57415645) {
    for (let at = 12; at + 16 <= view.byteLength; at += 8 + view.getUint32(at + 4, true)) {
      if (tag(at) === 0x666d7420) {
        rate = view.getUint32(at + 12, true);
        break;
      }
    }
  }
  // What every browser's OfflineAudioContext takes.
  return rate >= 8000 && rate <= 96000 ? rate : undefined;
}
