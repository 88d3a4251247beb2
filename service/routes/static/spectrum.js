// Levels of a sound over linear frequency: one windowed transform for each moment.

import { fft } from "./fft.js";

const SECONDS = 0.043;  // window: a voice's harmonics become separate lines
const MOST = 4;  // transforms that are averaged for a column wider than a window
const SILENCE = 1e-20;

/** Length of the window at a rate: the power of two nearest to 43 ms, 2048 at 48 kHz. */
export const windowSize = (rate) => 2 ** Math.round(Math.log2(SECONDS * rate));

function hann(size) {
  return Float64Array.from({ length: size }, (_, k) => 0.5 - 0.5 * Math.cos((2 * Math.PI * k) / size));
}

/** Powers [size / 2 + 1] around a sample, 1 for a sine of full scale; zeros beyond the ends. */
export function powers(samples, centre, window) {
  const size = window.length;
  const real = new Float64Array(size);
  const imaginary = new Float64Array(size);
  const first = centre - size / 2;
  let sum = 0;
  for (let k = 0; k < size; k++) {
    sum += window[k];
    const at = first + k;
    if (at >= 0 && at < samples.length) real[k] = window[k] * samples[at];
  }
  fft(real, imaginary);
  const scale = 4 / (sum * sum);
  const found = new Float64Array(size / 2 + 1);
  for (let k = 0; k < found.length; k++) found[k] = scale * (real[k] ** 2 + imaginary[k] ** 2);
  return found;
}

/** Levels [rows, columns] in dB, the highest frequency first.
 *
 * `view` has the seconds `from` and `to`, the highest frequency `top`, Hz, and the numbers of
 * `columns` and `rows`. A row is the loudest of the bins in it, so that a thin line stays visible.
 */
export function levels(samples, rate, { from, to, top, columns, rows }) {
  const window = hann(windowSize(rate));
  const width = ((to - from) * rate) / columns;
  const count = Math.min(MOST, Math.max(1, Math.ceil(width / (window.length / 2))));
  const bin = rate / window.length;
  const found = new Float32Array(rows * columns);
  for (let t = 0; t < columns; t++) {
    const column = new Float64Array(window.length / 2 + 1);
    for (let part = 0; part < count; part++) {
      const centre = Math.round(from * rate + (t + (part + 0.5) / count) * width);
      const moment = powers(samples, centre, window);
      for (let k = 0; k < column.length; k++) column[k] += moment[k] / count;
    }
    for (let row = 0; row < rows; row++) {
      const low = ((rows - 1 - row) * top) / rows / bin;
      const high = ((rows - row) * top) / rows / bin;
      let power = low < column.length - 0.5 ? column[Math.round((low + high) / 2)] ?? 0 : 0;
      for (let k = Math.ceil(low); k < high && k < column.length; k++) power = Math.max(power, column[k]);
      found[row * columns + t] = 10 * Math.log10(power + SILENCE);
    }
  }
  return found;
}
