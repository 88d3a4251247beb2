// The blind test: which of two hidden sounds is the one asked for, trial after trial.

import { chance } from "./statistics.js";

const small = (p) => (p < 0.001 ? "< 0.001" : `= ${p.toFixed(3)}`);

/** Answers of one test. `order` says which sound each of the two buttons plays. */
export class BlindTest {
  constructor() {
    Object.assign(this, { right: 0, count: 0, order: [0, 1], heard: new Set() });
    this.draw();
  }

  /** Begin a trial. */
  draw() {
    this.heard.clear();
    this.order = crypto.getRandomValues(new Uint8Array(1))[0] & 1 ? [1, 0] : [0, 1];
  }

  /** Whether both were heard in this trial. */
  get ready() {
    return this.heard.size === 2;
  }

  /** The place (0 or 1) said to be the first sound; tells whether it is, and begins a trial. */
  answer(place) {
    const right = this.order[place] === 0;
    this.right += right;
    this.count += 1;
    this.draw();
    return right;
  }

  /** The count in words, with the exact two-sided binomial p against guessing. */
  get summary() {
    if (!this.count) return "No answers yet.";
    return `${this.right} right, ${this.count - this.right} wrong; p ${small(chance(this.right, this.count))}.`;
  }
}
