// Sounds: files as mono samples at the rate of the audio device, with loudness and peak.

import { measure } from "./spectra.js";

let made = null;

/** The page's audio device; made when it is first needed. */
export function device() {
  made ??= new AudioContext();
  return made;
}

function mono(buffer) {
  const samples = buffer.getChannelData(0).slice();
  for (let channel = 1; channel < buffer.numberOfChannels; channel++) {
    buffer.getChannelData(channel).forEach((value, n) => { samples[n] += value; });
  }
  return buffer.numberOfChannels > 1 ? samples.map((value) => value / buffer.numberOfChannels) : samples;
}

/** {samples, rate, seconds, loudness, peak} of a file, its channels averaged as the service does. */
export async function decode(blob, name) {
  const buffer = await device().decodeAudioData(await blob.arrayBuffer()).catch(() => {
    throw new Error(`This browser cannot play ${name}.`);
  });
  const samples = mono(buffer);
  const rate = buffer.sampleRate;
  return { samples, rate, seconds: samples.length / rate, ...await measure(samples, rate) };
}
