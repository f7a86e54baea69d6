import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { startServe } from '../support/serve-process.ts';
import { makeTempDir, type TempDir } from '../support/temp-dir.ts';
import { builtinMesh } from '../support/test-app.ts';

const ISSUES = 1000;
const AT_ONCE = 16;

let dir: TempDir;
let csrs: string[];
beforeAll(async () => {
  dir = await makeTempDir();
  csrs = [];
  for (let index = 0; index < ISSUES; index += 1) {
    csrs.push(
      encodePem(
        'CERTIFICATE REQUEST',
        createCsr(await generateKeyPair('EC-P256'), { uriSans: [], dnsNames: [], commonName: '' }),
      ),
    );
  }
});
afterAll(() => dir.remove());

interface Issued {
  readonly outcome: string;
  readonly serialNumber: string;
  readonly certificate: string;
}

async function ask(address: string, round: number, index: number): Promise<Issued> {
  const response = await fetch(`${address}/meshes/default/dataplanes/dp-${round}-${index}/_certificate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ csr: csrs[index], tags: { 'kuma.io/service': `svc-${index}` } }),
  });
  if (response.status >= 400) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()) as Issued;
}

describe('kill -9 in the middle of 1,000 issues', () => {
  it.each([100, 450, 900])(
    'after %i answers: all that was answered is there, nothing is half-written',
    async (killAfter) => {
      const flags = ['--data-dir', dir.path];
      const first = await startServe(flags);
      await fetch(`${first.address}/meshes/default`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(builtinMesh('default')),
      });
      const answered = new Map<number, Issued>();
      let next = 0;
      let killed: Promise<unknown> | undefined;
      const work = async () => {
        while (next < ISSUES && killed === undefined) {
          const index = next;
          next += 1;
          try {
            answered.set(index, await ask(first.address, killAfter, index));
          } catch (error) {
            if (killed === undefined) throw error;
          }
          if (answered.size >= killAfter) killed ??= first.end('SIGKILL');
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
      expect(await killed).toEqual({ code: null, signal: 'SIGKILL' });
      expect(answered.size).toBeGreaterThanOrEqual(killAfter);
      expect(answered.size).toBeLessThan(ISSUES);

      const second = await startServe(flags);
      for (const [index, before] of answered) {
        const after = await ask(second.address, killAfter, index);
        expect([after.outcome, after.serialNumber, after.certificate]).toEqual([
          'reused',
          before.serialNumber,
          before.certificate,
        ]);
      }
      // Those that were under way are either whole or not there: each can be asked for.
      for (let index = 0; index < next + AT_ONCE && index < ISSUES; index += 1) {
        expect(['reused', 'issued']).toContain((await ask(second.address, killAfter, index)).outcome);
      }
      expect(await second.end('SIGTERM')).toEqual({ code: 0, signal: null });
      await expectSoundDatabase(join(dir.path, 'mesh-ca.db'));
    },
  );
});

/** SQLite's own judge, by Python: not the driver that wrote it. */
async function expectSoundDatabase(path: string): Promise<void> {
  const script =
    'import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute("pragma integrity_check").fetchone()[0])';
  const { stdout } = await promisify(execFile)('python3', ['-c', script, path]);
  expect(stdout.trim()).toBe('ok');
}
