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
  /**
   * The audio cannot be decoded, is empty, holds samples that no recording holds (not finite, in the range of 16-bit
   * integers); or the microphone is refused, unplugged, muted or suspended.
   */
  | "bad-audio"
  /** The call's `signal` aborted it; `cause` is the signal's reason. */
  | "aborted"
  /** The browser's storage is full or not allowed, or holds no model of that name. */
  | "storage"
  /** The model was disposed before. */
  | "disposed"
  /** Anything else, such as a worker that cannot be started or an option of a wrong kind: the message says what. */
  | "failed";

/** What every promise of this package rejects with, whatever was passed or lost. `message` is one sentence with the remedy. */
export declare class PolymixError extends Error {
  constructor(code: PolymixErrorCode, message: string, options?: { cause?: unknown });
  readonly name: "PolymixError";
  readonly code: PolymixErrorCode;
}

/** What every call takes. */
export interface CallOptions {
  /** Ends the wait with `aborted`; what is not begun is not done, and what is under way is forgotten when it is done. */
  signal?: AbortSignal | null;
}

/** How much of a file has come in. */
export interface Progress {
  /** Bytes so far. */
  loaded: number;
  /** Bytes of the whole file; `null` while that is not known. */
  total: number | null;
}

/** Hot words: a list; a text with a word a line, perhaps with a weight behind it; or an object from words to weights. */
export type HotWords = Iterable<string> | string | Record<string, number>;

/**
 * How frames become text, with the keys of a `decoder.json`; what is left out has their defaults. Logarithms are
 * natural.
 */
export interface DecoderOptions {
  /** The best of many texts, or the most probable token of each frame; `"beam"` if not given. */
  decoder?: "beam" | "greedy" | null;
  /** Texts that are kept after each frame; 200. */
  beam?: number | null;
  /** Texts whose score is that far below the best one's are dropped; -10. */
  beamPrune?: number | null;
  /** Tokens with a log-probability below this are not looked at, but the best of each frame; -5. */
  tokenPrune?: number | null;
  /** Whether of texts that end alike only the best is kept; `false`. */
  pruneHistory?: boolean | null;
  /** Weight of the language model; 0.8. */
  alpha?: number | null;
  /** Added for each word, with a language model; 1.2. */
  beta?: number | null;
  /** Added for a word that is not known, with a language model; -10. */
  unknown?: number | null;
  /** Whether the language model scores the text from the beginning to the end of a sentence; `true`. */
  scoreBoundary?: boolean | null;
  /** Added for each hot word without a weight of its own; 10. */
  hotWordWeight?: number | null;
  /** Address of a language model as `polymix lm` writes it, plain or gzip; `polymix lm build` makes one of ARPA. It is fetched once. */
  lm?: string | URL | null;
  /** The words that count as known; those of the language model if not given. */
  words?: Iterable<string> | string | null;
  /** Words to be preferred. */
  hotWords?: HotWords | null;
  /** Texts that are found, the best one first; 1. */
  nBest?: number | null;
}

/** What decodes: options, or the `decoder.json` of the model's folder. Greedy decoding if not given. */
export type Decoder = DecoderOptions | "model";

export interface DecodingOptions {
  /** What decodes this call; that of `load` if not given. */
  decoder?: Decoder | null;
  /** Called as the language model comes in, where it is fetched for this call; `total` is `null` where the server does not tell. */
  onProgress?: ((progress: Progress) => void) | null;
}

/** The files of a model, by their names: `config.json`, `preprocessor_config.json`, `vocab.json`, `model.safetensors`, and others that go with them. */
export type ModelFiles = Record<string, Uint8Array<ArrayBuffer>>;

/** Files that are given. */
export type GivenFiles = Record<string, Uint8Array | ArrayBuffer | Blob>;

/**
 * Where a model is: the address of its folder; files that the page holds, such as those that a session saved; or the name
 * under which a session was kept.
 */
export type ModelSource =
  | string
  | URL
  | { files: GivenFiles }
  | { stored: string };

