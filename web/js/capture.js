// A microphone, or another MediaStream, as pieces of samples; and what may befall it while it is listened to.

import { PolymixError, badAudio, until, within } from "./errors.js";

/** Milliseconds that a browser may take to let audio run; without a click it waits for ever. */
const PATIENCE = 5000;

/** What pages are told when the browser refuses its microphone, by the name of the browser's error. */
const REFUSALS = {
  NotAllowedError: "it is not allowed here; allow it in the browser's settings for this page and try again",
  NotFoundError: "there is none; plug one in and try again",
  NotReadableError: "another program or the system holds it; free it and try again",
};

export class Capture {
  #media;
  #owned;
  #context;
  #node = null;
  #closed = null;
  #handlers = new AbortController();

  constructor(media, owned, context) {
    this.#media = media;
    this.#owned = owned;
    this.#context = context;
  }

  /** Opens `source`, or the microphone where there is none; nobody waits longer than the signals say. */
  static async open(source, stallMs, ...signals) {
    const owned = !source;
    if (!owned && typeof source.getAudioTracks !== "function") {
      throw badAudio("source is no MediaStream; give one, or leave it out for the microphone");
    }
    const asked = owned ? microphone() : source;
    let capture = null;
    try {
      const media = await until(asked, ...signals);
      const live = media.getAudioTracks().some(({ readyState }) => readyState !== "ended");
      if (!live) throw badAudio("source has no audio track that is live; give one that has");
      capture = new Capture(media, owned, new AudioContext());
      const worklet = new URL("./microphone.js", import.meta.url);
      const late = () => badAudio(`${worklet} sends nothing for ${stallMs / 1000} s; check its server`);
      await until(within(capture.#context.audioWorklet.addModule(worklet), stallMs, late), ...signals);
      return capture;
    } catch (error) {
      if (capture) await capture.close();
      // The user may answer after the wait was over.
      else if (owned) Promise.resolve(asked).then(stop, () => {});
      throw failed(error);
    }
  }

  get sampleRate() {
    return this.#context.sampleRate;
  }

  /**
   * Hands pieces of samples to `onAudio` until it is closed. `onTrouble` is told at once what goes wrong, and whether
   * that is the end of the audio.
   */
  async start(onAudio, onTrouble, ...signals) {
    const context = this.#context;
    const tracks = this.#media.getAudioTracks();
    const { signal } = this.#handlers;
    const over = (reason) => this.#closed || onTrouble(badAudio(reason), true);
    const gone = () => tracks.every(({ readyState }) => readyState === "ended");
    const unplugged = () =>
      over("the microphone was unplugged, or its permission withdrawn; choose one and listen again");
    const muted = () => onTrouble(badAudio("the microphone is muted; unmute it"), false);
    const broken = () => over("the browser stopped its audio processor; listen again");
    // An event that others made, as in a test, leaves the track live.
    const ended = ({ target }) => (gone() || target.readyState === "live") && unplugged();
    try {
      const node = (this.#node = new AudioWorkletNode(context, "polymix-microphone", { numberOfOutputs: 0 }));
      node.port.onmessage = ({ data }) => (gone() ? unplugged() : onAudio(data));
      node.addEventListener("processorerror", broken, { signal });
      for (const track of tracks) {
        track.addEventListener("ended", ended, { signal });
        track.addEventListener("mute", muted, { signal });
      }
      context.createMediaStreamSource(this.#media).connect(node);
      const waits = () => badAudio("the browser does not let audio run before a click; listen from a click or a key");
      await until(within(context.resume(), PATIENCE, waits), ...signals);
    } catch (error) {
      throw failed(error);
    }
    context.addEventListener("statechange", () => this.#changed(onTrouble, over), { signal });
    if (context.state !== "running") this.#changed(onTrouble, over);
  }

  /** The context is no longer as it was started: tells, and goes on where the browser lets it. */
  #changed(onTrouble, over) {
    const { state } = this.#context;
    if (this.#closed || state === "running") return;
    if (state === "closed") return over("the browser closed the microphone's audio; listen again");
    const lost = "the browser suspended the microphone's audio, and what is said meanwhile is lost; say it again";
    onTrouble(badAudio(lost), false);
    const still = () => badAudio("still suspended");
    within(this.#context.resume(), PATIENCE, still).catch(() =>
      over("the browser keeps the microphone's audio suspended; listen again"),
    );
  }

  /** Ends it; the microphone is let go. */
  close() {
    return (this.#closed ??= this.#close());
  }

  async #close() {
    this.#handlers.abort();
    if (this.#node) this.#node.port.onmessage = null;
    if (this.#owned) stop(this.#media);
    if (this.#context.state !== "closed") await this.#context.close().catch(() => {});
  }
}

const stop = (media) => media.getTracks().forEach((track) => track.stop());

/** An error of the browser's own audio as one of ours. */
function failed(error) {
  if (error instanceof PolymixError) return error;
  return badAudio(`the browser's audio failed (${error.message}); try again`, error);
}

async function microphone() {
  const devices = globalThis.navigator?.mediaDevices;
  if (!devices?.getUserMedia) {
    throw badAudio("the microphone cannot be used: pages have it over https or localhost only; open the page so");
  }
  try {
    return await devices.getUserMedia({ audio: { channelCount: 1 } });
  } catch (error) {
    const reason = REFUSALS[error?.name] ?? `the browser says ${error?.message ?? error}; try again`;
    throw badAudio(`the microphone cannot be used: ${reason}`, error);
  }
}
