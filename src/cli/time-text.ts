const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;

/** How long ago, in kumactl's form: `5s`, `3m`, `2h`, `4d`, `1y`; `never` without a time, and for one in the future. */
export function formatAgo(at: string | undefined, now: Date): string {
  const ms = at === undefined ? Number.NaN : Date.parse(at);
  if (Number.isNaN(ms)) return 'never';
  const seconds = Math.trunc((now.getTime() - ms) / 1000);
  if (seconds < -1) return 'never';
  if (seconds < MINUTE) return `${Math.max(seconds, 0)}s`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)}m`;
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)}h`;
  if (seconds < YEAR) return `${Math.floor(seconds / DAY)}d`;
  return `${Math.floor(seconds / YEAR)}y`;
}

/** `2020-05-11 16:01:34` in the time zone of the terminal, as kumactl prints it; `-` without a time. */
export function formatDate(at: string | undefined): string {
  const date = new Date(at ?? Number.NaN);
  if (Number.isNaN(date.getTime())) return '-';
  const two = (number: number) => String(number).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`;
}
