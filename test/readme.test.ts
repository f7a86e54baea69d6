import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ADAPTERS } from '../adapters/index.ts';
import { settingsMarkdown } from '../src/runtime/settings.ts';

const README = readFileSync('README.md', 'utf8');
const PAGES = [
  'README.md',
  ...['adapters', 'bench', 'docs', 'policies'].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.md'))
      .map((path) => join(folder, path)),
  ),
];

function linksOf(page: string): string[] {
  const text = readFileSync(page, 'utf8');
  return [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map((match) => match[1] ?? '');
}

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
    for (const link of linksOf(page)) expect([link, existsSync(join(dirname(page), link))]).toEqual([link, true]);
  });

  it('links to most pages', () => {
    expect(PAGES.length).toBeGreaterThan(25);
    expect(linksOf('README.md').filter((link) => PAGES.includes(link)).length).toBeGreaterThan(15);
  });
});
