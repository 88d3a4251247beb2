// How far the work is: a bar, words for its stage, and what the service says of a request.

const SENT = 0.05;  // of a request's share, while its body goes out
const COMPUTED = 0.95;  // likewise, when all that is left is to write the answer and to fetch it
const PAUSE = 300;  // ms between two questions

const STAGES = { decode: "being read", compute: "computing", encode: "being written" };

/** What the service says of a request, as a share of its work; null where it says nothing. */
export function share({ stage, elapsed, remaining }) {
  if (stage === "decode") return SENT;
  if (stage === "encode") return COMPUTED;
  if (remaining === null || elapsed + remaining <= 0) return null;
  return SENT + (COMPUTED - SENT) * (elapsed / (elapsed + remaining));
}

/** [the stage, which is announced; what there is to say of the time, which is not]. */
export function words({ stage, ahead, remaining, measured }) {
  const name = stage === "queue" ? `waiting in the queue${ahead ? `, ${ahead} before it` : ""}` : STAGES[stage];
  if (stage !== "queue" && stage !== "compute") return [name, ""];
  if (remaining <= 0) return [name, "longer than was expected"];
  const seconds = remaining < 1 ? "less than 1 s" : `about ${Math.ceil(remaining)} s`;
  return [name, `${seconds} to go${measured ? "" : ", as a first guess"}`];
}

/** One run's bar: steps of given weights, of which one at a time is under way. */
export class Bar {
  constructor(progress, status, weights) {
    Object.assign(this, { progress, status, weights, at: -1, said: "" });
    this.whole = weights.reduce((sum, weight) => sum + weight, 0);
    progress.value = 0;
  }

  /** Begin the next step. */
  step(title) {
    this.at += 1;
    this.title = title;
    this.show(0, "", "");
  }

  /** How much of the step is done, its stage, and its time in words; the bar never goes back. */
  show(done, stage, time) {
    const before = this.weights.slice(0, this.at).reduce((sum, weight) => sum + weight, 0);
    const value = (before + (done ?? 0) * this.weights[this.at]) / this.whole;
    this.progress.value = Math.max(this.progress.value, value);
    const text = stage ? `${this.title}: ${stage}` : `${this.title} …`;
    // Only a new stage is announced: seconds would interrupt a screen reader at every question.
    if (text !== this.said) {
      this.said = text;
      this.time = document.createElement("span");
      this.time.setAttribute("aria-hidden", "true");
      this.status.replaceChildren(`${text} `, this.time);
    }
    this.time.textContent = time && `(${time})`;
    const percent = Math.floor(100 * this.progress.value);
    this.progress.setAttribute("aria-valuetext", `${percent} %, ${text}${time && `, ${time}`}`);
    this.progress.textContent = `${percent} %`;
  }

  /** Bytes of the body that are out. */
  sending(loaded, total) {
    if (loaded < total) this.show((SENT * loaded) / total, "sending", `${Math.floor((100 * loaded) / total)} % sent`);
  }

  /** Bytes of the answer that are here. */
  fetching(loaded, total) {
    this.show(COMPUTED + (total ? ((1 - COMPUTED) * loaded) / total : 0), "fetching the answer", "");
  }
}

const after = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
});

/** Ask where a request stands, again and again, until the signal ends it. */
export async function follow(ask, signal, bar) {
  while (!signal.aborted) {
    try {
      const position = await (await ask(signal)).json();
      if (signal.aborted) return;
      // Not there yet, or at another replica: what was shown last still holds.
      if (position.stage !== "unknown") bar.show(share(position), ...words(position));
    } catch {
      // The request itself says what is wrong.
    }
    await after(PAUSE, signal);
  }
}
