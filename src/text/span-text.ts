const UNITS = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
  [1, 's'],
] as const;

/** A span of time for people, to the second, in its two largest units: `45 s`, `2 min 30 s`, `3 h 20 min`, `4 d 6 h`. A negative one is `0 s`. */
export function spanText(ms: number): string {
  const whole = Math.max(0, Math.round(ms / 1000));
  const first = UNITS.findIndex(([unit]) => whole >= unit);
  if (first < 0) return '0 s';
  let left = whole;
  const parts = UNITS.slice(first, first + 2).map(([unit, name]) => {
    const count = Math.floor(left / unit);
    left -= count * unit;
    return count === 0 ? '' : `${count} ${name}`;
  });
  return parts.filter(Boolean).join(' ');
}
