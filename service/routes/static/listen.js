// Controls of the comparison: buttons, fields, keys and the blind test, in step with the player.

import { BlindTest } from "./blind.js";
import { onKeys } from "./keys.js";

const $ = (id) => document.getElementById(id);
const NAMES = ["A", "B"];
const HIDDEN = ["X", "Y"];
const STEP = 0.5;  // s that an arrow key moves

/** Bind the controls; `choose(side, sound)` is asked where another sound is chosen for a side. */
export class Listening {
  constructor(comparison, library, choose) {
    Object.assign(this, { comparison, library, player: comparison.player, test: null });
    this.player.addEventListener("change", () => this.show());
    comparison.addEventListener("change", () => this.fill());
    library.addEventListener("change", () => this.fill());
    for (const k of [0, 1]) {
      $(`hear-${k}`).addEventListener("click", () => this.press(k));
      $(`slot-${k}`).addEventListener("change", ({ target }) => choose(k, library.sounds.find(({ id }) => id === target.value)));
      $(`vote-${k}`).addEventListener("click", () => this.vote(k));
    }
    $("play").addEventListener("click", () => this.toggle());
    $("place").addEventListener("input", ({ target }) => this.player.seek(Number(target.value)));
    for (const id of ["from", "to"]) $(id).addEventListener("change", () => comparison.zoom(Number($("from").value), Number($("to").value)));
    $("whole").addEventListener("click", () => comparison.zoom());
    $("loop").addEventListener("change", ({ target }) => { this.player.loop = target.checked; });
    $("match").addEventListener("change", ({ target }) => {
      comparison.match(target.checked);
      this.show();
    });
    $("top").addEventListener("change", ({ target }) => comparison.show(Number(target.value)));
    $("blind-on").addEventListener("click", () => this.begin());
    $("blind-off").addEventListener("click", () => this.end());
    this.bindKeys();
  }

  bindKeys() {
    const { player, comparison } = this;
    const part = (from, to) => comparison.zoom(from, to);
    onKeys({
      " ": () => this.toggle(),
      a: () => this.hear(0),
      x: () => this.hear(0),
      b: () => this.hear(1),
      y: () => this.hear(1),
      s: () => this.hear(1 - this.place),
      arrowleft: () => player.seek(player.position - STEP),
      arrowright: () => player.seek(player.position + STEP),
      "[": () => part(player.position, player.range[1]),
      "]": () => part(player.range[0], player.position),
      escape: () => comparison.zoom(),
      l: () => $("loop").click(),
      1: () => this.vote(0),
      2: () => this.vote(1),
    }, () => $("keys").checked && !$("results").hidden);
  }

  /** Which of the two buttons is heard. */
  get place() {
    return this.test ? this.test.order.indexOf(this.player.heard) : this.player.heard;
  }

  toggle() {
    if (this.player.playing) this.player.pause();
    else this.hear(this.place);
  }

  /** Hear a button's sound, from where the other one is. */
  async hear(place) {
    if (place >= this.comparison.sounds.length) return;
    this.player.hear(this.test ? this.test.order[place] : place);
    await this.player.play();
    this.test?.heard.add(place);
    this.show();
    $("heard").textContent = `${this.names[place]} is heard.`;
  }

  /** A button pressed again pauses. */
  press(place) {
    if (this.player.playing && this.place === place) this.player.pause();
    else this.hear(place);
  }

  get names() {
    return this.test ? HIDDEN : NAMES;
  }

  // --- the blind test ---------------------------------------------------------------------------

  async begin() {
    const { comparison } = this;
    this.player.pause();
    $("match").checked = true;  // the louder one would be known by that
    comparison.match(true);
    $("blind-on").disabled = true;
    $("heard").textContent = $("blind-on").textContent = "Preparing the blind test …";  // seconds for a long file
    const ready = await comparison.limit($("band").checked ? comparison.band : null).finally(() => {
      $("blind-on").disabled = false;
      $("blind-on").textContent = "Start a blind test";
    });
    if (!ready) return;
    this.test = new BlindTest();
    $("told").textContent = `Listen to X and to Y, then answer. ${this.test.summary}`;
    this.fill();
    $("hear-0").focus();
  }