export interface LoadOptions extends CallOptions {
  /** What decodes the calls that say nothing else. */
  decoder?: Decoder | null;
  /** Called as the model comes in, and again when it is loaded anew after a lost device. */
  onProgress?: ((progress: Progress) => void) | null;
  /** Whether kernels are compiled before the promise resolves, so that the first clip is as fast as later ones; `true` if not given. */
  warm?: boolean | null;
  /** Milliseconds without a byte after which a download is given up, also of the worker; 30000 if not given. */
  stallMs?: number | null;
}

export interface UseOptions extends CallOptions {
  /** Called as the model comes in. */
  onProgress?: ((progress: Progress) => void) | null;
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
  /** Classes of a model that tells them apart; else none. */
  labels: string[];
  /** Seconds of silence that are added at both ends of a clip. */
  silence: number;
  /** Milliseconds of a stream's chunks; `null` where the model takes whole clips only. */
  chunkMs: number | null;
  /** Milliseconds until the files were there, and until the model was ready. */
  fetchMs: number;
  loadMs: number;
}

/** The bytes of an audio file that the browser can decode. */
export type AudioFile = Blob | Response | ArrayBuffer | SharedArrayBuffer | Uint8Array | DataView;

/**
 * What is listened to: samples of one channel, from -1 to 1 or of 16 bits, which need `sampleRate`; decoded audio; or a
 * file. It may come from another frame. Any rate becomes 16 kHz. What is given stays as it is, and may be changed as
 * soon as the call was made.
 */
export type Audio = Float32Array | Float64Array | Int16Array | AudioBuffer | AudioFile;

/** A channel, numbered from 1, or the mean of all. */
export type Channel = number | "mix";

export interface AudioOptions extends CallOptions {
  /** Samples a second of a typed array, from 1000 to 768000. */
  sampleRate?: number | null;
  /**
   * Which channel is used. If not given, their mean; where channels cancel each other out, as with one of them
   * inverted, the loudest is used, and the result's `channel` tells.
   */
  channel?: Channel | null;
}

export interface Word {
  word: string;
  /** Seconds from the beginning of the audio. */
  start: number;
  end: number;
  /**
   * From 0 to 1. Greedy: mean probability of the word's tokens. Beam search: the share of all texts that were found, by
   * their scores, that have the word there.
   */
  confidence: number;
}

/** One of several texts. */
export interface Beam {
  text: string;
  words: Word[];
  /** Logarithm of the probability that the model gives the text, and with what language model and hot words add. */
  ctcScore: number;
  score: number;
}

/** A text, empty if no word was recognized. */
export interface Heard {
  /** The words with single spaces between them. */
  text: string;
  words: Word[];
  /** How many of the words stay, whatever follows: of a stream, the others may still change. */
  settled: number;
  /** With `nBest`, the best texts, the best one first; of a stream at its end. */
  beams?: Beam[];
}

export interface Transcript extends Heard {
  /** Milliseconds in the worker, from samples to words. */
  ms: number;
  /** Real-time factor: `ms` over the audio's duration. */
  rtf: number;
  /** The channel that was used. */
  channel: Channel;
}

export interface Class {
  label: string;
  /** From 0 to 1; those of all classes add up to 1. */
  probability: number;
}

/** The most probable class. */
export interface Classified extends Class {
  /** All of them, the most probable first. */
  labels: Class[];
  /** As of a transcript. */
  ms: number;
  rtf: number;
  channel: Channel;
}

/** One channel of audio, at its own rate. */
export interface Mono {
  samples: Float32Array;
  sampleRate: number;
  channel: Channel;
}

/** A row-major tensor. */
export interface Tensor {
  data: Float32Array;
  /** Frames and elements of a frame. */
  shape: [number, number];
}

/**
 * `features` (normalized log-mel energies, a frame every 10 ms), `frontend`, `layer.0`, `layer.1`, …, `encoder` and
 * `logits` (a frame every 40 ms), as `polymix encode` writes them.
 */
export type Encoded = Record<string, Tensor>;

export interface TranscribeOptions extends AudioOptions, DecodingOptions {}

