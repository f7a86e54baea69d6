import type { Demo } from '../demo.ts';
import { callServer, type MutualTlsServer, startServer } from '../support/mutual-tls.ts';
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
async function refusalOf(server: MutualTlsServer, stranger: CertifiedMesh, signal: AbortSignal): Promise<string> {
  const call = callServer(server.port, stranger.client, undefined, signal).then(
    () => Promise.reject(new Error(`a server of another mesh answered to a certificate of mesh ${stranger.mesh.name}`)),
    () => undefined,
  );
  const [refusal] = await Promise.all([server.nextRefusal(signal), call]);
  return refusal;
}
