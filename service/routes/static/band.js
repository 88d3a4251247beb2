// One band for a blind test: sounds without what lies above a frequency, where a mel says nothing.

import { measure } from "./spectra.js";

const SLOPE = 400;  // Hz, from unchanged to silent, which it is at the frequency

/** The highest frequency that a config's mel says anything of, Hz. */
export function topOf({ fmax, sample_rate: rate, filterbank_rate: made }) {
  // A filterbank that was made for another rate ends elsewhere in this one.
  return Math.min((fmax * rate) / made, rate / 2);
}

/** Taps of a low pass: a sinc under a Blackman window, symmetric, with sum 1. */
export function taps(top, rate) {
  const half = Math.ceil((2.75 * rate) / SLOPE);
  const cut = (2 * (top - SLOPE / 2)) / rate;
  const found = Float32Array.from({ length: 2 * half + 1 }, (_, n) => {
    const t = n - half;
    const window = 0.42 + 0.5 * Math.cos((Math.PI * t) / half) + 0.08 * Math.cos((2 * Math.PI * t) / half);
    return window * (t ? Math.sin(Math.PI * cut * t) / (Math.PI * t) : cut);
  });
  const sum = found.reduce((all, value) => all + value, 0);
  return found.map((value) => value / sum);
}

/** A sound {samples, rate, ...} without what lies above a frequency, at the same places. */
export async function limited({ samples, rate, seconds }, top) {
  const kernel = taps(top, rate);
  const late = (kernel.length - 1) / 2;
  const context = new OfflineAudioContext(1, samples.length + late, rate);
  const bufferOf = (values) => {
    const buffer = context.createBuffer(1, values.length, rate);
    buffer.copyToChannel(values, 0);
    return buffer;
  };
  const source = new AudioBufferSourceNode(context, { buffer: bufferOf(samples) });
  const filter = new ConvolverNode(context, { buffer: bufferOf(kernel), disableNormalization: true });
  source.connect(filter).connect(context.destination);
  source.start();
  const found = (await context.startRendering()).getChannelData(0).slice(late);
  return { samples: found, rate, seconds, ...await measure(found, rate) };
}
