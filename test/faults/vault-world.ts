import { type StartedOpenBao, startOpenBao } from '../../testcontainers/openbao.ts';
import { createToken, setUpPki } from '../../testcontainers/vault-pki.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { type FaultWorld, putSecret, type ServerFault } from './fault-world.ts';
import { createVaultCallCounter } from './vault-call-counter.ts';

const MOUNT = 'kmesh-pki-default';
const POLICY = 'kmesh-default-dataplane-proxies-sign';
const TOKEN_SECRET = 'vault-token';
/** Vault's own cut below which a root cannot live; and long enough that it is over before it is used. */
const SHORT_LIFE_SECONDS = 1;

/** A real OpenBao with storage on disk, so that it can be restarted with what it had. */
export async function startVaultWorld(): Promise<FaultWorld> {
  const bao = await startOpenBao({ storage: 'disk' });
  const setUp = await setUpPki(bao, { policy: 'sign', roleFile: 'role-dataplane-proxies-sign.json' });
  const { hostname, port } = new URL(bao.address);
  const seen = createVaultCallCounter();
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) }, { observe: seen.observe });
  const tokens = [setUp.token];
  let closed: Promise<void> | undefined;

  const restart = (meanwhile: () => Promise<unknown>): ServerFault => ({
    async begin() {
      await proxy.set({ kind: 'refuse' });
      await bao.restart();
    },
    async end() {
      await bao.unseal();
      await meanwhile();
    },
  });

  return {
    type: 'vault',
    server: 'OpenBao',
    proxy,
    conf: {
      fromCp: {
        address: `http://${proxy.host}:${proxy.port}`,
        pki: MOUNT,
        role: 'dataplane-proxies',
        auth: { token: { secret: TOKEN_SECRET } },
      },
    },
    secrets: () => new Map([[TOKEN_SECRET, tokens.at(-1) ?? '']]),
    faults: {
      'expired CA': createExpiredCa(bao),
      throttled: {
        begin: async () => {
          await bao.must('POST', 'sys/quotas/rate-limit/faults', { path: MOUNT, rate: 2, interval: '1s' });
        },
        end: async () => {
          await bao.must('DELETE', 'sys/quotas/rate-limit/faults');
        },
      },
      'credentials revoked': {
        begin: async () => {
          await bao.must('POST', 'auth/token/revoke', { token: tokens.at(-1) });
        },
        end: async ({ test }) => {
          tokens.push(await createToken(bao, [POLICY]));
          await putSecret(test, TOKEN_SECRET, tokens.at(-1) ?? '');
        },
      },
      'restarted, same CA': restart(async () => {}),
      'restarted, new CA': restart(() => makeDefaultRoot(bao, '87600h')),
      unwell: { begin: bao.seal, end: bao.unseal },
    },
    calls: seen.calls,
    sensitive: () => [...tokens, bao.rootToken],
    // Vault keeps nothing for a certificate: the role has no_store.
    leftovers: async () => [],
    close() {
      closed ??= proxy.close().then(bao.close);
      return closed;
    },
  };
}

/** A root whose time is over becomes the mount's issuer, and goes again. */
function createExpiredCa(bao: StartedOpenBao): ServerFault {
  let former: unknown;
  return {
    async begin() {
      former = await bao.must('GET', `${MOUNT}/config/issuers`);
      await makeDefaultRoot(bao, `${SHORT_LIFE_SECONDS}s`);
      await new Promise<void>((resolve) => setTimeout(resolve, SHORT_LIFE_SECONDS * 1000 + 100));
    },
    async end() {
      const issuer = textAt(former, 'data', 'default');
      await bao.must('POST', `${MOUNT}/config/issuers`, { default: issuer });
    },
  };
}

async function makeDefaultRoot(bao: StartedOpenBao, ttl: string): Promise<void> {
  const made = await bao.must('POST', `${MOUNT}/root/generate/internal`, {
    ...{ common_name: 'default root', uri_sans: 'spiffe://default', ttl },
  });
  await bao.must('POST', `${MOUNT}/config/issuers`, { default: textAt(made, 'data', 'issuer_id') });
}

function textAt(body: unknown, ...path: readonly string[]): string {
  let value = body;
  for (const key of path) value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  if (typeof value !== 'string') throw new Error(`the answer has no ${path.join('.')}`);
  return value;
}