/** When a sentence of a stream is over: the rules of `polymix transcribe --stream --endpoint`. */
export interface Endpoint {
  /** Milliseconds without a word that end it where they are quiet, from 40 on, 600 if not given; three times as many where they are not. */
  pauseMs?: number | null;
  /** Decibels from which on a pause is quiet, below the loudest 40 ms of the sentence; 12 if not given. */
  quietDb?: number | null;
  /** Milliseconds after which it ends at the first frame without a word, from 1000 on; 20000 if not given. */
  longestMs?: number | null;
}

export interface StreamOptions extends CallOptions, DecodingOptions {
  /** Samples a second of what is pushed; 16000 if not given. */
  sampleRate?: number | null;
  /** Milliseconds of audio that are processed together, a multiple of 40; those of training if not given. */
  chunkMs?: number | null;
  /** Ends sentences by themselves, each of which `onSentence` is told; without it all is one. */
  endpoint?: boolean | Endpoint | null;
  /** Called with each sentence that has ended, with the times of its words in the stream; needs `endpoint`. */
  onSentence?: ((said: Heard) => void) | null;
  /** Ends the stream at any time: what it holds is given back, and later calls fail with `aborted`. */
  signal?: AbortSignal | null;
  /** Called whenever the text, with `endpoint` of the sentence, or how much of it is settled, has changed. What callbacks throw is reported as an error of the page, and the stream goes on. */
  onPartial?: ((heard: Heard) => void) | null;
  /**
   * Called at once when something goes wrong while audio comes in: the device is lost, the microphone is unplugged or
   * muted, the browser suspends its audio, the model is disposed. Where that is the end, `onEnd` is called too.
   */
  onError?: ((error: PolymixError) => void) | null;
  /**
   * Called once when the stream ends by itself, and not by `finish`, `cancel` or `signal`. The microphone is stopped
   * then. After one that was unplugged or suspended for good, `finish` gives what was said until then; after a lost
   * device or `dispose` it rejects with the same error.
   */
  onEnd?: ((error: PolymixError) => void) | null;
}

export interface ListenOptions extends Omit<StreamOptions, "sampleRate"> {
  /** What to listen to instead of the microphone; its tracks are not stopped in the end. */
  source?: MediaStream | null;
  /** Called with a copy of every piece of audio that is pushed, some 20 ms long. */
  onAudio?: ((samples: Float32Array, sampleRate: number) => void) | null;
}

/** Audio that is still coming in. The model carries a running state, so that a second costs the same however long it goes on. */
export interface PolymixStream {
  /** The text so far, with `endpoint` of the sentence. */
  readonly text: string;
  /**
   * Takes more samples, in pieces of any length: the text does not depend on how the audio is cut. Resolves to the
   * text so far where this completed a chunk, else to `null`. Need not be awaited before the next one.
   */
  push(samples: Float32Array | Float64Array | Int16Array): Promise<Heard | null>;
  /** Ends the stream, and the microphone: what was said in all, with `endpoint` since the last sentence ended. Called again, it gives the same. */
  finish(options?: CallOptions | null): Promise<Heard>;
  /** Ends the stream and forgets its text. */
  cancel(): Promise<void>;
}

/** A take. */
export interface Take extends Pick<AudioOptions, "sampleRate" | "channel"> {
  audio: Audio;
}

/** A take, and what is said in it. */
export interface TextExample extends Take {
  /** A word or a phrase in any language; letters that the model does not know yet are added. Nothing is `""`. */
  text: string;
}

/** A take, and what class it is of. */
export interface LabelExample extends Take {
  label: string;
}

