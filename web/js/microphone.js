// An AudioWorklet that hands the microphone's samples over, mixed to mono, a few milliseconds at a time.

const PIECE = 1024;

class Microphone extends AudioWorkletProcessor {
  piece = new Float32Array(PIECE);
  filled = 0;

  process([channels]) {
    if (channels.length === 0) return true;
    for (let i = 0; i < channels[0].length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.piece[this.filled++] = sum / channels.length;
      if (this.filled === PIECE) {
        this.port.postMessage(this.piece, [this.piece.buffer]);
        this.piece = new Float32Array(PIECE);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("polymix-microphone", Microphone);
