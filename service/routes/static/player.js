// The player: a range of two sounds (or one) in step, from a place on, one of them heard.

import { buffersOf, Deck } from "./deck.js";
import { device } from "./sounds.js";

const SOON = 0.02;  // s from a press to the sound: both are scheduled for the same instant

/** Fires "change" for what its controls show, and "end" where the range ends. */
export class Player extends EventTarget {
  constructor() {
    super();
    Object.assign(this, { buffers: [], levels: [], heard: 0, place: 0, seconds: 0, range: [0, 0], looping: true, deck: null, next: null });
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
    const { at, from } = this.deck;
    return Math.min(Math.max(from, from + device().currentTime - at), this.range[1]);
  }

  async play() {
    if (!this.buffers.length || this.deck) return;
    await device().resume();
    if (!this.deck) this.start();
  }

  start() {
    const [from, to] = this.range;
    if (this.place < from || this.place > to - 0.01) this.place = from;
    this.deck = this.round(this.place, 0);
    this.follow();
    this.changed();
  }

  /** A playing from a place to the range's end, not before a time of the device. */
  round(from, at) {
    const soon = device().currentTime + SOON;
    const deck = new Deck(device(), this.buffers, this.levels, this.heard, { from, to: this.range[1], at: Math.max(at, soon) });
    deck.sources[0].onended = () => this.turn();
    return deck;
  }

  /** In a loop the next round is ready before this one ends, so that there is no gap between. */
  follow() {
    this.next?.stop();
    this.next = this.loop ? this.round(this.range[0], this.deck.end) : null;
  }

  /** A round is over. */
  turn() {
    this.deck = this.next;
    this.next = null;
    if (this.deck) this.follow();
    else [this.place] = this.range;
    this.changed();
  }

  get loop() {
    return this.looping;
  }

  set loop(looping) {
    this.looping = looping;
    if (this.deck) this.follow();
  }

  pause() {
    if (!this.deck) return;
    this.place = this.position;
    this.deck.stop();
    this.next?.stop();
    this.deck = this.next = null;
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
    this.next?.hear(heard);
    this.changed();
  }

  level(levels) {
    this.levels = levels;
    this.deck?.level(levels);
    this.next?.level(levels);
  }
}
