// What both tabs do with samples.

/** The pieces as one. */
export function joined(pieces) {
  const whole = new Float32Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** A WAV file of 16 bits, to be played. */
export function wav(samples, sampleRate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const tag = (offset, text) => [...text].forEach((c, i) => view.setUint8(offset + i, c.charCodeAt(0)));
  tag(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  tag(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, 2 * sampleRate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  tag(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, x)) * 32767, true));
  return new Blob([view], { type: "audio/wav" });
}

/** Gives up the addresses of sounds, after the player, which may still read from one, has let go of it. */
export function unplayed(player, urls) {
  player.pause();
  player.removeAttribute("src");
  player.load();
  for (const url of urls) URL.revokeObjectURL(url);
}

/** Root mean square of samples. */
export function loudness(samples) {
  let sum = 0;
  for (let i = 0; i < samples.length; i++) sum += samples[i] * samples[i];
  return Math.sqrt(sum / Math.max(1, samples.length));
}

/** What of the loudest moment counts as speech, and what is never speech. */
const [SHARE, FAINT] = [0.08, 0.003];
/** Seconds of a moment, and of what is kept around speech. */
const [MOMENT, MARGIN] = [0.02, 0.15];

/** Whether a moment of this loudness is speech, where the loudest was `most`. */
export const isSpeech = (now, most) => most > FAINT && now > SHARE * most;

/** The samples without the quiet at both ends; nothing where all is quiet. */
export function trimmed(samples, sampleRate) {
  const moment = Math.max(1, Math.round(MOMENT * sampleRate));
  const loud = [];
  for (let at = 0; at < samples.length; at += moment) loud.push(loudness(samples.subarray(at, at + moment)));
  const most = Math.max(0, ...loud);
  const speech = (now) => isSpeech(now, most);
  const first = loud.findIndex(speech);
  if (first < 0) return null;
  const margin = Math.round(MARGIN * sampleRate);
  return samples.slice(Math.max(0, first * moment - margin), (loud.findLastIndex(speech) + 1) * moment + margin);
}
