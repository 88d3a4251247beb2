// What a number of right answers says: their share's interval, and how likely guesses are.

/** Wilson's 95 % interval of the share of `right` among `count` answers, as [low, high]. */
export function wilson(right, count) {
  const z = 1.959963984540054;
  const share = right / count;
  const middle = share + z * z / (2 * count);
  const half = z * Math.sqrt(share * (1 - share) / count + z * z / (4 * count * count));
  const scale = 1 + z * z / count;
  return [Math.max(0, (middle - half) / scale), Math.min(1, (middle + half) / scale)];
}

/** Exact probability that guesses lie as far from half as `right` of `count`, above or below. */
export function chance(right, count) {
  const farthest = Math.max(right, count - right);
  let choices = 0; // ln of count over k
  let tail = 0;
  for (let k = 0; k <= count; k++) {
    if (k >= farthest) tail += Math.exp(choices - count * Math.LN2);
    choices += Math.log((count - k) / (k + 1));
  }
  return Math.min(1, 2 * tail);
}
