// Progress of the work: a bar, a text for its stage, and the service's report on a request.

const SENT = 0.05;  // share of a request when its body is sent
const COMPUTED = 0.95;  // share when it is computed; encoding and download remain
const PAUSE = 300;  // ms between two reports

const STAGES = { decode: "decoding", compute: "computing", encode: "encoding" };

/** A report as a share of the request's work; null without an estimate. */
export function share({ stage, elapsed, remaining }) {
  if (stage === "decode") return SENT;
  if (stage === "encode") return COMPUTED;
  if (remaining === null || elapsed + remaining <= 0) return null;
  return SENT + (COMPUTED - SENT) * (elapsed / (elapsed + remaining));
}

/** [text of the stage, which is announced; text of the time, which is not]. */
export function words({ stage, ahead, remaining, measured }) {
  const name = stage === "queue" ? `waiting in the queue${ahead ? `, ${ahead} ahead` : ""}` : STAGES[stage];
  if (stage !== "queue" && stage !== "compute") return [name, ""];
  if (remaining <= 0) return [name, "longer than expected"];
  const seconds = remaining < 1 ? "less than 1 s" : `about ${Math.ceil(remaining)} s`;
  return [name, `${seconds} left${measured ? "" : ", first guess"}`];
}

/** Progress bar of one run, with weighted steps, one after the other. */
export class Bar {
  constructor(progress, status, weights) {
    Object.assign(this, { progress, status, weights, at: -1, announced: "" });
    this.whole = weights.reduce((sum, weight) => sum + weight, 0);
    progress.value = 0;
  }

  /** Begin the next step. */
  step(title) {
    this.at += 1;
    this.title = title;
    this.show(0, "", "");
  }

  /** Show the share of the step, its stage and its time; the bar never goes back. */
  show(done, stage, time) {
    const before = this.weights.slice(0, this.at).reduce((sum, weight) => sum + weight, 0);
    const value = (before + (done ?? 0) * this.weights[this.at]) / this.whole;
    this.progress.value = Math.max(this.progress.value, value);
    const text = stage ? `${this.title}: ${stage}` : `${this.title} …`;
    // Only a new stage is announced: seconds would interrupt a screen reader at every report.
    if (text !== this.announced) {
      this.announced = text;
      this.time = document.createElement("span");
      this.time.setAttribute("aria-hidden", "true");
      this.status.replaceChildren(`${text} `, this.time);
    }
    this.time.textContent = time && `(${time})`;
    const percent = Math.floor(100 * this.progress.value);
    this.progress.setAttribute("aria-valuetext", `${percent} %, ${text}${time && `, ${time}`}`);
    this.progress.textContent = `${percent} %`;
  }

  /** Show the upload, bytes. */
  sending(loaded, total) {
    if (loaded < total) this.show((SENT * loaded) / total, "sending", `${Math.floor((100 * loaded) / total)} % sent`);
  }

  /** Show the download, bytes. */
  fetching(loaded, total) {
    this.show(COMPUTED + (total ? ((1 - COMPUTED) * loaded) / total : 0), "downloading the answer", "");
  }
}

const after = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
});

/** Ask for the progress of a request until the signal ends it. */
export async function follow(ask, signal, bar) {
  while (!signal.aborted) {
    try {
      const position = await (await ask(signal)).json();
      if (signal.aborted) return;
      // It has not arrived, or is at another replica; keep the last report.
      if (position.stage !== "unknown") bar.show(share(position), ...words(position));
    } catch {
      // The request itself reports the failure.
    }
    await after(PAUSE, signal);
  }
}
