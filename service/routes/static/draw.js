// Colours of pictures, and mels as values to paint.

// Dark to light with even steps, readable with colour blindness.
export const HEAT = [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];
// Equal values have the page's background colour, so that differences stand out in both schemes.
const COLD_HOT = {
  light: [[33, 102, 172], [146, 197, 222], [255, 255, 255], [244, 165, 130], [178, 24, 43]],
  dark: [[150, 205, 255], [52, 104, 160], [33, 30, 27], [170, 72, 48], [255, 160, 130]],
};

export const coldHot = () => COLD_HOT[matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"];

function table(stops) {
  const colours = new Uint8ClampedArray(4 * 256).fill(255);
  for (let n = 0; n < 256; n++) {
    const at = (n / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    stops[low].forEach((value, i) => { colours[4 * n + i] = value + (at - low) * (stops[low + 1][i] - value); });
  }
  return new Uint32Array(colours.buffer);
}

/** Paint values [rows, columns], the top row first; what is not a number stays empty. */
export function paint(canvas, { values, rows, columns }, stops, low, high) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = table(stops);
  const scale = 255 / (high - low || 1);
  values.forEach((value, n) => {
    if (!Number.isNaN(value)) pixels[n] = colours[Math.round(Math.min(Math.max((value - low) * scale, 0), 255))];
  });
  context.putImageData(image, 0, 0);
}

const ranges = new WeakMap();

function rangeOf({ values }) {
  if (!ranges.has(values)) {
    let low = Infinity;
    let high = -Infinity;
    for (let n = 0; n < values.length; n++) {
      low = Math.min(low, values[n]);
      high = Math.max(high, values[n]);
    }
    ranges.set(values, [low, high]);
  }
  return ranges.get(values);
}

/** [least, largest] value of mels. */
export function range(...mels) {
  const found = mels.map(rangeOf);
  return [Math.min(...found.map(([low]) => low)), Math.max(...found.map(([, high]) => high))];
}

/** A mel for drawing: the logarithm of a linear one, whose loud values would hide all others. */
export function visible(mel, linear) {
  if (!linear) return mel;
  const floor = Math.max(range(mel)[1], 1e-20) * 1e-8;
  return { ...mel, values: mel.values.map((v) => Math.log10(Math.max(v, floor))) };
}

/** The part of a mel between two seconds, the highest band first; a column is the mean of its frames. */
export function melPart(mel, frameSeconds, { from, to, columns }) {
  const { bands, frames } = mel;
  const values = new Float32Array(bands * columns).fill(NaN);
  for (let x = 0; x < columns; x++) {
    const first = Math.floor((from + ((to - from) * x) / columns) / frameSeconds);
    const last = Math.max(first + 1, Math.floor((from + ((to - from) * (x + 1)) / columns) / frameSeconds));
    if (last > frames) break;
    for (let k = 0; k < bands; k++) {
      let sum = 0;
      for (let t = first; t < last; t++) sum += mel.values[k * frames + t];
      values[(bands - 1 - k) * columns + x] = sum / (last - first);
    }
  }
  return { values, rows: bands, columns };
}

/** A mel of differences, result minus input, and the mean of their magnitudes. */
export function difference(input, result) {
  const frames = Math.min(input.frames, result.frames);
  const values = new Float32Array(input.bands * frames);
  let sum = 0;
  for (let k = 0; k < input.bands; k++) {
    for (let t = 0; t < frames; t++) {
      const value = result.values[k * result.frames + t] - input.values[k * input.frames + t];
      values[k * frames + t] = value;
      sum += Math.abs(value);
    }
  }
  return { bands: input.bands, frames, values, average: sum / values.length };
}
