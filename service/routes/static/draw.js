// Pictures of mels, low bands at the bottom, with a text for each.

// Dark to light with even steps, readable with colour blindness.
const HEAT = [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];
// Equal values have the page's background colour, so that differences stand out in both schemes.
const COLD_HOT = {
  light: [[33, 102, 172], [146, 197, 222], [255, 255, 255], [244, 165, 130], [178, 24, 43]],
  dark: [[150, 205, 255], [52, 104, 160], [33, 30, 27], [170, 72, 48], [255, 160, 130]],
};

function colour(stops, x) {
  const at = Math.min(Math.max(x, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  return stops[low].map((value, i) => value + (at - low) * (stops[low + 1][i] - value));
}

function paint(canvas, mel, stops, low, high, label) {
  canvas.width = mel.frames;
  canvas.height = mel.bands;
  const context = canvas.getContext("2d");
  const image = context.createImageData(mel.frames, mel.bands);
  const span = high - low || 1;
  for (let k = 0; k < mel.bands; k++) {
    for (let t = 0; t < mel.frames; t++) {
      const at = 4 * ((mel.bands - 1 - k) * mel.frames + t);
      const value = (mel.values[k * mel.frames + t] - low) / span;
      image.data.set([...colour(stops, value), 255], at);
    }
  }
  context.putImageData(image, 0, 0);
  canvas.setAttribute("aria-label", label);
}

export function range(mel) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of mel.values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** A mel for drawing: the logarithm of a linear one, whose loud values would hide all others. */
export function visible(mel, linear) {
  if (!linear) return mel;
  const floor = Math.max(range(mel)[1], 1e-20) * 1e-8;
  return { ...mel, values: mel.values.map((v) => Math.log10(Math.max(v, floor))) };
}

/** Draw a mel; returns its text. */
export function drawMel(canvas, mel, [low, high], title) {
  const size = `${mel.bands} bands, ${mel.frames} frames`;
  const label = `${title}: ${size}, colours from ${low.toFixed(2)} to ${high.toFixed(2)}`;
  paint(canvas, mel, HEAT, low, high, label);
  return label;
}

/** Draw the difference, with colours for a quarter of the mel's range; returns its text. */
export function drawDifference(canvas, mel, result, [low, high]) {
  const frames = Math.min(mel.frames, result.frames);
  const values = new Float32Array(mel.bands * frames);
  let sum = 0;
  for (let k = 0; k < mel.bands; k++) {
    for (let t = 0; t < frames; t++) {
      const difference = result.values[k * result.frames + t] - mel.values[k * mel.frames + t];
      values[k * frames + t] = difference;
      sum += Math.abs(difference);
    }
  }
  const limit = (high - low) / 4 || 1;
  const label = `Difference: ${(sum / values.length).toFixed(3)} on average, in a range of ${(high - low).toFixed(2)}`;
  const scheme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  paint(canvas, { bands: mel.bands, frames, values }, COLD_HOT[scheme], -limit, limit, label);
  return `${label}; blue where the result is quieter, red where louder, full colour from ${limit.toFixed(2)}`;
}
