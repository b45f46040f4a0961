/**
 * Speech to text in the browser, on the GPU. All work is done in a worker; audio never leaves the page.
 *
 * ```js
 * import { Polymix } from "polymix";
 *
 * const asr = await Polymix.load("/model/");
 * const { text, words } = await asr.transcribe(file);
 * await asr.dispose();
 * ```
 */

/** Why something failed. */
export type PolymixErrorCode =
  /** The browser offers no WebGPU adapter. */
  | "no-webgpu"
  /** The adapter's limits or memory do not hold the model, or the length of the audio. */
  | "limits"
  /** The GPU's device was lost, and lost again after the model had been loaded once more; a stream does not survive the first. */
  | "device-lost"
  /** A file of the model cannot be fetched, is damaged, or does not fit the others. */
  | "bad-model"
  /** The audio cannot be decoded, is empty, holds a sample that is not finite; or the microphone is refused. */
  | "bad-audio"
  /** The model was disposed before. */
  | "disposed"
  /** Anything else: the message says what. */
  | "failed";

/** What every promise of this package rejects with. `message` is one sentence with the remedy. */
export declare class PolymixError extends Error {
  constructor(code: PolymixErrorCode, message: string);
  readonly name: "PolymixError";
  readonly code: PolymixErrorCode;
}

/** How much of `model.safetensors` has come in. */
export interface Progress {
  /** Bytes so far. */
  loaded: number;
  /** Bytes of the whole file, by its own table; `null` until that is read. */
  total: number | null;
}

export interface LoadOptions {
  /** Called as the model comes in, and again when it is loaded anew after a lost device. */
  onProgress?: (progress: Progress) => void;
  /** Whether kernels are compiled before the promise resolves, so that the first clip is as fast as later ones; `true` if not given. */
  warm?: boolean;
}

/** What was loaded, and on what it runs. */
export interface Info {
  /** The adapter, as far as the browser tells. */
  adapter: string;
  /** Trainable parameters. */
  parameters: number;
  /** Layers of the encoder. */
  layers: number;
  /** Width of the encoder. */
  width: number;
  /** Tokens of the logits; the first is the CTC blank. */
  vocabulary: string[];
  /** Seconds of silence that are added at both ends of a clip. */
  silence: number;
  /** Milliseconds of a stream's chunks; `null` where the model hears whole clips only. */
  chunkMs: number | null;
  /** Milliseconds until the files were there, and until the model was ready. */
  fetchMs: number;
  loadMs: number;
}

/**
 * What is listened to: samples from -1 to 1 of one channel, which need `sampleRate`; decoded audio; or a file that the
 * browser can decode. Channels are averaged, any rate becomes 16 kHz. What is given stays as it is.
 */
export type Audio = Float32Array | AudioBuffer | Blob;

export interface AudioOptions {
  /** Samples a second of a `Float32Array`, from 1000 to 768000. */
  sampleRate?: number;
}

export interface Word {
  word: string;
  /** Seconds from the beginning of the audio. */
  start: number;
  end: number;
  /** Mean probability of the word's characters, from 0 to 1. */
  confidence: number;
}

/** What was heard; nothing is an empty text. */
export interface Heard {
  /** The words with single spaces between them. */
  text: string;
  words: Word[];
}

export interface Transcript extends Heard {
  /** Milliseconds in the worker, from samples to words. */
  ms: number;
  /** Real-time factor: `ms` over the audio's duration. */
  rtf: number;
}

/** A row-major tensor. */
export interface Tensor {
  data: Float32Array;
  /** Frames and elements of a frame. */
  shape: [number, number];
}

/**
 * `features` (normalised log-mel energies, a frame every 10 ms), `frontend`, `layer.0`, `layer.1`, …, `encoder` and
 * `logits` (a frame every 40 ms), as `polymix encode` writes them.
 */
export type Encoded = Record<string, Tensor>;

export interface StreamOptions {
  /** Samples a second of what is pushed; 16000 if not given. */
  sampleRate?: number;
  /** Milliseconds of audio that are heard together, a multiple of 40; those of training if not given. */
  chunkMs?: number;
  /** Called whenever the text has changed. */
  onPartial?: (heard: Heard) => void;
}

export interface ListenOptions extends Omit<StreamOptions, "sampleRate"> {
  /** What to listen to instead of the microphone; its tracks are not stopped in the end. */
  source?: MediaStream;
  /** Called with every piece of audio that is pushed, some 20 ms long. */
  onAudio?: (samples: Float32Array, sampleRate: number) => void;
}

/** Audio that is still coming in. The model carries a running state, so that a second costs the same however long it goes on. */
export interface PolymixStream {
  /** What was heard so far. */
  readonly text: string;
  /**
   * Hears more samples, in pieces of any length: the text does not depend on how the audio is cut. Resolves to what was
   * heard so far where this completed a chunk, else to `null`. Need not be awaited before the next one.
   */
  push(samples: Float32Array): Promise<Heard | null>;
  /** Ends the stream, and the microphone: what was said in all. */
  finish(): Promise<Heard>;
  /** Ends the stream and forgets what was heard. */
  cancel(): Promise<void>;
}

export interface Memory {
  /** Bytes of all live GPU buffers. */
  gpu: number;
  /** Bytes of the worker's WebAssembly memory. */
  wasm: number;
}

/** A model in a worker of its own, on the GPU. Calls are served one after another. */
export declare class Polymix {
  private constructor();

  /**
   * Loads the model in the folder `url`: `config.json`, `preprocessor_config.json`, `vocab.json` and
   * `model.safetensors` (F32, F16, BF16), which is checked as it comes in. When the GPU's device is lost, the next call
   * loads the model again from there and goes on.
   *
   * @throws {PolymixError} `no-webgpu`, `limits`, `bad-model`
   */
  static load(url: string | URL, options?: LoadOptions): Promise<Polymix>;

  /**
   * Decodes an audio file: WAV and FLAC at their own rate, others at 48 kHz.
   *
   * @throws {PolymixError} `bad-audio`
   */
  static decode(blob: Blob): Promise<AudioBuffer>;

  /** What was loaded, and on what it runs. */
  readonly info: Info;

  /**
   * Speech to text. Audio of any length: beyond a minute it is cut where it is quiet.
   *
   * @throws {PolymixError} `bad-audio`, `limits`, `device-lost`, `disposed`
   */
  transcribe(audio: Audio, options?: AudioOptions): Promise<Transcript>;

  /**
   * What the model computes on its way: features, front-end, every layer, encoder, logits.
   *
   * @throws {PolymixError} as of `transcribe`
   */
  encode(audio: Audio, options?: AudioOptions): Promise<Encoded>;

  /**
   * The features alone: the picture that the model sees, `[frames, 80]`. Needs no GPU work.
   *
   * @throws {PolymixError} `bad-audio`, `disposed`
   */
  features(audio: Audio, options?: AudioOptions): Promise<Tensor>;

  /**
   * Opens a stream. There may be several at a time.
   *
   * @throws {PolymixError} `bad-model` where `info.chunkMs` is `null`; as of `transcribe`
   */
  stream(options?: StreamOptions): Promise<PolymixStream>;

  /**
   * Opens a stream of the microphone, which the browser asks the user for.
   *
   * @throws {PolymixError} `bad-audio` where the microphone is refused; as of `stream`
   */
  listen(options?: ListenOptions): Promise<PolymixStream>;

  /** Memory that the model holds now. */
  memory(): Promise<Memory>;

  /** Gives all memory back and ends the worker. Calls after that fail with `disposed`. */
  dispose(): Promise<void>;
}
