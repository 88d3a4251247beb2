// Reader for npy files with a mel.

const READERS = {
  "<f4": (view, at) => view.getFloat32(at, true),
  "<f8": (view, at) => view.getFloat64(at, true),
  ">f4": (view, at) => view.getFloat32(at, false),
  ">f8": (view, at) => view.getFloat64(at, false),
  "<f2": (view, at) => half(view.getUint16(at, true)),
};

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -24 * fraction;
}

/** {bands, frames, values}, values by band; null for an array that the page cannot draw. */
export function readMel(buffer, bands) {
  const bytes = new Uint8Array(buffer);
  if (String.fromCharCode(...bytes.slice(1, 6)) !== "NUMPY") return null;
  const view = new DataView(buffer);
  const wide = bytes[6] > 1;
  const size = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const start = wide ? 12 : 10;
  const head = String.fromCharCode(...bytes.slice(start, start + size));
  const type = /'descr': '([^']+)'/.exec(head)?.[1];
  let shape = (/'shape': \(([^)]*)\)/.exec(head)?.[1] ?? "").split(",").filter((n) => n.trim()).map(Number);
  const fortran = /'fortran_order': True/.test(head);
  const read = READERS[type];
  if (shape.length === 3 && shape[0] === 1) shape = shape.slice(1);
  const [rows, columns] = shape;
  const width = Number(type?.[2]);
  if (!read || shape.length !== 2 || start + size + rows * columns * width > buffer.byteLength) return null;
  const bandsFirst = rows === bands || columns !== bands;
  const frames = bandsFirst ? columns : rows;
  const count = bandsFirst ? rows : columns;
  const values = new Float32Array(rows * columns);
  for (let k = 0; k < count; k++) {
    for (let t = 0; t < frames; t++) {
      const [row, column] = bandsFirst ? [k, t] : [t, k];
      const index = fortran ? column * rows + row : row * columns + column;
      values[k * frames + t] = read(view, start + size + index * width);
    }
  }
  return { bands: count, frames, values };
}
