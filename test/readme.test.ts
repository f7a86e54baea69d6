import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ADAPTERS } from '../adapters/index.ts';
import { settingsMarkdown } from '../src/runtime/settings.ts';

const README = readFileSync('README.md', 'utf8');
const PAGES = ['README.md', 'docs/checks.md', 'docs/decisions/README.md'];

describe('the README', () => {
  it('lists every setting as `mesh-ca serve --help` does', () => {
    expect(README).toContain(settingsMarkdown().trim());
  });

  it('has a row for every backend type', () => {
    for (const type of Object.keys(ADAPTERS)) expect(README).toContain(`| [\`${type}\`](adapters/${type}/README.md) |`);
  });

  it('names only scripts that there are', () => {
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
    const named = [...README.matchAll(/npm (?:run )?(demo|test|check|bench|servers|dev)\b/g)].map(
      (match) => match[1] ?? '',
    );
    expect(named.length).toBeGreaterThan(3);
    for (const name of named) expect(Object.keys(scripts)).toContain(name);
  });

  it.each(PAGES)('and %s link only to files that there are', (page) => {
    const links = [...readFileSync(page, 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((match) => match[1] ?? '');
    expect(links.length + (page === 'docs/checks.md' ? 1 : 0)).toBeGreaterThan(0);
    for (const link of links) expect([link, existsSync(join(dirname(page), link))]).toEqual([link, true]);
  });
});
