// polymix for web pages: a model in a worker, speech to text on the GPU. Types and documentation: polymix.d.ts.

import { PolymixError, badAudio, callbackOf, guarded, signalOf, until } from "./errors.js";
import { channelsOf, decoded, rateOf } from "./audio.js";
import { Capture } from "./capture.js";
import { decoderOf } from "./decoder.js";
import { PolymixSession, examplesOf, learn, settingsOf } from "./learn.js";
import { filesOf, sourceOf } from "./models.js";
import { PolymixStream } from "./stream.js";
import { forget, keep, names, stored } from "./stored.js";
import { RECOGNIZER, Remote, isLost, wasServed } from "./remote.js";

export { PolymixError, PolymixSession };

/** Milliseconds without a byte after which a download is given up. */
const STALL = 30_000;

const DISPOSED = () => new PolymixError("disposed", "this model was disposed; load it again");

export class Polymix {
  #source;
  #options;
  #remote = null;
  #starting = null;
  #info = null;
  #nextStream = 0;
  #streams = new Set();
  #disposing = null;
  #learning = false;
  /** Aborts what waits for anything but the worker. */
  #end = new AbortController();

  constructor(source, options) {
    this.#source = source;
    this.#options = options;
  }

  static load(source, options) {
    return guarded(async () => {
      const given = options ?? {};
      const signal = signalOf(given);
      const { decoder, stallMs, warm } = given;
      decoderOf(decoder);
      const onProgress = callbackOf(given, "onProgress");
      const settings = { onProgress, decoder, warm: Boolean(warm ?? true), stallMs: stallMs ?? STALL };
      if (typeof settings.stallMs !== "number" || !(settings.stallMs > 0)) {
        throw new PolymixError("failed", "stallMs is no time; give milliseconds, or Infinity to wait for ever");
      }
      const polymix = new Polymix(await until(sourceOf(source, settings.stallMs), signal), settings);
      try {
        await until(polymix.#started(), signal);
      } catch (error) {
        await polymix.dispose();
        throw error;
      }
      return polymix;
    });
  }

  static decode(file, options) {
    return guarded(async () => until(decoded(file), signalOf(options ?? {})));
  }

  static stored(options) {
    return guarded(async () => until(names(), signalOf(options ?? {})));
  }

  static keep(name, files, options) {
    return guarded(async () => until(keep(name, await filesOf(files)), signalOf(options ?? {})));
  }

  static kept(name, options) {
    return guarded(async () => until(stored(name), signalOf(options ?? {})));
  }

  static forget(name, options) {
    return guarded(async () => until(forget(name), signalOf(options ?? {})));
  }

  get info() {
    return this.#info;
  }

  transcribe(audio, options) {
    return this.#run("transcribe", audio, options);
  }

  classify(audio, options) {
    return this.#run("classify", audio, options);
  }

  encode(audio, options) {
    return this.#run("encode", audio, options);
  }

  features(audio, options) {
    return this.#run("features", audio, options);
  }

  mono(audio, options) {
    return this.#run("mono", audio, options);
  }

  stream(options) {
    return guarded(() => this.#open(options ?? {}));
  }

  listen(options) {
    return guarded(async () => {
      const given = options ?? {};
      const signal = signalOf(given);
      const onAudio = callbackOf(given, "onAudio");
      if (this.#disposing) throw DISPOSED();
      const capture = await Capture.open(given.source, this.#options.stallMs, signal, this.#end.signal);
      let stream = null;
      try {
        stream = await this.#open({ ...given, sampleRate: capture.sampleRate });
        await stream.follow(capture, onAudio, signal, this.#end.signal);
        return stream;
      } catch (error) {
        await capture.close();
        await stream?.cancel();
        throw error;
      }
    });
  }

  use(source, options) {
    return guarded(async () => {
      const given = options ?? {};
      const signal = signalOf(given);
      const onProgress = callbackOf(given, "onProgress");
      const before = this.#source;
      const using = this.#use(await until(sourceOf(source, this.#options.stallMs), signal), onProgress);
      try {
        await until(using, signal);
      } catch (error) {
        if (error.code === "aborted") using.then(() => this.#use(before)).catch(() => {});
        throw error;
      }
    });
  }

  adapt(options) {
    return guarded(async () => {
      const given = options ?? {};
      const signal = signalOf(given);
      const onProgress = callbackOf(given, "onProgress");
      const settings = settingsOf(given);
      const examples = await until(examplesOf(given.examples, given.task), signal);
      if (this.#disposing) throw DISPOSED();
      if (this.#learning) throw new PolymixError("failed", "the model is learning already; wait for that, or abort it");
      this.#learning = true;
      try {
        const source = this.#source;
        const { files, ...told } = await learn(source, settings, examples, onProgress, signal, this.#end.signal);
        // What tells labels apart decodes nothing.
        const decoder = given.task === "classify" ? undefined : source.files?.["decoder.json"];
        const learned = decoder ? { ...files, "decoder.json": decoder } : files;
        if (told.better) await this.#use({ ...source, files: learned });
        return new PolymixSession(learned, told);
      } finally {
        this.#learning = false;
      }
    });
  }

  memory(options) {
    return guarded(() => {
      const signal = signalOf(options ?? {});
      return until(this.#retried((remote) => remote.call("memory", {}, { signal })), signal);
    });
  }

  dispose() {
    this.#disposing ??= (async () => {
      const disposed = DISPOSED();
      this.#end.abort(disposed);
      for (const stream of [...this.#streams]) stream.fail(disposed);
      const remote = this.#remote;
      // An orderly end gives the buffers back now and not when the browser collects them; a load is broken off.
      if (remote?.loaded) await remote.call("dispose").catch(() => {});
      remote?.end(disposed);
    })();
    return this.#disposing;
  }

  /** The worker with the model; started where there is none. */
  #started() {
    if (this.#disposing) return Promise.reject(DISPOSED());
    if (!this.#starting) {
      const starting = (this.#starting = this.#start());
      starting.catch(() => {
        if (this.#starting === starting) this.#starting = null;
      });
    }
    return this.#starting;
  }

  async #start() {
    const { onProgress, warm, stallMs } = this.#options;
    const remote = new Remote(RECOGNIZER, stallMs);
    this.#remote = remote;
    // Without a worker the next call starts another.
    remote.watch(() => {
      if (this.#remote === remote) this.#remote = this.#starting = null;
    });
    try {
      this.#info = await remote.call("load", { source: this.#source, warm }, { onProgress });
      remote.loaded = true;
      return remote;
    } catch (error) {
      remote.end(error);
      throw error;
    }
  }

  /**
   * Runs `call`; where the worker or its device was lost meanwhile, loads the model again and runs it once more. What
   * only waited behind the call that was lost has both tries before it.
   */
  async #retried(call) {
    for (let tries = 0; ; ) {
      const remote = await this.#started();
      try {
        return await call(remote);
      } catch (error) {
        if (!isLost(error)) throw error;
        if (this.#disposing) throw DISPOSED();
        tries += wasServed(error) ? 1 : 0;
        if (tries === 2) throw error;
      }
    }
  }

  /** Uses the model of `source` from now on. */
  async #use(source, onProgress) {
    const told = await this.#retried((remote) => remote.call("use", { source }, { onProgress }));
    this.#source = source;
    this.#info = { ...this.#info, ...told };
  }

  #run(name, audio, options) {
    return guarded(async () => {
      const given = options ?? {};
      const signal = signalOf(given);
      const channel = given.channel ?? "mix";
      const decoder = name === "transcribe" ? decoderOf(given.decoder ?? this.#options.decoder) : undefined;
      const onProgress = callbackOf(given, "onProgress");
      const args = { ...(await until(channelsOf(audio, given), signal)), channel, decoder };
      if (channel !== "mix" && !(Number.isInteger(channel) && args.channels[channel - 1])) {
        const there = args.channels.length;
        throw badAudio(`channel is ${String(channel)}, and there are ${there}; give "mix", or one from 1 to ${there}`);
      }
      // The samples stay here, for another try.
      return until(this.#retried((remote) => remote.call(name, args, { signal, onProgress })), signal);
    });
  }

  async #open(options) {
    const signal = signalOf(options);
    const callbacks = PolymixStream.callbacks(options);
    const endpoint = PolymixStream.endpoint(options);
    const sampleRate = rateOf(options.sampleRate ?? 16000);
    const chunkMs = options.chunkMs ?? undefined;
    if (chunkMs !== undefined && typeof chunkMs !== "number") {
      throw badAudio("chunkMs is no number; give a multiple of 40 from 40 to 40000");
    }
    const decoder = decoderOf(options.decoder ?? this.#options.decoder);
    const onProgress = callbackOf(options, "onProgress");
    const stream = this.#nextStream++;
    const opening = this.#retried(async (remote) => {
      await remote.call("openStream", { stream, sampleRate, chunkMs, endpoint, decoder }, { onProgress });
      return remote;
    });
    let remote;
    try {
      remote = await until(opening, signal);
    } catch (error) {
      opening.then((remote) => remote.call("closeStream", { stream })).catch(() => {});
      throw error;
    }
    const closed = () => this.#streams.delete(opened);
    const opened = new PolymixStream(remote, stream, callbacks, Boolean(endpoint), signal, closed);
    this.#streams.add(opened);
    return opened;
  }
}
