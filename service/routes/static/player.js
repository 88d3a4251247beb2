// The player: a range of two sounds (or one) in step, from a place on, one of them heard.

import { buffersOf, Deck } from "./deck.js";
import { device } from "./sounds.js";

const SOON = 0.02;  // s from a press to the sound: both are scheduled for the same instant

/** Fires "change" for what its controls show, and "end" where the range ends. */
export class Player extends EventTarget {
  constructor() {
    super();
    Object.assign(this, { buffers: [], levels: [], heard: 0, place: 0, seconds: 0, range: [0, 0], loop: true, deck: null });
  }

  /** Other sounds: arrays of samples at the device's rate, and their gains. */
  load(sounds, levels) {
    this.pause();
    this.buffers = buffersOf(device(), sounds);
    this.levels = levels;
    this.heard = Math.min(this.heard, sounds.length - 1);
    this.seconds = this.buffers[0].duration;
    this.range = [0, this.seconds];
    this.place = 0;
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  get playing() {
    return this.deck !== null;
  }

  /** Seconds in the sounds. */
  get position() {
    if (!this.deck) return this.place;
    return Math.min(Math.max(this.began.place, this.began.place + device().currentTime - this.began.at), this.range[1]);
  }

  async play() {
    if (!this.buffers.length || this.deck) return;
    await device().resume();
    if (!this.deck) this.start();
  }

  start() {
    const [from, to] = this.range;
    if (this.place < from || this.place > to - 0.01) this.place = from;
    const at = device().currentTime + SOON;
    this.began = { at, place: this.place };
    this.deck = new Deck(device(), this.buffers, this.levels, this.heard, { from: this.place, to, at });
    this.deck.sources[0].onended = () => {
      this.deck = null;
      [this.place] = this.range;
      if (this.loop) this.start();
      this.changed();
    };
    this.changed();
  }

  pause() {
    if (!this.deck) return;
    this.place = this.position;
    this.deck.stop();
    this.deck = null;
    this.changed();
  }

  /** Go to a place, and play on from there if it plays. */
  seek(place) {
    const was = this.playing;
    this.pause();
    this.place = Math.min(Math.max(place, this.range[0]), this.range[1]);
    if (was) this.start();
    this.changed();
  }

  /** Play only a range; all of it without one. */
  zoom(from = 0, to = this.seconds) {
    const place = this.position;
    this.range = [from, to];
    this.seek(place > from && place < to ? place : from);
  }

  hear(heard) {
    if (heard >= this.buffers.length) return;
    this.heard = heard;
    this.deck?.hear(heard);
    this.changed();
  }

  level(levels) {
    this.levels = levels;
    this.deck?.level(levels);
  }
}
