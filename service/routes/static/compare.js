// The comparison: which two sounds are A and B, and what is heard and seen of them.

import { limited, topOf } from "./band.js";
import { matched, unmatched } from "./loudness.js";
import { Pictures } from "./pictures.js";
import { Player } from "./player.js";
import { decode } from "./sounds.js";
import { forget, hold } from "./spectra.js";

const decibels = (gain) => `${gain < 1 ? "−" : "+"}${Math.abs(20 * Math.log10(gain)).toFixed(1)} dB`;

/** Two entries of the library (or one), decoded. Fires "change" when they are others. */
export class Comparison extends EventTarget {
  constructor(pictures) {
    super();
    this.player = new Player();
    this.pictures = new Pictures(pictures);
    this.entries = [];
    this.sounds = [];
    this.played = [];  // the same, or what a blind test leaves of them
    this.matching = true;
    this.hidden = false;
    this.turn = 0;
    this.pictures.addEventListener("select", ({ detail }) => this.zoom(detail.from, detail.to));
    this.pictures.addEventListener("seek", ({ detail }) => this.player.seek(detail.at));
    this.pictures.addEventListener("whole", () => this.zoom());
  }

  /** Compare other entries; the part and the place are kept where the sounds are as long. */
  async load(entries) {
    const turn = ++this.turn;
    const sounds = await Promise.all(entries.map((entry) => {
      const before = this.entries.indexOf(entry);
      return before >= 0 ? this.sounds[before] : decode(entry.blob, entry.file);
    }));
    if (turn !== this.turn) return;
    this.entries.filter((entry) => !entries.includes(entry)).forEach(({ id }) => forget(id));
    entries.forEach((entry, k) => {
      if (!this.entries.includes(entry)) hold(entry.id, sounds[k].samples, sounds[k].rate);
    });
    const { range, seconds } = this.player;
    Object.assign(this, { entries, sounds, played: sounds });
    this.player.load(sounds.map(({ samples }) => samples), this.gains);
    if (Math.abs(seconds - this.player.seconds) < 0.1 && range[1] - range[0] < seconds - 0.005) this.player.zoom(...range);
    this.dispatchEvent(new Event("change"));
    await this.draw();
  }

  /** What each sound is multiplied by. */
  get gains() {
    return (this.matching ? matched : unmatched)(this.played);
  }

  /** Loudness of both, in words. */
  get levels() {
    return this.sounds.map(({ loudness }, k) => {
      const level = Number.isFinite(loudness) ? `${loudness.toFixed(1).replace("-", "−")} LUFS` : "silent";
      return `${this.entries[k].title} ${level}, played at ${decibels(this.gains[k])}`;
    }).join("; ");
  }

  match(matching) {
    this.matching = matching;
    this.player.level(this.gains);
  }

  /** Where the result's mel ends, Hz: an original would be known by what it has above; else null. */
  get band() {
    if (!this.latest || this.entries.every(({ number }) => number)) return null;
    const top = topOf(this.latest.config);
    return top < this.sounds[0].rate / 2 ? top : null;
  }

  /** Play both up to a frequency, Hz, or as they are; false if others came meanwhile. */
  async limit(top = null) {
    const { turn } = this;
    const played = top ? await Promise.all(this.sounds.map((sound) => limited(sound, top))) : this.sounds;
    if (turn !== this.turn) return false;
    if (played === this.played) return true;
    const { range } = this.player;
    this.played = played;
    this.player.load(played.map(({ samples }) => samples), this.gains);
    this.player.zoom(...range);
    return true;
  }

  /** Show and play a part of at least 10 ms; all of it without one. */
  zoom(from = 0, to = this.player.seconds) {
    const end = Math.min(this.player.seconds, Math.max(to, from + 0.01));
    this.player.zoom(Math.max(0, Math.min(from, end - 0.01)), end);
    return this.draw();
  }

  /** The highest frequency that the pictures show, Hz. */
  show(top) {
    this.top = top;
    return this.draw();
  }

  /** The mel of an entry; an original has that of the result beside it. */
  melOf(entry) {
    if (entry.number) return entry.mel;
    return this.latest?.original === entry ? this.latest.input : null;
  }

  /** The result whose input is shown: B, or the only one. */
  get latest() {
    return this.entries.findLast(({ number }) => number);
  }

  draw() {
    if (!this.entries.length || this.hidden) return Promise.resolve();
    const [from, to] = this.player.range;
    const gains = matched(this.sounds);
    const sides = this.entries.map((entry, k) => ({
      id: entry.id,
      title: this.entries.length > 1 ? `${"AB"[k]}, ${entry.title}` : entry.title,
      gain: gains[k],
      mel: this.melOf(entry),
    }));
    return this.pictures.draw({ sides, input: this.latest?.input ?? null, view: { from, to }, top: this.top });
  }
}
