// Spectrograms from the worker, which starts with the first one.

let worker = null;
let last = 0;
const waiting = new Map();

function started() {
  if (!worker) {
    worker = new Worker("/static/spectrum_worker.js", { type: "module" });
    worker.onmessage = ({ data }) => {
      waiting.get(data.job)(data.values);
      waiting.delete(data.job);
    };
  }
  return worker;
}

/** Give the worker a copy of a sound. */
export function hold(id, samples, rate) {
  const copy = samples.slice();
  started().postMessage({ id, samples: copy, rate }, [copy.buffer]);
}

export function forget(id) {
  started().postMessage({ forget: id });
}

/** Levels of a sound it holds, as `levels` of spectrum.js has them. */
export function spectrogram(id, view) {
  return new Promise((resolve) => {
    waiting.set(++last, resolve);
    started().postMessage({ id, job: last, view });
  });
}
