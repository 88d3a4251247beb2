// Fast Fourier transform of a power of two, in place, decimated in time.

const tables = new Map();

function tablesOf(size) {
  if (!tables.has(size)) {
    const cosine = new Float64Array(size / 2);
    const sine = new Float64Array(size / 2);
    for (let k = 0; k < size / 2; k++) {
      cosine[k] = Math.cos((2 * Math.PI * k) / size);
      sine[k] = Math.sin((2 * Math.PI * k) / size);
    }
    const order = new Uint32Array(size);
    for (let k = 1; k < size; k++) order[k] = (order[k >> 1] >> 1) | (k & 1 ? size >> 1 : 0);
    tables.set(size, { cosine, sine, order });
  }
  return tables.get(size);
}

/** Transform `real` + i `imaginary`, Float64Arrays whose length is a power of two. */
export function fft(real, imaginary) {
  const size = real.length;
  const { cosine, sine, order } = tablesOf(size);
  for (let k = 0; k < size; k++) {
    const other = order[k];
    if (other > k) {
      [real[k], real[other]] = [real[other], real[k]];
      [imaginary[k], imaginary[other]] = [imaginary[other], imaginary[k]];
    }
  }
  for (let half = 1; half < size; half *= 2) {
    const step = size / (2 * half);
    for (let start = 0; start < size; start += 2 * half) {
      for (let k = 0; k < half; k++) {
        const a = start + k;
        const b = a + half;
        const c = cosine[k * step];
        const s = sine[k * step];
        const x = real[b] * c + imaginary[b] * s;
        const y = imaginary[b] * c - real[b] * s;
        real[b] = real[a] - x;
        imaginary[b] = imaginary[a] - y;
        real[a] += x;
        imaginary[a] += y;
      }
    }
  }
}
