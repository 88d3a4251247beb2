// Axes: round numbers on them, and where a frequency lies on a linear and on a mel axis.

/** Round numbers from `low` to `high`, at most `most` steps of 1, 2 or 5. */
export function ticks(low, high, most) {
  const least = (high - low) / most;
  const decade = 10 ** Math.floor(Math.log10(least));
  const step = decade * [1, 2, 5, 10].find((factor) => factor * decade >= least * (1 - 1e-9));
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(Number((k * step).toPrecision(10)));
  return found;
}

const hertz = (f) => (f >= 1000 ? `${f / 1000} kHz` : `${f} Hz`);

/** Ticks of a time axis as [share of the width, text]. */
export const timeTicks = (from, to, most) => ticks(from, to, most).map((t) => [(t - from) / (to - from), `${t} s`]);

/** Ticks of a linear frequency axis up to `top`, Hz, as [share of the height, text]. */
export const linearTicks = (top, most) => ticks(0, top, most).map((f) => [f / top, hertz(f)]);

// Slaney's mel: linear below 1 kHz, where it is 15, and a factor of 6.4 in 27 mels above.
const MELS = {
  htk: (f) => 2595 * Math.log10(1 + f / 700),
  slaney: (f) => (f < 1000 ? (3 * f) / 200 : 15 + (27 * Math.log(f / 1000)) / Math.log(6.4)),
};

/** Ticks of a config's mel axis: band k of K has its centre at k + 1 of K + 1 equal steps of mels. */
export function melTicks(config, most) {
  const mel = MELS[config.mel_scale];
  const [low, high] = [mel(config.fmin), mel(config.fmax)];
  // A filterbank that was made for another rate has its bands elsewhere in this one.
  const factor = config.filterbank_rate / config.sample_rate;
  const found = [];
  for (const f of [100, 250, 500, 1000, 2000, 4000, 8000, 16000]) {
    const step = ((mel(f * factor) - low) / (high - low)) * (config.n_mels + 1);
    const share = (step - 0.5) / config.n_mels;
    const before = found.at(-1)?.[0] ?? -1;
    if (share >= 0 && share <= 1 && share - before >= 1 / most) found.push([share, hertz(f)]);
  }
  return found;
}
