import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createKubeAccess } from '../../adapters/certmanager/kube-access.ts';
import { pollUntil } from '../../testcontainers/server-process.ts';
import { live } from '../conformance/issuer.ts';
import { createFakeClock, TEST_START } from '../conformance/issuer-deps.ts';
import { makeTempDir } from '../support/temp-dir.ts';

const WITHIN_MS = 5_000;

/** A kubeconfig in a folder of its own, and what mesh-ca makes of it. `user`: YAML of the user. */
async function start(user: string) {
  const folder = await makeTempDir();
  const former = process.env.KUBECONFIG;
  onTestFinished(async () => {
    if (former === undefined) delete process.env.KUBECONFIG;
    else process.env.KUBECONFIG = former;
    await folder.remove();
  });
  const file = join(folder.path, 'config');
  process.env.KUBECONFIG = file;
  const write = (text: string) => writeFile(file, text);
  const config = (who: string) => `apiVersion: v1
kind: Config
current-context: here
clusters: [{ name: here, cluster: { server: 'https://127.0.0.1:1' } }]
contexts: [{ name: here, context: { cluster: here, user: me } }]
users: [{ name: me, user: ${who.replaceAll('$FOLDER', folder.path)} }]
`;
  await write(config(user));
  const clock = createFakeClock(TEST_START);
  const access = createKubeAccess(clock);
  const tokenNow = async () => {
    const got = await access.get(live().signal);
    return got.ok ? got.value.headers.authorization : got.failure.message;
  };
  return { folder: folder.path, write, config, clock, access, tokenNow };
}

/** An `exec` plug-in that counts how often it is run. */
async function writePlugin(folder: string, body: string): Promise<() => Promise<number>> {
  await writeFile(join(folder, 'plugin'), `#!/bin/sh\necho run >> ${join(folder, 'runs')}\n${body}\n`);
  await chmod(join(folder, 'plugin'), 0o700);
  await writeFile(join(folder, 'runs'), '');
  return async () => (await readFile(join(folder, 'runs'), 'utf8')).split('\n').length - 1;
}

const EXEC = '{ exec: { apiVersion: client.authentication.k8s.io/v1, command: $FOLDER/plugin } }';
const CREDENTIAL = (token: string) =>
  `echo '${JSON.stringify({ apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status: { token } })}'`;

describe('the credentials of the cluster', () => {
  it('follow the kubeconfig within half a minute, and at once when they are refused', async () => {
    const { write, config, clock, access, tokenNow } = await start('{ token: one }');
    expect(await tokenNow()).toBe('Bearer one');
    await write(config('{ token: two }'));
    // In use all the time, which is no reason to look later.
    clock.advance(25_000);
    expect(await tokenNow()).toBe('Bearer one');
    clock.advance(5_000);
    expect(await tokenNow()).toBe('Bearer two');
    await write(config('{ token: three }'));
    expect(access.refresh()).toBe(true);
    expect(await tokenNow()).toBe('Bearer three');
    // Once in a while only, so that a server that refuses everything makes nobody read files all the time.
    expect(access.refresh()).toBe(false);
  });

  it('follow a token file that is rotated', async () => {
    const { folder, clock, tokenNow } = await start('{ tokenFile: $FOLDER/token }');
    await writeFile(join(folder, 'token'), 'one');
    expect(await tokenNow()).toBe('Bearer one');
    await writeFile(join(folder, 'token'), 'two');
    clock.advance(10_000);
    expect(await tokenNow()).toBe('Bearer two');
  });

  it('stay while the kubeconfig is being written, and are missed after a minute', async () => {
    const { write, config, clock, tokenNow } = await start('{ token: one }');
    expect(await tokenNow()).toBe('Bearer one');
    await write('users: [');
    clock.advance(31_000);
    expect(await tokenNow()).toBe('Bearer one');
    clock.advance(31_000);
    expect(await tokenNow()).toMatch(/kubeconfig cannot be read/);
    await write(config('{ token: two }'));
    clock.advance(1_001);
    expect(await tokenNow()).toBe('Bearer two');
  });

  it('of a plug-in are asked for again when they are refused, not because time has passed', async () => {
    const { folder, clock, access, tokenNow } = await start(EXEC);
    const runs = await writePlugin(folder, CREDENTIAL('one'));
    for (let i = 0; i < 4; i += 1) {
      expect(await tokenNow()).toBe('Bearer one');
      // What is read behind the call's back has been read.
      await pollUntil(WITHIN_MS, async () => clock.pending === 0);
      clock.advance(31_000);
    }
    expect(await runs()).toBe(1);
    access.refresh();
    expect(await tokenNow()).toBe('Bearer one');
    expect(await runs()).toBe(2);
  });

  it('of a plug-in that has become slow are used as they were meanwhile', async () => {
    const { folder, write, config, clock, tokenNow } = await start('{ token: one }');
    expect(await tokenNow()).toBe('Bearer one');
    const runs = await writePlugin(folder, `while [ ! -e ${folder}/end ]; do sleep 0.05; done; ${CREDENTIAL('two')}`);
    await write(config(EXEC.replaceAll('$FOLDER', folder)));
    clock.advance(30_000);
    const meanwhile = tokenNow();
    await pollUntil(WITHIN_MS, async () => (await runs()) === 1);
    clock.advance(500);
    expect(await meanwhile).toBe('Bearer one');
    await writeFile(join(folder, 'end'), '');
    await pollUntil(WITHIN_MS, async () => (await tokenNow()) === 'Bearer two');
  });

  it('of a plug-in that hangs are waited for, by one process', async () => {
    const { folder, clock, tokenNow } = await start(EXEC);
    const runs = await writePlugin(folder, `while [ ! -e ${folder}/end ]; do sleep 0.05; done; ${CREDENTIAL('late')}`);
    for (let i = 0; i < 3; i += 1) {
      const waits = tokenNow();
      await pollUntil(WITHIN_MS, async () => (await runs()) === 1);
      await pollUntil(WITHIN_MS, async () => clock.pending > 0);
      clock.advance(15_001);
      expect(await waits).toMatch(/could not be had within/);
    }
    expect(await runs()).toBe(1);
    await writeFile(join(folder, 'end'), '');
    expect(await tokenNow()).toBe('Bearer late');
  });

  it.each([
    ['none', 'kind: Config', 'kubeconfig', /no Kubernetes cluster|no cluster in its current context/],
    [
      'a password in the address',
      "{ kind: Config, current-context: h, clusters: [{ name: h, cluster: { server: 'https://me:hidden@127.0.0.1:1' } }], contexts: [{ name: h, context: { cluster: h, user: m } }], users: [{ name: m, user: { token: t } }] }",
      'kubeconfig',
      /holds a user name or password$/,
    ],
    ['garbage', '{{{', 'kubeconfig', /kubeconfig cannot be read/],
    ['a plug-in that is not there', undefined, 'credentials', /credentials of the kubeconfig cannot be read/],
  ])('are told when there are %s', async (_name, text, kind, message) => {
    const { write, access } = await start(EXEC);
    if (text !== undefined) await write(text);
    const failure = { kind, message: expect.stringMatching(message), fix: expect.stringMatching(/./) };
    expect(await access.get(live().signal)).toMatchObject({ ok: false, failure });
  });
});
