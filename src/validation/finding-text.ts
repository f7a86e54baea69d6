const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
] as const;

/** A span for people: its largest unit of which there are at least two, rounded down: `47 hours`, `90 days`. */
export function lifeText(ms: number): string {
  const [name, unitMs] = UNITS.find(([, unitMs]) => ms >= 2 * unitMs) ?? UNITS[3];
  const count = Math.max(0, Math.floor(ms / unitMs));
  return count === 1 ? `1 ${name}` : `${count} ${name}s`;
}

/** A difference of clocks: `7 s`. */
export function secondsText(ms: number): string {
  return `${Math.ceil(ms / 1000)} s`;
}

export function countText(count: number, what: string): string {
  return count === 1 ? `1 ${what}` : `${count} ${what}s`;
}
