// The worker's answers: spectrograms and loudness, computed beside the page. It starts when first asked.

let worker = null;
let last = 0;
const waiting = new Map();

function started() {
  if (!worker) {
    worker = new Worker("/static/spectrum_worker.js", { type: "module" });
    worker.onmessage = ({ data: { job, answer } }) => {
      waiting.get(job).resolve(answer);
      waiting.delete(job);
    };
    // Without an answer nothing would be heard, and nobody would know why.
    worker.onerror = () => {
      for (const { reject } of waiting.values()) reject(new Error("This browser failed to analyse the sound."));
      waiting.clear();
      worker = null;
    };
  }
  return worker;
}

function ask(message, moved = []) {
  return new Promise((resolve, reject) => {
    waiting.set(++last, { resolve, reject });
    started().postMessage({ ...message, job: last }, moved);
  });
}

/** Give the worker a copy of a sound. */
export function hold(id, samples, rate) {
  const copy = samples.slice();
  started().postMessage({ hold: id, samples: copy, rate }, [copy.buffer]);
}

export function forget(id) {
  started().postMessage({ forget: id });
}

/** Levels of a sound it holds, as `levels` of spectrum.js has them. */
export const spectrogram = (id, view) => ask({ id, view });

/** {loudness, peak} of samples. */
export function measure(samples, rate) {
  const copy = samples.slice();
  return ask({ samples: copy, rate }, [copy.buffer]);
}
