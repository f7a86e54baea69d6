import { startFakeVault } from '../fakes/fake-vault.ts';
import { GRANTS } from '../fakes/vault-backend.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import type { FaultWorld, ServerFault } from './fault-world.ts';
import { createVaultCalls } from './vault-calls.ts';

/** The fake Vault, for what no real one does: it signs for another key, or with a CA that it does not tell. */
export async function startVaultFakeWorld(): Promise<FaultWorld> {
  const vault = await startFakeVault({ now: () => new Date() });
  for (const name of ['sign', 'readRole'] as const) vault.grants.set(...GRANTS[name]);
  const { hostname, port } = new URL(vault.address);
  const seen = createVaultCalls();
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) }, { observe: seen.observe });
  const flip = (turn: (isOn: boolean) => void): ServerFault => ({
    begin: async () => turn(true),
    end: async () => turn(false),
  });
  let closed: Promise<void> | undefined;
  return {
    type: 'vault',
    server: 'fake',
    proxy,
    flags: {},
    conf: {
      fromCp: {
        address: `http://${proxy.host}:${proxy.port}`,
        pki: vault.pki.mount,
        role: vault.pki.roleName,
        auth: { token: { secret: 'vault-token' } },
      },
    },
    secrets: () => new Map([['vault-token', vault.token]]),
    faults: {
      'wrong key': flip((isOn) => {
        vault.pki.wrongKey = isOn;
      }),
      'foreign root': flip((isOn) => {
        vault.pki.foreignCa = isOn;
      }),
    },
    calls: seen.calls,
    sensitive: () => [vault.token],
    leftovers: async () => [],
    close() {
      closed ??= proxy.close().then(vault.close);
      return closed;
    },
  };
}
