// Worker: holds the sounds that are compared, and computes their pictures and loudness beside the page.

import { loudness, peak } from "./loudness.js";
import { levels } from "./spectrum.js";

const sounds = new Map();

onmessage = ({ data }) => {
  const { job, samples, rate } = data;
  if (data.hold) sounds.set(data.hold, { samples, rate });
  else if (data.forget) sounds.delete(data.forget);
  else if (samples) postMessage({ job, answer: { loudness: loudness(samples, rate), peak: peak(samples) } });
  else {
    const held = sounds.get(data.id);
    const answer = levels(held.samples, held.rate, data.view);
    postMessage({ job, answer }, [answer.buffer]);
  }
};
