import { readFileSync } from 'node:fs';

/** Version of the package that this file is part of, run from its sources or built. */
export function readVersion(): string {
  for (const place of ['../../package.json', '../../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8'));
      if (name === 'mesh-ca') return String(version);
    } catch {
      // Not here: `dist/` adds one level.
    }
  }
  return 'unknown';
}
