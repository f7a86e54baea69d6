import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/** What is pure in the runtime, or only a type. */
const PURE_RUNTIME = ['runtime:types', 'runtime/listeners.ts', 'runtime/or-aborted.ts', 'runtime/set-newest.ts'];

/**
 * Who may import whom. A rule is a room, or one file of a room; `:types` allows `import type` only, `:lazy` allows `import()` only.
 * A room may always import itself. Rooms that stand here before their folder exists bind whoever makes it.
 */
const ROOMS: Readonly<Record<string, readonly string[] | 'everything'>> = {
  app: 'everything',
  version: [],
  // Counts, spans of time and foreign words as people read them.
  text: [],
  issuer: [],
  x509: ['text'],
  // Settings are told in Kuma's durations and refused by our errors; the log knows which errors are expected.
  runtime: ['issuer/errors.ts', 'mesh/duration.ts'],
  mesh: ['x509', 'issuer'],
  store: ['store', 'issuer/errors.ts', 'text', ...PURE_RUNTIME, 'runtime/make-folder.ts'],
  backends: ['issuer', 'x509', 'mesh', 'store/store.ts', ...PURE_RUNTIME],
  resources: [
    'mesh',
    'store/store.ts',
    'issuer',
    'backends',
    'issuance',
    'trust',
    'validation',
    'rotation',
    'runtime:types',
  ],
  issuance: ['text', 'issuer', 'x509', 'mesh', 'store/store.ts', 'backends', 'trust', ...PURE_RUNTIME],
  trust: ['issuer', 'x509', 'mesh', 'store/store.ts', 'backends', ...PURE_RUNTIME],
  // A proof asks and judges just as issuing does.
  validation: ['text', 'issuer', 'x509', 'mesh', 'store/store.ts', 'backends', 'issuance', ...PURE_RUNTIME],
  // It waits for proofs of backends, and tells issuing whose turn it is.
  rotation: [
    'text',
    'issuer',
    'x509',
    'mesh',
    'store/store.ts',
    'backends',
    'trust',
    'issuance',
    'validation',
    ...PURE_RUNTIME,
  ],
  // Data plane tokens: signing keys, making and checking.
  tokens: ['text', 'issuer', 'mesh', 'store/store.ts', 'runtime:types'],
  http: [
    'resources',
    'backends',
    'issuance',
    'trust',
    'validation',
    'rotation',
    'tokens',
    'text',
    'mesh',
    'x509',
    'issuer',
    'store/store.ts',
    'version.ts',
    'runtime:types',
    'runtime/watchdog.ts',
  ],
  zones: [
    'resources',
    'issuance',
    'trust',
    'validation',
    'rotation',
    'mesh',
    'issuer',
    'store/store.ts',
    'runtime:types',
  ],
  sds: [
    'text',
    'issuance',
    'trust',
    'rotation',
    'tokens',
    'backends',
    'mesh',
    'x509',
    'issuer',
    'store/store.ts',
    ...PURE_RUNTIME,
    'runtime/redact.ts',
    'runtime/sds-rules.ts',
  ],
  console: ['issuance', 'trust', 'validation', 'rotation', 'mesh', 'issuer', 'store/store.ts', 'runtime:types'],
  cli: ['text', 'mesh', 'x509', 'runtime', 'issuer/errors.ts', 'version.ts', 'app.ts:lazy'],
  // The list of adapters, and what adapters share: no adapter.
  'adapters/index.ts': ['issuer', 'adapters:lazy'],
  'adapters/shared': ['text', 'issuer', 'x509', 'mesh', ...PURE_RUNTIME],
  // Each folder below adapters/ but shared/: never another adapter, a store or http.
  'adapters/*': ['text', 'issuer', 'x509', 'mesh', ...PURE_RUNTIME, 'adapters/shared'],
};