export interface AdaptOptions extends CallOptions {
  /**
   * What is learned: to write what is said, the default, or to tell classes apart. A model that does not know all of the
   * labels gets a head for them, of which `classify` tells.
   */
  task?: "transcribe" | "classify" | null;
  /**
   * The takes: at least two, of 60 s or less, of two hours in all; better some takes of every word. Some are held out, to
   * measure whether learning helps: of every text that there are several takes of, one in five, at least one.
   */
  examples: Iterable<TextExample> | Iterable<LabelExample>;
  /** Steps, of up to eight takes each; 1000 where `layers` is "head", else 100. */
  steps?: number | null;
  /** What learns besides the head: nothing, the last layers of the encoder, or everything; `{ last: 2 }`. The fewer, the sooner. */
  layers?: "head" | { last: number } | "all" | null;
  /** Equal seeds give equal bits on equal adapters; 0. */
  seed?: number | null;
  /** Called before the first step and after every step. */
  onProgress?: ((progress: AdaptProgress) => void) | null;
  /** Ends learning at once: nothing is changed then. */
  signal?: AbortSignal | null;
}

/** Results on the held-out takes. */
export interface HeldOut {
  /** Takes whose text, or label, is recognized. */
  right: number;
  /** All of them. */
  takes: number;
  /** Characters that are wrong, or labels. */
  errors: number;
  /** Mean CTC loss of a token, or mean cross-entropy of a take; `null` where it is not finite. */
  loss: number | null;
}

export interface AdaptProgress {
  /** Steps done, and in all. */
  step: number;
  steps: number;
  /** The loss of the step's takes; `null` before the first step. */
  loss: number | null;
  /** Results on the held-out takes: before the first step, after every tenth of the steps and the last; else `null`. */
  heldOut: HeldOut | null;
}

/** A held-out take. */
export interface HeardTake {
  /** Which example, from 0. */
  take: number;
  text: string;
  /** The text before learning, and after. */
  before: string;
  after: string;
}

/** What was learned. The model with the fewest errors on the held-out takes is in use since; if none was better, the old one is. */
export interface PolymixSession {
  /** Whether the model is another than before. */
  readonly better: boolean;
  /** The step whose weights it has; 0: those of before. */
  readonly bestStep: number;
  readonly before: HeldOut;
  readonly after: HeldOut;
  /** The loss of every step. */
  readonly losses: (number | null)[];
  /** Letters that the vocabulary has gained. */
  readonly newCharacters: string[];
  /** The texts of the held-out takes. */
  readonly heard: HeardTake[];
  /** Examples that cannot be learned, by their numbers from 0, and why. */
  readonly leftOut: { take: number; reason: string }[];
  /** Values that learned. */
  readonly trainable: number;
  /** The files of the model, which the `polymix` command opens too, in a folder; `asr.use({ files })` takes them. */
  save(): Promise<ModelFiles>;
  /**
   * Keeps the model in the browser under a name, for `Polymix.load({ stored: name })`; what had the name is replaced.
   *
   * @throws {PolymixError} `storage`
   */
  keep(name: string): Promise<void>;
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
   * Loads a model, as of the folder `source`: `config.json`, `preprocessor_config.json`, `vocab.json` and
   * `model.safetensors` (F32, F16, BF16), which is checked as it comes in. A query of the address goes with each file.
   * When the GPU's device is lost, the calls that wait, or the next one, load the model again from there and go on.
   *
   * @throws {PolymixError} `no-webgpu`, `limits`, `bad-model`, `storage`, `aborted`; `failed` where there is no worker, as on a server
   */
  static load(source: ModelSource, options?: LoadOptions | null): Promise<Polymix>;

  /**
   * The names under which models are kept in the browser.
   *
   * @throws {PolymixError} `storage`, `aborted`
   */
  static stored(options?: CallOptions | null): Promise<string[]>;

  /**
   * Keeps the files of a model in the browser under a name, as `keep` of a session does; what had the name is replaced.
   *
   * @throws {PolymixError} `bad-model` where they are no files, `storage`, `aborted`
   */
  static keep(name: string, files: GivenFiles, options?: CallOptions | null): Promise<void>;

  /**
   * The files that are kept under a name.
   *
   * @throws {PolymixError} `storage`, `aborted`
   */
  static kept(name: string, options?: CallOptions | null): Promise<ModelFiles>;

  /**
   * Removes what is kept under a name, if anything is.
   *
   * @throws {PolymixError} `storage`, `aborted`
   */
  static forget(name: string, options?: CallOptions | null): Promise<void>;

