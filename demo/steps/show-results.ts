import { X509Certificate } from 'node:crypto';
import { formatTable } from '../../src/cli/table.ts';
import { formatDate } from '../../src/cli/time-text.ts';
import { type Demo, meshCa } from '../demo.ts';
import type { CertifiedMesh } from './get-certificates.ts';

const HEADERS = ['MESH', 'BACKEND', 'DATA PLANE', 'SPIFFE IDS', 'CN', 'SERIAL', 'NOT AFTER'];

/** What was issued, as Node's own X.509 reader sees it. */
export function showCertificates({ screen }: Demo, meshes: readonly CertifiedMesh[]): void {
  const rows = meshes.flatMap(({ mesh, client, server }) =>
    [client, server].map(({ dataplane, certificate }) => {
      const read = new X509Certificate(certificate);
      return [
        mesh.name,
        mesh.type,
        dataplane.name,
        valuesIn(read.subjectAltName ?? '', ', ', 'URI:spiffe:')
          .map((id) => `spiffe:${id}`)
          .join(' '),
        valuesIn(read.subject ?? '', '\n', 'CN=').join(' ') || '-',
        read.serialNumber.toLowerCase(),
        formatDate(read.validTo),
      ];
    }),
  );
  screen.heading('Certificates');
  screen.plain(formatTable(HEADERS, rows).trimEnd());
}

/** kumactl's table, from mesh-ca itself. */
export async function showInspect(demo: Demo, address: string, mesh: string): Promise<void> {
  const { stdout } = await meshCa(demo, address, ['inspect', 'dataplanes', '-m', mesh]);
  demo.screen.heading(`$ mesh-ca inspect dataplanes -m ${mesh}`);
  demo.screen.plain(stdout.trimEnd());
}

/** Of what `mesh-ca validate` tells about each mesh: how many checks passed, and what is to be seen with one's own eyes. */
export async function showValidation(demo: Demo, address: string, meshes: readonly CertifiedMesh[]): Promise<void> {
  for (const { mesh } of meshes) {
    const { stdout } = await meshCa(demo, address, ['validate', mesh.name]);
    const [sum = '', ...checks] = stdout.split('\n');
    const handshake = checks.find((line) => line.includes('certificate.handshake'));
    if (handshake === undefined)
      throw new Error(`mesh-ca validate ${mesh.name} tells nothing of a TLS handshake\n${stdout}`);
    demo.screen.heading(`$ mesh-ca validate ${mesh.name}   # its sum, and one of the checks`);
    demo.screen.plain(`${sum}\n${handshake}`);
  }
}

function valuesIn(text: string, separator: string, prefix: string): string[] {
  return text.split(separator).flatMap((part) => (part.startsWith(prefix) ? [part.slice(prefix.length)] : []));
}
