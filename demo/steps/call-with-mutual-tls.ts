import type { Demo } from '../demo.ts';
import { callServer, startServer } from '../support/mutual-tls.ts';
import type { CertifiedMesh } from './get-certificates.ts';

/** In each mesh one data plane calls another over HTTPS, both sides checking who the other is; then a stranger tries. */
export async function callWithMutualTls({ screen, signal }: Demo, meshes: readonly CertifiedMesh[]): Promise<void> {
  for (const [index, { mesh, client, server }] of meshes.entries()) {
    const stranger = meshes[(index + 1) % meshes.length];
    if (stranger === undefined) throw new TypeError('there is no other mesh');
    const started = await startServer(server, client.dataplane.spiffeId);
    try {
      const seen = await callServer(started.port, client, server.dataplane.spiffeId, signal);
      screen.step(`mutual TLS in ${mesh.name}: ${seen.client} -> ${seen.server}: ${seen.status}, ${seen.protocol}`);
      const refusal = await refusalOf(started, stranger, signal);
      screen.step(`  a certificate of mesh ${stranger.mesh.name} is refused there (${refusal})`);
    } finally {
      await started.close();
    }
  }
}

/** The stranger does not even look at the server's certificate, so that it is the server that refuses. */
async function refusalOf(
  server: { readonly port: number; lastRefusal(): string | undefined },
  stranger: CertifiedMesh,
  signal: AbortSignal,
): Promise<string> {
  const answer = await callServer(server.port, stranger.client, undefined, signal).catch(() => undefined);
  signal.throwIfAborted();
  const refusal = server.lastRefusal();
  if (answer !== undefined || refusal === undefined) {
    throw new Error(`a certificate of mesh ${stranger.mesh.name} was not refused by a server of another mesh`);
  }
  return refusal;
}
