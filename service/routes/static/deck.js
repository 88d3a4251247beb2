// Two sounds in step: both always run, and a switch only moves their gains.

export const FADE = 0.004;  // s, time constant of a switch: done to 1 % after 18 ms
const EDGE = 0.005;  // s, so that neither start nor end clicks

/** Sounds as buffers of one length, silence behind the shorter ones. */
export function buffersOf(context, sounds) {
  const length = Math.max(...sounds.map((samples) => samples.length));
  return sounds.map((samples) => {
    const buffer = context.createBuffer(1, length, context.sampleRate);
    buffer.copyToChannel(samples, 0);
    return buffer;
  });
}

/** One playing of a range of sounds, of which one is heard. */
export class Deck {
  /** `levels` are the sounds' gains; `from` and `to` seconds in them; `at` the context's time. */
  constructor(context, buffers, levels, heard, { from, to, at }) {
    Object.assign(this, { context, from, at, end: at + to - from });
    this.envelope = context.createGain();
    this.envelope.connect(context.destination);
    this.fades = [];
    this.levels = [];
    this.sources = buffers.map((buffer, k) => {
      const source = new AudioBufferSourceNode(context, { buffer });
      this.levels.push(new GainNode(context, { gain: levels[k] }));
      this.fades.push(new GainNode(context, { gain: k === heard ? 1 : 0 }));
      source.connect(this.levels[k]).connect(this.fades[k]).connect(this.envelope);
      source.start(at, from, to - from);
      return source;
    });
    const { gain } = this.envelope;
    const edge = Math.min(EDGE, (to - from) / 2);
    gain.setValueAtTime(0, at);
    gain.linearRampToValueAtTime(1, at + edge);
    gain.setValueAtTime(1, at + to - from - edge);
    gain.linearRampToValueAtTime(0, at + to - from);
  }

  /** Hear another one. The gains add up to 1 all the while, also when a switch meets a switch. */
  hear(heard, at = this.context.currentTime) {
    this.fades.forEach(({ gain }, k) => gain.setTargetAtTime(k === heard ? 1 : 0, at, FADE));
  }

  /** Other gains of the sounds. */
  level(levels, at = this.context.currentTime) {
    this.levels.forEach(({ gain }, k) => gain.setTargetAtTime(levels[k], at, FADE));
  }

  stop(at = this.context.currentTime) {
    this.sources[0].onended = null;
    this.envelope.gain.cancelScheduledValues(at);
    this.envelope.gain.setTargetAtTime(0, at, EDGE / 3);
    this.sources.forEach((source) => source.stop(at + 3 * EDGE));
  }
}