  /**
   * Decodes an audio file: WAV and FLAC at their own rate, others at 48 kHz. Workers cannot.
   *
   * @throws {PolymixError} `bad-audio`, `aborted`
   */
  static decode(file: AudioFile, options?: CallOptions | null): Promise<AudioBuffer>;

  /** What was loaded, and on what it runs. */
  readonly info: Info;

  /**
   * Speech to text. Audio of any length: beyond a minute it is cut where it is quiet.
   *
   * ```js
   * const options = { decoder: { beam: 100, lm: "/lm", hotWords: ["polymix"], nBest: 5 } };
   * const { text, beams } = await asr.transcribe(file, options);
   * ```
   *
   * @throws {PolymixError} `bad-model` where the language model cannot be fetched or is none; `bad-audio`, `limits`, `device-lost`, `disposed`, `aborted`
   */
  transcribe(audio: Audio, options?: TranscribeOptions | null): Promise<Transcript>;

  /**
   * Of which class the audio is, by a model that was trained for that, or has learned labels.
   *
   * @throws {PolymixError} `bad-model` where the model writes text; as of `transcribe`
   */
  classify(audio: Audio, options?: AudioOptions | null): Promise<Classified>;

  /**
   * What the model computes on its way: features, front-end, every layer, encoder, logits.
   *
   * @throws {PolymixError} as of `transcribe`
   */
  encode(audio: Audio, options?: AudioOptions | null): Promise<Encoded>;

  /**
   * The features alone: the picture that the model sees, `[frames, 80]`. Needs no GPU work.
   *
   * @throws {PolymixError} `bad-audio`, `disposed`, `aborted`
   */
  features(audio: Audio, options?: AudioOptions | null): Promise<Tensor>;

  /**
   * The audio that is recognized: the channel or the mean of channels that `transcribe` takes, to be drawn or played.
   *
   * @throws {PolymixError} as of `features`
   */
  mono(audio: Audio, options?: AudioOptions | null): Promise<Mono>;

  /**
   * Opens a stream. There may be several at a time.
   *
   * @throws {PolymixError} `bad-model` where `info.chunkMs` is `null`; as of `transcribe`
   */
  stream(options?: StreamOptions | null): Promise<PolymixStream>;

  /**
   * Opens a stream of the microphone, which the browser asks the user for.
   *
   * @throws {PolymixError} `bad-audio` where the microphone is refused or the browser lets no audio run; as of `stream`
   */
  listen(options?: ListenOptions | null): Promise<PolymixStream>;

  /**
   * Learns a few takes, in a worker of its own on a device of its own: meanwhile this model is used as before, and whatever
   * goes wrong, it is as it was. What learns is fetched with the first call, `polymix_train_bg.wasm`.
   *
   * ```js
   * const session = await asr.adapt({ examples: [{ audio, text: "hola" }, …], layers: "head", onProgress });
   * const { text } = await asr.transcribe(file); // by what was learned
   * await session.keep("mine");
   * ```
   *
   * @throws {PolymixError} `bad-audio` with the example's number; `failed` where an option is wrong or too few examples can be learned; `device-lost`, `limits`, `bad-model`, `disposed`, `aborted`
   */
  adapt(options: AdaptOptions): Promise<PolymixSession>;

  /**
   * Uses another model from now on, on the same device, with the kernels that are compiled: what was saved or kept,
   * or the one that was loaded first. Streams that are open go on with theirs. Where it fails, all stays as it was.
   *
   * @throws {PolymixError} `bad-model`, `storage`, `limits`, `device-lost`, `disposed`, `aborted`
   */
  use(source: ModelSource, options?: UseOptions | null): Promise<void>;

  /** Memory that the model holds now. */
  memory(options?: CallOptions | null): Promise<Memory>;

  /**
   * Gives all memory back and ends the worker, microphones and streams. Calls that the worker has are answered first;
   * others fail with `disposed`.
   */
  dispose(): Promise<void>;
}