  end() {
    if (!this.test) return;
    this.test = null;
    this.player.pause();
    this.comparison.limit();
    this.fill();
    this.comparison.draw();
    $("blind-on").focus();
  }

  vote(place) {
    if (!this.test?.ready) return;
    const { playing } = this.player;
    const right = this.test.answer(place);
    $("told").textContent = `${right ? "Right." : "Wrong."} ${this.test.summary} Next: listen to X and to Y.`;
    // The next trial begins with silence: what goes on sounding would tell which one it is.
    if (playing) this.player.pause();
    this.player.place = this.player.range[0];
    this.player.hear(this.test.order[0]);
    $("hear-0").focus();
  }

  // --- what is seen -----------------------------------------------------------------------------

  /** Show other sounds, or another mode. */
  fill() {
    const { entries } = this.comparison;
    const blind = this.test !== null;
    this.comparison.hidden = blind;
    const pair = entries.length > 1;
    const sounds = this.library.sounds;
    const asked = entries[0]?.number ? entries[0].title : "the original";
    for (const k of [0, 1]) {
      $(`hear-${k}`).parentElement.hidden = k >= entries.length;
      $(`slot-${k}`).replaceChildren(...sounds.map((sound) => {
        const options = sound.options ? `, ${sound.options}` : "";
        return new Option(`${sound.title}${options} (${sound.file})`, sound.id, false, sound === entries[k]);
      }));
      $(`slot-${k}`).closest("p").hidden = blind || sounds.length < 2;
      const key = Object.assign(document.createElement("kbd"), { textContent: k + 1 });
      $(`vote-${k}`).replaceChildren(`${HIDDEN[k]} is ${asked} `, key);
    }
    $("question").textContent = `Which is ${asked}, X or Y?`;
    $("blind").hidden = $("blind-off").hidden = !blind;
    $("blind-on").hidden = blind || !pair;
    for (const id of ["seen", "levels", "answers"]) $(id).hidden = blind;
    $("match").closest("label").hidden = !pair;
    $("match").disabled = $("band").disabled = blind;
    const { band } = this.comparison;
    $("band").closest("label").hidden = !band;
    $("band-top").textContent = $("limited").textContent = "";
    if (band) {
      const top = `${band / 1000} kHz`;
      $("band-top").textContent = top;
      $("limited").textContent = $("band").checked
        ? `Both are heard up to ${top}, where the mel ends.`
        : `What is above ${top}, where the mel ends, is in the original alone and may tell it.`;
    }
    this.show();
  }

  show() {
    const { player, comparison, test } = this;
    const { entries } = comparison;
    for (const k of [0, 1]) {
      const title = test || !entries[k] ? "" : entries[k].title;
      const name = entries.length > 1 ? this.names[k] : "";
      const heard = player.playing && this.place === k;
      const button = $(`hear-${k}`);
      button.setAttribute("aria-pressed", String(heard));
      button.setAttribute("aria-label", `Hear ${[name, title].filter(Boolean).join(", ")}`);
      button.replaceChildren(...[name, title].filter(Boolean).map((text) => Object.assign(document.createElement("span"), { textContent: text })));
      $(`vote-${k}`).disabled = !test?.ready;
    }
    $("play").textContent = player.playing ? "Pause" : "Play";
    const [from, to] = player.range;
    Object.assign($("place"), { min: from, max: to });
    for (const [id, value] of [["from", from], ["to", to]]) {
      $(id).max = player.seconds.toFixed(2);
      $(id).value = value.toFixed(2);
    }
    $("whole").disabled = to - from >= player.seconds - 1e-6;
    $("levels").textContent = entries.length > 1
      ? `${comparison.levels}. Loudness by ITU-R BS.1770-4${comparison.matching ? ", made equal" : ", left as it is"}.`
      : "";
    this.follow();
  }

  /** Move the cursor, on and on while it plays. */
  follow() {
    const { position, playing, seconds } = this.player;
    $("place").value = position;
    const text = `${position.toFixed(1)} / ${seconds.toFixed(1)} s`;
    if ($("time").textContent !== text) $("time").textContent = text;
    $("place").setAttribute("aria-valuetext", text.replace("/", "of"));
    this.comparison.pictures.point(position);
    if (playing && !this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.follow();
      });
    }
  }
}
