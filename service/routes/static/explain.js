// What the choices mean, in words for who does not know the papers.

const OPTIONS = {
  preset: ["Preset of the mel", "What the mel was made for: it says which bands and levels a mel has. Of an audio file the mel is made so."],
  quality: ["Quality", "How much work goes into a result: standard takes two to four times as long as draft, and high four times as long as standard. Each comes a little closer to the recording."],
  method: ["Method", "A mel lacks fine frequencies and the timing of waves. One step finds both at once; of two steps the first finds the frequencies, the second the timing."],
  phase: ["Second step", "How the timing of waves is found."],
  harmonics: ["Harmonics", "auto: a voice's overtones above 1 kHz, which a mel blurs, are brought back; off: they stay blurred."],
  fit: ["Fit", "exact: the result keeps to the mel; relaxed: less and less, for a noisy mel of a model that speaks or sings."],
  n_iter: ["Iterations", "Rounds of improvement, in place of the quality's own number."],
  seed: ["Seed", "Where chance begins: the same number gives the same result."],
  peak: ["Loud peaks", "What is louder than a file can hold. limit: turned down for that moment; scale: the whole clip is quieter; clip: cut off. automatic is limit."],
  strict: ["Strict", "Refuse a mel whose values look wrong, where a result would come with a warning."],
};

const METHODS = {
  joint: {
    consistent: "Unmel's own and the default: changes a sound until its mel is the one given. The best here.",
    admm_mel: "A published method for the same; a little behind, and slower.",
  },
  inversion: {
    pinv: "The simplest solution that has this mel, with its negative values set to zero. Fast and rough.",
    lstsq: "The same solution, under the name that torchaudio has for it.",
    transpose: "Spreads each band over its frequencies. The fastest and the roughest.",
    smooth: "Spreads each band, then corrects the sum ten times. Fast, and good for speech.",
    nnls: "The closest fit without negative values, as librosa looks for it, but found to the end.",
    lbfgs: "The closest fit by another solver: as good, and slower.",
    gradient: "The closest fit by many small steps, as torchaudio did before version 2.1.",
  },
  phase: {
    griffin_lim: "The classic: goes back and forth between sound and spectrum until they agree.",
    accelerated: "The classic with more momentum: a little ahead in the same time.",
    admm: "Back and forth, with a memory of what did not agree.",
    raar: "Back and forth with overshoot, damped.",
    difference_map: "Back and forth with overshoot, by the difference of two ways.",
    rtisi_la: "One moment after the other with a short look ahead, as live sound needs.",
    lbfgs: "Changes the samples themselves until the spectrum fits. Slow.",
  },
};

/** [word, meaning, whether it is a choice of the one before] of all options and methods. */
function lines(table) {
  const of = (kind) => table.methods.filter((row) => row.kind === kind)
    .map(({ name, summary }) => [name, METHODS[kind][name] ?? summary, true]);
  const after = { method: [...of("joint"), ...of("inversion")], phase: of("phase") };
  return Object.entries(OPTIONS).flatMap(([name, [word, meaning]]) => [[word, meaning, false], ...(after[name] ?? [])]);
}

/** Fill a list of terms; `table` is the service's of its methods. */
export function explain(list, table) {
  list.replaceChildren(...lines(table).flatMap(([word, text, choice]) => {
    const [term, meaning] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = word;
    meaning.textContent = text;
    term.classList.toggle("choice", choice);
    return [term, meaning];
  }));
}
