// An AudioWorklet that hands the microphone's samples over, mixed to mono, a few milliseconds at a time.

const PIECE = 1024;

/** What share of independent channels' energy is left of their mean where one of them is inverted. */
const CANCELLED = 0.05;

class Microphone extends AudioWorkletProcessor {
  piece = new Float32Array(PIECE);
  filled = 0;
  /** Energies of the channels' mean and of each channel, of the last second or so. */
  mixed = 0;
  energies = [];

  process([channels]) {
    if (channels.length === 0) return true;
    const waveform = channels.length === 1 ? channels[0] : this.monoOf(channels);
    for (let i = 0; i < waveform.length; i++) {
      this.piece[this.filled++] = waveform[i];
      if (this.filled === PIECE) {
        this.port.postMessage(this.piece, [this.piece.buffer]);
        this.piece = new Float32Array(PIECE);
        this.filled = 0;
      }
    }
    return true;
  }

  /** The mean of the channels; while they cancel each other out, the loudest. */
  monoOf(channels) {
    const mean = new Float32Array(channels[0].length);
    for (const channel of channels) for (let i = 0; i < mean.length; i++) mean[i] += channel[i] / channels.length;
    const decay = 1 - mean.length / sampleRate;
    const energy = (samples) => samples.reduce((sum, x) => sum + x * x, 0);
    this.mixed = decay * this.mixed + energy(mean);
    this.energies = channels.map((channel, i) => decay * (this.energies[i] ?? 0) + energy(channel));
    const independent = this.energies.reduce((sum, x) => sum + x, 0) / channels.length ** 2;
    if (!(this.mixed < CANCELLED * independent)) return mean;
    return channels[this.energies.indexOf(Math.max(...this.energies))];
  }
}

registerProcessor("polymix-microphone", Microphone);