/** Packages that only one place knows: the rest of the house can be built and tested without them. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  'node-vault': ['adapters/vault'],
  '@smithy/signature-v4': ['adapters/vault'],
  '@smithy/hash-node': ['adapters/vault'],
  '@aws-sdk/client-acm-pca': ['adapters/acmpca'],
  '@aws-sdk/credential-providers': ['adapters/shared'],
  '@kubernetes/client-node': ['adapters/certmanager'],
  undici: ['adapters/certmanager'],
  express: ['http'],
  libsql: ['store'],
  handlebars: ['mesh'],
  commander: ['cli'],
  '@grpc/grpc-js': ['sds'],
  '@grpc/proto-loader': ['sds'],
  jose: ['tokens'],
};

/** Time and chance come from src/runtime, handed in. Making keys is node:crypto's own business. */
const FORBIDDEN: Readonly<Record<string, RegExp>> = {
  'Date.now': /\bDate\s*\.\s*now\b/,
  'new Date()': /\bnew\s+Date\b\s*(\(\s*\)|(?!\s*\())/,
  'Math.random': /\bMath\s*\.\s*random\b/,
  setTimeout: /\bsetTimeout\b/,
  setInterval: /\bsetInterval\b/,
  setImmediate: /\bsetImmediate\b/,
  'performance.now': /\bperformance\s*\.\s*now\b/,
  'AbortSignal.timeout': /\bAbortSignal\s*\.\s*timeout\b/,
  'node:timers': /['"](node:)?timers(\/promises)?['"]/,
  'crypto random': /\b(randomBytes|randomUUID|randomInt|randomFill|randomFillSync|getRandomValues)\b/,
};

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

interface SourceFile {
  /** From the root of the repository, with `/`. */
  readonly path: string;
  readonly code: string;
}

interface Import {
  readonly specifier: string;
  readonly how: 'types' | 'lazy' | 'value';
}

function sourceFiles(): SourceFile[] {
  return ['src', 'adapters'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => {
        const file = join(ROOT, folder, path);
        return { path: relative(ROOT, file).split(sep).join('/'), code: withoutComments(readFileSync(file, 'utf8')) };
      }),
  );
}

/** Comments may name what code may not use. A comment starts after a blank, so that a `//` inside a string stays. */
function withoutComments(text: string): string {
  return text.replace(/(^|\s)\/\*[\s\S]*?\*\//g, '$1').replace(/(^|\s)\/\/.*$/gm, '$1');
}

function importsOf(code: string): Import[] {
  const found: Import[] = [];
  for (const [, type, specifier = ''] of code.matchAll(
    /\b(?:import|export)\s+(type\s+)?(?:[\w*\s{},$]+?\sfrom\s+)?['"]([^'"]+)['"]/g,
  )) {
    found.push({ specifier, how: type === undefined ? 'value' : 'types' });
  }
  for (const [, specifier = ''] of code.matchAll(/\bimport\s*\(\s*['"]([^'"]+)['"]/g))
    found.push({ specifier, how: 'lazy' });
  return found;
}

/** `src/x509/csr.ts` -> `x509`; `src/app.ts` -> `app`; `adapters/vault/issuer.ts` -> `adapters/vault`. */
function roomOf(path: string): string {
  const [top = '', second = ''] = path.split('/');
  if (top === 'adapters') return `adapters/${second}`;
  return second.endsWith('.ts') ? second.slice(0, -'.ts'.length) : second;
}

function rulesOf(room: string): readonly string[] | 'everything' | undefined {
  return ROOMS[room] ?? (room.startsWith('adapters/') ? ROOMS['adapters/*'] : undefined);
}

function allows(rule: string, target: string, how: Import['how']): boolean {
  const [place = '', mode] = rule.split(':');
  const inSrc = target.startsWith('src/') ? target.slice('src/'.length) : target;
  const reaches = inSrc === place || inSrc.startsWith(`${place}/`);
  return reaches && (mode === undefined || mode === how);
}

/** One line for each import that the table does not allow. */
function forbiddenImports(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, code }) => {
    const room = roomOf(path);
    const rules = rulesOf(room);
    if (rules === undefined) return [`${path}: the room "${room}" does not stand in the table`];
    if (rules === 'everything') return [];
    return importsOf(code).flatMap(({ specifier, how }) => {
      if (!specifier.startsWith('.')) {
        const owners = PACKAGES[specifier];
        if (owners === undefined || owners.includes(room)) return [];
        return [`${path}: package "${specifier}" belongs to ${owners.join(', ')} alone`];
      }
      const target = relative(ROOT, resolve(ROOT, dirname(path), specifier))
        .split(sep)
        .join('/');
      if (roomOf(target) === room || rules.some((rule) => allows(rule, target, how))) return [];
      return [
        `${path}: ${room} may not import ${target} (${how}); it may import ${rules.join(', ') || 'no other room'}`,
      ];
    });
  });
}

