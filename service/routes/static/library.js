// The sounds of this tab: the last results and their originals, within a bound of number and bytes.

const MOST = 8;
const BYTES = 128 * 2 ** 20;

const originals = new WeakMap();
let count = 0;

const bytes = ({ blob, mel, input }) => blob.size + [mel, input].reduce((sum, each) => sum + (each?.mel.values.byteLength ?? 0), 0);

/** The original of a file; the same one each time the file is used. */
export function originalOf(file) {
  if (!originals.has(file)) originals.set(file, { id: `original-${++count}`, title: "Original", blob: file, file: file.name });
  return originals.get(file);
}

/** Results, the newest first; fires "change". */
export class Library extends EventTarget {
  constructor() {
    super();
    this.results = [];
    this.number = 0;
  }

  /** The number of the next result; one that was refused leaves it to another. */
  get next() {
    return this.number + 1;
  }

  /** Keep a result; `used` are those that must stay. */
  keep(result, used = []) {
    this.number = result.number;
    this.results.unshift(result);
    this.trim(used);
  }

  /** Drop the oldest beyond the bounds, and say that something has changed. */
  trim(used = []) {
    const over = () => this.results.length > MOST || this.results.reduce((sum, each) => sum + bytes(each), 0) > BYTES;
    for (let k = this.results.length - 1; k > 0 && over(); k--) {
      if (!used.includes(this.results[k])) this.results.splice(k, 1);
    }
    this.dispatchEvent(new Event("change"));
  }

  /** All that can be listened to: results, and originals of these. */
  get sounds() {
    const found = new Set(this.results.map(({ original }) => original).filter(Boolean));
    return [...this.results, ...found];
  }
}
