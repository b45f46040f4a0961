// Audio that is still coming in: pushed by the page, or by a Capture.

import { aborted, badAudio, callbackOf, guarded, signalOf, tell, until } from "./errors.js";
import { samplesOf } from "./audio.js";

export class PolymixStream {
  #remote;
  #stream;
  #told;
  /** Whether sentences end by themselves. */
  #sentences;
  #text = "";
  /** Words of it that stay. */
  #settled = 0;
  /** What every later call rejects with. */
  #failure = null;
  /** Whether the page was told that no more audio comes, or ended the stream itself. */
  #over = false;
  #pushed = Promise.resolve();
  #finishing = null;
  #capture = null;
  #release;

  constructor(remote, stream, told, sentences, signal, released) {
    this.#remote = remote;
    this.#sentences = sentences;
    this.#stream = stream;
    this.#told = told;
    const unwatch = remote.watch((error) => this.fail(error));
    const abort = () => {
      this.#over = true;
      this.fail(aborted(signal));
    };
    signal?.addEventListener("abort", abort);
    this.#release = () => {
      unwatch();
      released();
      signal?.removeEventListener("abort", abort);
    };
  }

  static callbacks(options) {
    const names = ["onPartial", "onSentence", "onError", "onEnd"];
    return Object.fromEntries(names.map((name) => [name, callbackOf(options, name)]));
  }

  /** `[pauseMs, longestMs, quietDb]` of the `endpoint` of options, or `undefined`. */
  static endpoint({ endpoint }) {
    if (endpoint === undefined || endpoint === null || endpoint === false) return undefined;
    const given = endpoint === true ? {} : endpoint;
    const wrong = (name) => badAudio(`${name} cannot be understood; give endpoint: true, or { pauseMs: 600, quietDb: 12, longestMs: 20000 }`);
    if (typeof given !== "object" || Array.isArray(given)) throw wrong("endpoint");
    const known = { pauseMs: 600, longestMs: 20000, quietDb: 12 };
    for (const [name, value] of Object.entries(given)) {
      if (!(name in known) || !(value === undefined || value === null || Number.isFinite(value))) throw wrong(`endpoint.${name}`);
      known[name] = value ?? known[name];
    }
    return Float64Array.of(known.pauseMs, known.longestMs, known.quietDb);
  }

  get text() {
    return this.#text;
  }

  push(samples) {
    return guarded(() => {
      if (this.#failure) throw this.#failure;
      if (this.#finishing) throw badAudio("the stream has ended; open another");
      return this.#push(samplesOf(samples));
    });
  }

  async #push(samples) {
    const { result, sentences } = await this.#call("push", { samples }, [samples.buffer]);
    this.#ended(sentences);
    if (result && (result.text !== this.#text || result.settled !== this.#settled)) {
      [this.#text, this.#settled] = [result.text, result.settled];
      tell(this.#told.onPartial, result);
    }
    return result;
  }

  finish(options) {
    this.#finishing ??= guarded(() => this.#finish());
    return guarded(() => until(this.#finishing, signalOf(options ?? {})));
  }

  async #finish() {
    if (this.#failure) throw this.#failure;
    this.#over = true;
    await this.#capture?.close();
    await this.#pushed;
    const { result, sentences } = await this.#call("finish");
    this.#ended(sentences);
    if (this.#sentences && result.text) tell(this.#told.onSentence, result);
    this.#text = result.text;
    this.#release();
    return result;
  }

  /** Tells what has ended; the text is that of the next sentence from then on. */
  #ended(sentences) {
    for (const said of sentences) {
      [this.#text, this.#settled] = ["", 0];
      tell(this.#told.onSentence, said);
    }
  }

  cancel() {
    return guarded(async () => {
      this.#over = true;
      this.#failure ??= badAudio("the stream was cancelled; open another");
      await this.#closed();
    });
  }

  /** Ends the stream because of `error`: the page is told at once, and so is every later call. */
  fail(error) {
    if (this.#failure) return;
    this.#failure = error;
    this.#trouble(error, true);
    this.#closed();
  }

  /** Gives back what the stream holds. */
  async #closed() {
    this.#release();
    await this.#capture?.close();
    await this.#remote.call("closeStream", { stream: this.#stream }).catch(() => {});
  }

  #trouble(error, end) {
    if (this.#over) return;
    this.#over = end;
    if (end) this.#capture?.close();
    tell(this.#told.onError, error);
    if (end) tell(this.#told.onEnd, error);
  }

  /** Pushes the samples of `capture` until the end. */
  async follow(capture, onAudio, ...signals) {
    this.#capture = capture;
    if (this.#failure) throw this.#failure;
    const onSamples = (samples) => {
      const copy = onAudio && samples.slice();
      this.#pushed = this.#push(samples).then(
        () => {},
        (error) => this.fail(error),
      );
      if (copy) tell(onAudio, copy, capture.sampleRate);
    };
    await capture.start(onSamples, (error, end) => this.#trouble(error, end), ...signals);
  }

  async #call(name, args, transfer) {
    try {
      return await this.#remote.call(name, { stream: this.#stream, ...args }, { transfer });
    } catch (error) {
      if (error.code !== "bad-audio") this.fail(error);
      throw this.#failure ?? error;
    }
  }
}