function forbiddenCalls(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => roomOf(path) !== 'runtime')
    .flatMap(({ path, code }) =>
      Object.entries(FORBIDDEN).flatMap(([name, pattern]) => (pattern.test(code) ? [`${path}: ${name}`] : [])),
    );
}

describe('the rooms of the house', () => {
  it('import only what the table allows', () => {
    expect(forbiddenImports(sourceFiles())).toEqual([]);
  });

  it('take time and chance from runtime only', () => {
    expect(forbiddenCalls(sourceFiles())).toEqual([]);
  });

  it('are all found: contracts, adapters and their shared part', () => {
    const rooms = new Set(sourceFiles().map(({ path }) => roomOf(path)));
    for (const room of ['issuer', 'x509', 'mesh', 'store', 'runtime', 'adapters/builtin', 'adapters/shared']) {
      expect(rooms).toContain(room);
    }
  });
});

describe('the reader of import lines', () => {
  const cases: readonly { name: string; path: string; code: string; finds: readonly string[] }[] = [
    { name: 'a neighbour in the same room', path: 'src/x509/a.ts', code: "import { b } from './b.ts';", finds: [] },
    {
      name: 'a room that is not in the row',
      path: 'src/x509/a.ts',
      code: "import { b } from '../mesh/b.ts';",
      finds: ['src/x509/a.ts: x509 may not import src/mesh/b.ts (value); it may import text'],
    },
    {
      name: 'values where only types are allowed, over several lines',
      path: 'src/trust/a.ts',
      code: "import {\n  systemClock,\n} from '../runtime/clock.ts';",
      finds: [expect.stringContaining('trust may not import src/runtime/clock.ts (value)')],
    },
    {
      name: 'types where only types are allowed',
      path: 'src/trust/a.ts',
      code: "import type { Clock } from '../runtime/clock.ts';",
      finds: [],
    },
    {
      name: 'another adapter',
      path: 'adapters/vault/a.ts',
      code: "import { b } from '../builtin/b.ts';",
      finds: [expect.stringContaining('adapters/vault may not import adapters/builtin/b.ts')],
    },
    {
      name: 'a store behind its contract',
      path: 'src/issuance/a.ts',
      code: "export { b } from '../store/sql/b.ts';",
      finds: [expect.stringContaining('may not import src/store/sql/b.ts')],
    },
    { name: 'the app, when it is needed', path: 'src/cli/a.ts', code: "await import('../app.ts');", finds: [] },
    {
      name: 'the app, at start',
      path: 'src/cli/a.ts',
      code: "import { app } from '../app.ts';",
      finds: [expect.stringContaining('cli may not import src/app.ts (value)')],
    },
    {
      name: "another room's package",
      path: 'src/issuance/a.ts',
      code: "import express from 'express';",
      finds: ['src/issuance/a.ts: package "express" belongs to http alone'],
    },
    {
      name: 'a comment',
      path: 'src/x509/a.ts',
      code: "// import { b } from '../mesh/b.ts';\n/** import '../mesh/b.ts' */",
      finds: [],
    },
  ];
  for (const { name, path, code, finds } of cases) {
    it(`judges ${name}`, () => expect(forbiddenImports([{ path, code: withoutComments(code) }])).toEqual(finds));
  }
});

describe('the reader of calls', () => {
  const cases: readonly { code: string; finds: readonly string[] }[] = [
    { code: 'const now = Date.now();', finds: ['src/mesh/a.ts: Date.now'] },
    { code: 'const now = new Date();', finds: ['src/mesh/a.ts: new Date()'] },
    { code: 'const then = new Date(0);', finds: [] },
    { code: 'const then: Date = later;', finds: [] },
    { code: 'await clock.sleep(5); // like setTimeout', finds: [] },
    { code: 'setTimeout(work, 5);', finds: ['src/mesh/a.ts: setTimeout'] },
    { code: "import { randomBytes } from 'node:crypto';", finds: ['src/mesh/a.ts: crypto random'] },
  ];
  for (const { code, finds } of cases) {
    it(`judges ${code}`, () =>
      expect(forbiddenCalls([{ path: 'src/mesh/a.ts', code: withoutComments(code) }])).toEqual(finds));
  }
});
