import { startFakeVault } from '../fakes/fake-vault.ts';
import { GRANTS } from '../fakes/vault-backend.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { CLOCK_OFF_MS, type FaultWorld, flip } from './fault-world.ts';
import { createVaultCallCounter } from './vault-call-counter.ts';

/** The fake Vault, for what no real one does: it signs for another key or with a CA that it does not tell, and its clock is off. */
export async function startVaultFakeWorld(): Promise<FaultWorld> {
  let clockOffsetMs = 0;
  const vault = await startFakeVault({ now: () => new Date(Date.now() + clockOffsetMs) });
  for (const name of ['sign', 'readRole'] as const) vault.grants.set(...GRANTS[name]);
  const { hostname, port } = new URL(vault.address);
  const seen = createVaultCallCounter();
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) }, { observe: seen.observe });
  let closed: Promise<void> | undefined;
  return {
    type: 'vault',
    server: 'fake',
    proxy,
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
      'clock ahead': flip((isOn) => {
        clockOffsetMs = isOn ? CLOCK_OFF_MS : 0;
      }),
      'clock behind': flip((isOn) => {
        clockOffsetMs = isOn ? -CLOCK_OFF_MS : 0;
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
