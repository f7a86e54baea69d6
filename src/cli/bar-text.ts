const WIDTH = 24;
/** Eighths of a column, from none to all but one. */
const PARTS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** A bar of 24 columns. All of nothing is full. In ASCII: `[######----]`, two columns more. */
export function barText(done: number, of: number, unicode: boolean): string {
  const share = of > 0 ? Math.min(1, Math.max(0, done / of)) : 1;
  if (!unicode) {
    // Only what is complete looks complete.
    const full = Math.floor(share * WIDTH);
    return `[${'#'.repeat(full)}${'-'.repeat(WIDTH - full)}]`;
  }
  const eighths = Math.floor(share * WIDTH * 8);
  const full = Math.floor(eighths / 8);
  const bar = `${'█'.repeat(full)}${PARTS[eighths % 8] ?? ''}`;
  return bar + '░'.repeat(WIDTH - bar.length);
}
