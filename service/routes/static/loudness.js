// Loudness of mono sounds by ITU-R BS.1770-4 (annex 1), and gains that make two equally loud.

export const LEVEL = -23;  // LUFS: the programme level of EBU R 128
const FULL = 1 - 2 ** -15;
const BLOCK = 0.4;  // s
const STEP = 0.1;
// The K weighting's shelf and high pass as analogue prototypes (B. De Man, AES 2018): Hz, dB, Q.
const SHELF = [1681.974450955533, 3.999843853973347, 0.7071752369554196];
const HIGH_PASS = [38.13547087602444, 0.5003270373238773];

/** Both filters of a rate as [b0, b1, b2, a1, a2]. */
function sections(rate) {
  let [f, gain, q] = SHELF;
  let k = Math.tan((Math.PI * Math.min(f, 0.49 * rate)) / rate);
  const high = 10 ** (gain / 20);
  const band = high ** 0.4996667741545416;
  let norm = 1 + k / q + k * k;
  const shelf = [high + (band * k) / q + k * k, 2 * (k * k - high), high - (band * k) / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k];
  const first = shelf.map((value) => value / norm);
  [f, q] = HIGH_PASS;
  k = Math.tan((Math.PI * f) / rate);
  norm = 1 + k / q + k * k;
  return [first, [1, -2, 1, (2 * (k * k - 1)) / norm, (1 - k / q + k * k) / norm]];
}

/** Sums [L + 1] of the squares of the weighted sound before each sample. */
function sums(samples, rate) {
  const [s, h] = sections(rate);
  const total = new Float64Array(samples.length + 1);
  let [x1, x2, y1, y2, z1, z2] = [0, 0, 0, 0, 0, 0];
  for (let n = 0; n < samples.length; n++) {
    const x = samples[n];
    const y = s[0] * x + s[1] * x1 + s[2] * x2 - s[3] * y1 - s[4] * y2;
    const z = y - 2 * y1 + y2 - h[3] * z1 - h[4] * z2;
    [x2, x1, y2, y1, z2, z1] = [x1, x, y1, y, z1, z];
    total[n + 1] = total[n] + z * z;
  }
  return total;
}

const lufs = (power) => -0.691 + 10 * Math.log10(Math.max(power, 1e-30));
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Integrated loudness, LUFS; -Infinity below the absolute gate. One block if shorter than 400 ms. */
export function loudness(samples, rate) {
  const total = sums(samples, rate);
  const block = Math.min(Math.round(BLOCK * rate), samples.length);
  const step = Math.max(1, Math.round(STEP * rate));
  const blocks = [];
  for (let at = 0; at + block <= samples.length; at += step) blocks.push((total[at + block] - total[at]) / block);
  const gated = blocks.filter((power) => lufs(power) > -70);
  if (!gated.length) return -Infinity;
  const gate = lufs(mean(gated)) - 10;
  return lufs(mean(gated.filter((power) => lufs(power) > gate)));
}

export function peak(samples) {
  let most = 0;
  for (let n = 0; n < samples.length; n++) most = Math.max(most, Math.abs(samples[n]));
  return most;
}

/** Factors that bring sounds, each {loudness, peak}, to one loudness; all lower if one would clip. */
export function matched(sounds) {
  const gains = sounds.map((sound) => (Number.isFinite(sound.loudness) ? 10 ** ((LEVEL - sound.loudness) / 20) : 1));
  const highest = Math.max(...sounds.map((sound, k) => sound.peak * gains[k]));
  return gains.map((gain) => gain * Math.min(1, FULL / (highest || FULL)));
}

/** Factors of sounds as they are; one that a decoder left above full scale is lowered with all. */
export function unmatched(sounds) {
  const highest = Math.max(...sounds.map((sound) => sound.peak));
  return sounds.map(() => Math.min(1, FULL / (highest || FULL)));
}
