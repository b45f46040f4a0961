// Audio in every form that a page has it, as channels of samples.

import { badAudio } from "./errors.js";
import { HEAD, mistaken } from "./content.js";

/** The name of a typed array's kind, of whichever frame it is; `undefined` for anything else. */
const kindOf = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Float32Array.prototype), Symbol.toStringTag).get;

/** How a typed array's values become samples from -1 to 1. */
const SCALES = { Float32Array: 1, Float64Array: 1, Int16Array: 1 / 32768 };

/** Rates that audio comes in. */
const [LOWEST, HIGHEST] = [1000, 768_000];

export function rateOf(sampleRate) {
  if (typeof sampleRate === "number" && sampleRate >= LOWEST && sampleRate <= HIGHEST) return sampleRate;
  const given = typeof sampleRate === "number" ? sampleRate : typeof sampleRate;
  throw badAudio(`sampleRate is ${given}; give the audio's own, from ${LOWEST} to ${HIGHEST}`);
}

/** A copy of a typed array's samples. */
export function samplesOf(view) {
  const scale = SCALES[kindOf.call(view)];
  if (scale === undefined) {
    throw badAudio(`samples are ${described(view)}; give a Float32Array from -1 to 1, or an Int16Array`);
  }
  let samples;
  try {
    samples = new Float32Array(view);
  } catch (error) {
    throw badAudio("the samples were handed over to another thread (detached) before; give a copy of them", error);
  }
  if (scale !== 1) for (let i = 0; i < samples.length; i++) samples[i] *= scale;
  return samples;
}

/** `{ channels, sampleRate }` of audio; what the caller gave stays whole, and may be changed from here on. */
export async function channelsOf(audio, options) {
  if (kindOf.call(audio) in SCALES) {
    if ((options.sampleRate ?? undefined) === undefined) {
      throw badAudio("samples come without their rate; give { sampleRate }");
    }
    const sampleRate = rateOf(options.sampleRate);
    return { channels: [samplesOf(audio)], sampleRate };
  }
  if (typeof audio?.getChannelData === "function") return channelsOfBuffer(audio, samplesOf);
  // What was decoded here is nobody else's.
  return channelsOfBuffer(await decoded(audio), (channel) => channel);
}

function channelsOfBuffer(buffer, taken) {
  const { numberOfChannels, length } = buffer;
  const sampleRate = rateOf(buffer.sampleRate);
  if (!(Number.isInteger(numberOfChannels) && numberOfChannels >= 1 && numberOfChannels <= 1024)) {
    throw badAudio(`the AudioBuffer has ${described(numberOfChannels)} channels; give one that was decoded`);
  }
  const channels = Array.from({ length: numberOfChannels }, (_, channel) => taken(buffer.getChannelData(channel)));
  if (channels.some((channel) => channel.length !== length)) {
    throw badAudio("an AudioBuffer's channel was handed over to another thread (detached) before; decode it again");
  }
  return { channels, sampleRate };
}

/** An audio file, at its own rate where its header is understood. */
export async function decoded(file) {
  const bytes = await bytesOf(file);
  const name = typeof file.name === "string" && file.name ? file.name : "the file";
  const wrong = mistaken(new Uint8Array(bytes, 0, Math.min(HEAD, bytes.byteLength)), "binary");
  if (wrong) throw badAudio(`${name} is no audio but ${wrong}`);
  if (!globalThis.OfflineAudioContext) {
    const reason = "audio files are decoded by pages, and this worker or server has no OfflineAudioContext";
    throw badAudio(`${reason}; decode ${name} in the page (Polymix.decode), and give its samples`);
  }
  const rate = headerRate(new DataView(bytes)) ?? 48000;
  try {
    return await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
  } catch (error) {
    const type = (file.headers ? file.headers.get("Content-Type") : file.type) || "of unknown type";
    const reason = `this browser cannot decode ${name} (${type}: ${error.message})`;
    throw badAudio(`${reason}; give WAV, FLAC, MP3, OGG or what else it plays`, error);
  }
}

/** A copy of a file's bytes. */
async function bytesOf(file) {
  const kind = Object.prototype.toString.call(file).slice(8, -1);
  if (["ArrayBuffer", "SharedArrayBuffer", "Uint8Array", "DataView"].includes(kind)) {
    try {
      const { buffer, byteOffset, byteLength } = file.buffer ? file : { buffer: file, byteLength: file.byteLength };
      return new Uint8Array(new Uint8Array(buffer, byteOffset, byteLength)).buffer;
    } catch (error) {
      throw badAudio("the file's bytes were handed over to another thread (detached) before; give a copy", error);
    }
  }
  if (typeof file?.arrayBuffer !== "function") {
    throw badAudio(
      `audio is ${described(file)}; give samples (Float32Array, Int16Array), an AudioBuffer, or a file as a Blob or ` +
        "an ArrayBuffer",
    );
  }
  try {
    return await file.arrayBuffer();
  } catch (error) {
    throw badAudio(`${file.name || "the file"} cannot be read (${error.message}); choose it again`, error);
  }
}

function described(value) {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "number") return String(value);
  if (typeof value !== "object") return `a ${typeof value}`;
  return `a value of the kind ${Object.prototype.toString.call(value).slice(8, -1)}`;
}

/** The sample rate that a WAV or FLAC header tells, so that the browser does not resample. */
function headerRate(view) {
  const tag = (at) => (at + 4 <= view.byteLength ? view.getUint32(at) : 0);
  const start = afterId3(view);
  let rate;
  if (tag(start) === 0x664c6143 && view.byteLength >= start + 22) rate = view.getUint32(start + 18) >>> 12;
  // RIFF, RF64, BW64: the same chunks.
  if ([0x52494646, 0x52463634, 0x42573634].includes(tag(start)) && tag(start + 8) === 0x57415645) {
    for (let at = start + 12; at + 16 <= view.byteLength; ) {
      if (tag(at) === 0x666d7420) {
        rate = view.getUint32(at + 12, true);
        break;
      }
      const end = at + 8 + view.getUint32(at + 4, true);
      // Chunks of an odd size have a byte behind them, which some writers leave out.
      at = end % 2 === at % 2 || (isName(tag(end)) && !isName(tag(end + 1))) ? end : end + 1;
    }
  }
  // What every browser's OfflineAudioContext takes.
  return rate >= 8000 && rate <= 96000 ? rate : undefined;
}

/** Whether the four bytes can be a chunk's name: letters, digits, spaces and the like. */
const isName = (tag) => [24, 16, 8, 0].every((shift) => ((tag >>> shift) & 255) >= 32 && ((tag >>> shift) & 255) < 127);

/** Where the file begins behind tags that are put before it. */
function afterId3(view) {
  if (view.byteLength < 10 || view.getUint32(0) >>> 8 !== 0x494433) return 0;
  return 10 + [6, 7, 8, 9].reduce((size, at) => (size << 7) | (view.getUint8(at) & 127), 0);
}
