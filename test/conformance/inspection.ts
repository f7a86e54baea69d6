import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ConfigError } from '../../src/issuer/errors.ts';
import type { Check, Issuer, IssuerDeps, IssuerModule } from '../../src/issuer/issuer.ts';
import { inspectAll } from '../support/inspect-all.ts';

/** Names of checks are stable and written down, each with what its last column says: whether it blocks. */
const CHECKS_PAGE = new Map(
  readFileSync('docs/checks.md', 'utf8')
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map((cells) => [cells[1]?.replaceAll('`', '') ?? '', cells.at(-2) ?? '']),
);

/** One backend, and what can be done to it. */
export interface StartedBackend {
  readonly module: Pick<IssuerModule, 'local' | 'type' | 'checks'>;
  readonly issuer: Issuer;
  readonly deps: IssuerDeps;
  /** As an operator writes it. */
  readonly conf: unknown;
  /** Another issuer of the same conf; closed when the test ends. */
  createWith(deps: IssuerDeps): Issuer;
  endpoint(): string | undefined;
  endBackend?(): Promise<void>;
}

/** What the contract promises of `inspect`, of the table of checks and of the endpoint. Part of `testIssuer`. */
export function testInspection(start: () => Promise<StartedBackend>): void {
  it('inspects itself: all is well, and what it finds is in the order of its rules', async () => {
    const { issuer, module } = await start();
    const checks = await inspectAll(issuer);
    expect(checks.filter(({ status }) => status === 'failed')).toEqual([]);
    expect(checks.length).toBeGreaterThan(0);
    expectFindings(module, checks);
  });

  it('has rules with names of their own, which are written down', async () => {
    const { module } = await start();
    const names = module.checks.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, blocks } of module.checks) {
      expect(name).toMatch(new RegExp(`^${module.type}\\.[a-z]+(-[a-z]+)*$`));
      expect(CHECKS_PAGE.get(name), `${name} in docs/checks.md`).toBe(blocks === true ? 'yes' : '');
    }
    expect(module.checks.some(({ blocks }) => blocks)).toBe(true);
  });

  it('tells what it finds, and does not throw, when nothing that its conf points to can be read', async () => {
    const { module, deps, createWith } = await start();
    const refuse = async () => {
      throw new ConfigError('could not load data: the disk is on fire', { fix: 'put it out' });
    };
    const secrets = { ...deps.secrets, read: () => Promise.reject(new Error('disk I/O error')) };
    expectFindings(module, await inspectAll(createWith({ ...deps, secrets, load: refuse })));
  });

  it('tells what it finds, and does not throw, when its backend is away', async () => {
    const { module, issuer, endBackend } = await start();
    if (endBackend === undefined) return;
    await endBackend();
    const checks = await inspectAll(issuer);
    expectFindings(module, checks);
    const failed = checks.filter(({ status }) => status === 'failed');
    expect(failed.length).toBeGreaterThan(0);
    expect(failed.every(({ retry }) => retry)).toBe(true);
  });

  it('finds nothing more once its caller has hung up', async () => {
    const { issuer } = await start();
    const reason = new Error('the caller hung up');
    const before: Check[] = [];
    const report = (check: Check) => void before.push(check);
    await expect(issuer.inspect({ signal: AbortSignal.abort(reason), ttlSeconds: 3600, report })).rejects.toBe(reason);
    expect(before).toEqual([]);

    const controller = new AbortController();
    const all: Check[] = [];
    const inspecting = issuer.inspect({
      signal: controller.signal,
      ttlSeconds: 3600,
      report(check) {
        all.push(check);
        controller.abort(reason);
      },
    });
    await expect(inspecting).rejects.toBe(reason);
    expect(all).toHaveLength(1);
  });

  it('names its endpoint from its conf alone, without a secret', async () => {
    const { module, conf, endpoint } = await start();
    if (module.local) {
      expect(endpoint()).toBeUndefined();
      return;
    }
    const named = endpoint();
    expect(named).toMatch(/^[!-~]+$/);
    expect(endpoint()).toBe(named);
    for (const text of inlineTexts(conf)) expect(named).not.toContain(text);
  });
}

/** Whatever was found: names of the module's rules, in their order, each once, and all that an operator needs. */
function expectFindings({ checks: rules }: Pick<IssuerModule, 'checks'>, checks: readonly Check[]): void {
  const names = checks.map(({ name }) => name);
  expect(rules.map(({ name }) => name).filter((name) => names.includes(name))).toEqual(names);
  for (const { name, status, message, fix, field, durationMs } of checks) {
    expect(message, name).not.toBe('');
    expect(durationMs, name).toBeGreaterThanOrEqual(0);
    if (status === 'skipped') expect(message, name).toMatch(/^not looked at: ./);
    else if (status !== 'passed') expect(fix, name).toBeTruthy();
    if (field !== undefined) expect(field, name).not.toMatch(/^conf\b|^$/);
  }
}

/** What stands in a conf itself instead of in a secret or a file. */
function inlineTexts(conf: unknown): string[] {
  if (typeof conf !== 'object' || conf === null) return [];
  return Object.entries(conf).flatMap(([key, value]: [string, unknown]) => {
    if (typeof value !== 'string' || value === '') return inlineTexts(value);
    if (key === 'inlineString') return [value];
    return key === 'inline' ? [value, Buffer.from(value, 'base64').toString('utf8')] : [];
  });
}
