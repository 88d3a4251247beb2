// All pictures of a comparison: spectrograms and mels of both sounds over one time axis.

import { linearTicks, melTicks, timeTicks } from "./axes.js";
import { coldHot, difference, HEAT, melPart, paint, range, visible } from "./draw.js";
import { pixels, Plot } from "./plot.js";
import { spectrogram } from "./spectra.js";

// dB of full scale after both were brought to one loudness: the same colours for every sound.
const QUIET = -110;
const LOUD = -20;
const TICK = 65;  // pixels between two ticks of the time axis, at least
const CACHED = new WeakMap();
const CHANGES = new WeakMap();

const kilo = (f) => `${Number((f / 1000).toFixed(2))} kHz`;
const span = ({ from, to }) => `${from.toFixed(2)} to ${to.toFixed(2)} s`;

/** A mel as it is drawn, made once. */
function drawn({ mel, config }) {
  if (!CACHED.has(mel)) CACHED.set(mel, visible(mel, config.scale.kind === "linear"));
  return CACHED.get(mel);
}

/** The difference of a result from its input, made once. */
function changeOf(input, result) {
  if (!CHANGES.has(result.mel)) CHANGES.set(result.mel, [input.mel, difference(drawn(input), drawn(result))]);
  const [of, found] = CHANGES.get(result.mel);
  return of === input.mel ? found : difference(drawn(input), drawn(result));
}

/** Fires what its plots fire, with seconds in place of shares. */
export class Pictures extends EventTarget {
  constructor(parent) {
    super();
    this.view = { from: 0, to: 1 };
    this.turn = 0;
    this.plots = {};
    for (const name of ["spectrum-0", "mel-0", "spectrum-1", "mel-1", "input", "difference"]) {
      const plot = new Plot(parent, name);
      this.plots[name] = plot;
      plot.hidden = true;
      for (const kind of ["select", "seek", "whole"]) {
        plot.addEventListener(kind, ({ detail }) => {
          const { from, to } = this.view;
          const seconds = Object.entries(detail ?? {}).map(([key, share]) => [key, from + share * (to - from)]);
          this.dispatchEvent(new CustomEvent(kind, { detail: Object.fromEntries(seconds) }));
        });
      }
    }
  }

  point(seconds) {
    const { from, to } = this.view;
    for (const plot of Object.values(this.plots)) if (!plot.hidden) plot.point((seconds - from) / (to - from));
  }

  /** Draw; each of `sides` has {id, title, gain, mel}, and `mel` is {mel, config} or null. */
  async draw({ sides, input, view, top }) {
    const turn = ++this.turn;
    this.view = view;
    sides.concat([null, null]).slice(0, 2).forEach((side, k) => {
      this.plots[`spectrum-${k}`].hidden = !side;
      this.plots[`mel-${k}`].hidden = !side?.mel;
    });
    const [width] = this.plots["spectrum-0"].size;
    this.across = timeTicks(view.from, view.to, Math.max(2, Math.floor(width / pixels() / TICK)));
    this.drawMels(sides, input);
    await Promise.all(sides.map((side, k) => this.drawSpectrum(side, this.plots[`spectrum-${k}`], top, turn)));
  }

  async drawSpectrum({ id, title, gain }, plot, top, turn) {
    const [columns, rows] = plot.size;
    const values = await spectrogram(id, { ...this.view, top, columns, rows });
    if (turn !== this.turn) return;
    const shift = 20 * Math.log10(gain);
    paint(plot.canvas, { values, rows, columns }, HEAT, QUIET - shift, LOUD - shift);
    const text = `Spectrogram of ${title}: ${span(this.view)}, 0 to ${kilo(top)}, colours from ${QUIET} to ${LOUD} dB`;
    plot.label(`${title}: spectrogram`, text, this.across, linearTicks(top, 6));
  }

  drawMels(sides, input) {
    const { input: before, difference: change } = this.plots;
    const mels = sides.map((side) => side.mel).filter(Boolean);
    const shown = mels.some(({ mel }) => mel === input?.mel);
    before.hidden = !input || shown;
    const result = mels.findLast(({ mel, config }) => input && mel !== input.mel && config === input.config);
    change.hidden = !result;
    // One colour scale for all mels of one config.
    const alike = (one) => mels.concat(input ?? []).filter(({ config }) => config === one.config).map(drawn);
    sides.forEach((side, k) => {
      if (side.mel) this.drawMel(this.plots[`mel-${k}`], side.mel, side.title, range(...alike(side.mel)));
    });
    if (!before.hidden) this.drawMel(before, input, "Input", range(...alike(input)));
    if (result) this.drawDifference(change, input, result, range(...alike(input)));
  }

  drawMel(plot, mel, title, [low, high]) {
    const { bands, frames } = mel.mel;
    const part = this.part(plot, drawn(mel), mel.config);
    paint(plot.canvas, part, HEAT, low, high);
    const text = `Mel of ${title}: ${bands} bands, ${frames} frames, ${span(this.view)}, colours from ${low.toFixed(2)} to ${high.toFixed(2)}`;
    plot.label(`${title}: mel`, text, this.across, melTicks(mel.config, 8));
  }

  drawDifference(plot, input, result, [low, high]) {
    const found = changeOf(input, result);
    const limit = (high - low) / 4 || 1;
    paint(plot.canvas, this.part(plot, found, input.config), coldHot(), -limit, limit);
    const text = `Difference: ${found.average.toFixed(3)} on average, in a range of ${(high - low).toFixed(2)}`;
    plot.label(`${text}; blue where the result is quieter than the input, red where louder, full colour from ${limit.toFixed(2)}`, text, this.across, melTicks(input.config, 8));
  }

  part(plot, mel, config) {
    return melPart(mel, config.hop_length / config.sample_rate, { ...this.view, columns: plot.size[0] });
  }
}
