import { readdirSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CaError } from '../../src/issuer/errors.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';
import { openStore } from '../../src/store/open-store.ts';
import { openSqliteStore } from '../../src/store/sql/sqlite-store.ts';
import type { Store } from '../../src/store/store.ts';
import { buildRecord, DEFAULT_MESH } from '../conformance/store.ts';

/** The other process in tests with two: `child.ts <job> <database>`. Prints one line for each thing it has done. */

const say = (line: string) => process.stdout.write(`${line}\n`);

const jobs: Record<string, (store: Store, path: string) => Promise<void>> = {
  /** Writes until it is killed; prints the name of each data plane whose record is durable. */
  async record(store) {
    await store.putResource(DEFAULT_MESH);
    const writer = async (lane: number) => {
      for (let i = 0; ; i++) {
        const dataplane = `${process.pid}-${lane}-${i}`;
        await store.recordCertificate(buildRecord({ dataplane, chain: [Buffer.alloc(700, lane)] }));
        await store.putResource({ type: 'Dataplane', mesh: 'default', name: dataplane, body: '{"half":"written"}' });
        say(dataplane);
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, lane) => writer(lane)));
  },

  /** Races for 20 pairs of resources and 200 bundle versions; prints what it won. */
  async race(store) {
    for (let i = 0; i < 20; i++) {
      const body = `${process.pid}`;
      const pair = ['cert', 'key'].map((part) => ({ type: 'Secret', mesh: 'default', name: `${i}-${part}`, body }));
      if (await store.createResources(pair)) say(`pair ${i}`);
    }
    for (let won = 0; won < 100; ) {
      const version = (await store.getTrustBundle('default'))?.version ?? 0;
      const [append] = await Promise.allSettled([store.appendTrustBundle('default', `${process.pid}`, version)]);
      if (append.status === 'rejected') continue;
      won++;
      say(`bundle ${append.value.version}`);
    }
    await store.close();
  },

  /** Writes until it is refused, then looks whether all that was taken is there, and nothing else. */
  async fill(store) {
    await store.putResource(DEFAULT_MESH);
    const codeOf = (error: unknown) => (error instanceof CaError ? error.code : 'no code');
    let taken = 0;
    for (; ; taken++) {
      const secret = { type: 'Secret', mesh: 'default', name: `${taken}`, body: 'x'.repeat(20_000) };
      try {
        await store.putResource(secret);
      } catch (error) {
        say(`${codeOf(error)} ${error instanceof Error ? error.message : ''}`);
        break;
      }
    }
    const { total } = await store.listResources({ type: 'Secret' });
    say(taken > 0 && total === taken ? 'all that was taken is there' : `${total} of ${taken} are there`);
    await store.close();
  },

  /** Has nothing else that would keep its process alive while another one holds the lock. */
  async wait(store) {
    await store.recordCertificate(buildRecord());
    await store.close();
    say('written');
  },

  /** Writes a secret, sealed with the key of the folder. */
  async seal(store) {
    await store.putResource({ type: 'Secret', mesh: 'default', name: `${process.pid}`, body: '{"data":"c2VhbGVk"}' });
    await store.close();
    say('sealed');
  },

  /** Uses the store, closes it, and prints which of its files are still open. Ends by itself when nothing is left. */
  async close(store, path) {
    store.onChange(() => {});
    await store.putResource(DEFAULT_MESH);
    await store.recordCertificate(buildRecord());
    await store.getCertificate('default', 'web-1');
    await store.close();
    gc?.();
    await new Promise(setImmediate);
    for (const descriptor of readdirSync('/proc/self/fd')) {
      const file = linkOf(`/proc/self/fd/${descriptor}`);
      if (file.startsWith(path)) say(`open: ${file}`);
    }
    say('closed');
  },
};

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

const parts = { clock: systemClock, log: silentLog };
const openSealed = () =>
  openStore(`sqlite:${path}`, { keyFile: join(dirname(path), 'store.key'), random: createSystemRandom(), ...parts });
const [job = '', path = ''] = process.argv.slice(2);
if (job === 'wait') say('starts');
await jobs[job]?.(await (job === 'seal' ? openSealed() : openSqliteStore({ path, ...parts })), path);
