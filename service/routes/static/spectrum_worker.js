// Worker: holds the sounds that are compared, and computes their pictures beside the page.

import { levels } from "./spectrum.js";

const sounds = new Map();

onmessage = ({ data }) => {
  if (data.samples) sounds.set(data.id, data);
  else if (data.forget) sounds.delete(data.forget);
  else {
    const { samples, rate } = sounds.get(data.id);
    const values = levels(samples, rate, data.view);
    postMessage({ job: data.job, values }, [values.buffer]);
  }
};
