// Selection of one of several channels.

/** What share of independent channels' energy is left of their mean where one of them counts as inverted. */
const CANCELLED = 0.05;

/**
 * The channel that is used: the one that is asked for, else their mean; where they cancel each other out, as
 * with one of them inverted, the loudest.
 */
export function monoOf(channels, channel) {
  if (channel !== "mix") return { samples: channels[channel - 1], channel };
  if (channels.length === 1) return { samples: channels[0], channel };
  const samples = new Float32Array(channels[0].length);
  for (const channel of channels) for (let i = 0; i < samples.length; i++) samples[i] += channel[i];
  for (let i = 0; i < samples.length; i++) samples[i] /= channels.length;
  const energies = channels.map(energy);
  // The mean of channels that know nothing of each other has the energy of all over the square of their number.
  const independent = energies.reduce((sum, x) => sum + x, 0) / channels.length ** 2;
  if (!(energy(samples) < CANCELLED * independent)) return { samples, channel };
  const loudest = energies.indexOf(Math.max(...energies));
  return { samples: channels[loudest], channel: loudest + 1 };
}

function energy(samples) {
  let sum = 0;
  for (let i = 0; i < samples.length; i++) sum += samples[i] * samples[i];
  return sum;
}
