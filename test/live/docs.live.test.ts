import { mkdir, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StartedOpenBao, startOpenBao } from '../../testcontainers/openbao.ts';
import { findOpenBao } from '../../testcontainers/openbao-program.ts';
import { runProgram } from '../../testcontainers/run-program.ts';
import { findBlocks } from '../support/markdown-blocks.ts';
import { type ServeProcess, startServe } from '../support/serve-process.ts';
import { makeTempDir, type TempDir } from '../support/temp-dir.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGE_TIMEOUT_MS = 90_000;

let folder: TempDir;
let vault: StartedOpenBao;
let server: ServeProcess;

beforeAll(async () => {
  folder = await makeTempDir();
  vault = await startOpenBao();
  server = await startServe(['--data-dir', join(folder.path, 'data')]);
});
afterAll(async () => {
  await server?.end('SIGTERM');
  await vault?.close();
  await folder?.remove();
});

/** Types every command of a page into one shell, in the checkout, and stops at the first that fails. */
async function follow(page: string): Promise<string> {
  const commands = findBlocks(await readFile(join(ROOT, 'docs', page), 'utf8'), 'sh').join('');
  const temporary = join(folder.path, page);
  await mkdir(temporary);
  const bao = (await findOpenBao())?.path ?? 'bao';
  await symlink(bao, join(temporary, 'bao'));
  const result = await runProgram(['bash', '-c', `set -eu -o pipefail\ncd '${ROOT}'\n${commands}`], {
    timeoutMs: PAGE_TIMEOUT_MS,
    env: {
      ...process.env,
      HOME: temporary,
      TMPDIR: temporary,
      PATH: `${temporary}:${process.env.PATH}`,
      MESH_CA_ADDRESS: server.address,
      BAO_ADDR: vault.address,
      BAO_TOKEN: vault.rootToken,
    },
  });
  expect(`${result.output}exit code ${result.exitCode}`).toMatch(/exit code 0$/);
  return result.output;
}

describe('somebody who types every command of a page', { timeout: PAGE_TIMEOUT_MS }, () => {
  it('gets certificates from a CA that mesh-ca makes, and sees that it is good: first-steps.md, validation.md', async () => {
    const output = await follow('first-steps.md');
    const isGood = 'the backend can issue certificates that proxies accept';
    for (const shown of ['payments.ca-builtin-key-ca-1', isGood, 'certs/ledger-1.crt: OK', 'checkout-1.crt: OK']) {
      expect(output).toContain(shown);
    }
    const validated = await follow('validation.md');
    for (const shown of [isGood, '"ok": true', 'not looked at: 2 Dataplanes']) expect(validated).toContain(shown);
  });

  it('gets certificates below an intermediate CA of their own: provided-ca.md', async () => {
    expect(await follow('provided-ca.md')).toContain('certs/cart-1.crt: OK');
  });

  it('gets certificates from Vault, by issue and by sign: vault.md', async () => {
    const output = await follow('vault.md');
    for (const shown of [
      'certs/web-1.crt: OK',
      'subject=CN = web-front.mesh',
      'certs/backend-1.crt: OK',
      'certs-2/backend-1.crt: OK',
      'Digital Signature, Key Encipherment, Key Agreement',
      'Public-Key: (256 bit)',
    ]) {
      expect(output).toContain(shown);
    }
  });

  it('rotates a mesh step by step, and then by itself: rotation.md', async () => {
    const output = await follow('rotation.md');
    expect(output.match(/refused, exit code 4/g)).toHaveLength(2);
    for (const shown of [
      'mtls.enabledBackend: cannot be "ca-2" yet',
      'mtls.backends[0]: backend "ca-1" cannot be removed yet',
      'ca-1 may be removed',
      '✓ mesh market uses ca-3; ca-2 is removed',
    ])
      expect(output).toContain(shown);
  });
});
