import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Demo, meshCa } from '../demo.ts';
import { type DemoDataplane, type DemoMesh, MESHES } from '../meshes.ts';

/** What a proxy has on its disk, all PEM. */
export interface DataplaneFiles {
  readonly dataplane: DemoDataplane;
  /** Never printed. */
  readonly key: string;
  readonly certificate: string;
  /** The certificate and its intermediates. */
  readonly chain: string;
  readonly trustBundle: string;
}

export interface CertifiedMesh {
  readonly mesh: DemoMesh;
  readonly client: DataplaneFiles;
  readonly server: DataplaneFiles;
}

/** A certificate for each data plane by `mesh-ca issue`. Meshes do not wait for each other. */
export async function getCertificates(demo: Demo, address: string): Promise<readonly CertifiedMesh[]> {
  const certified = await Promise.all(
    MESHES.map(async (mesh) => {
      const client = await issue(demo, address, mesh, mesh.client);
      return { mesh, client, server: await issue(demo, address, mesh, mesh.server) };
    }),
  );
  for (const { mesh } of certified) {
    for (const { name } of [mesh.client, mesh.server]) {
      demo.screen.command(`mesh-ca ${issueArgs(mesh, name, `certs/${mesh.name}`).join(' ')}`);
    }
  }
  const keys = 'keys made here and never sent, except in mesh default, where Vault makes them';
  demo.screen.step(`certificates: ${2 * certified.length} issued (${keys})`);
  return certified;
}

async function issue(demo: Demo, address: string, mesh: DemoMesh, dataplane: DemoDataplane): Promise<DataplaneFiles> {
  const out = join(demo.folder, 'certs', mesh.name);
  await meshCa(demo, address, issueArgs(mesh, dataplane.name, out));
  const read = (name: string) => readFile(join(out, name), 'utf8');
  return {
    dataplane,
    key: await read(`${dataplane.name}.key`),
    certificate: await read(`${dataplane.name}.crt`),
    chain: await read(`${dataplane.name}.chain.crt`),
    trustBundle: await read('ca.crt'),
  };
}

function issueArgs(mesh: DemoMesh, dataplane: string, out: string): string[] {
  return ['issue', dataplane, '-m', mesh.name, ...mesh.issueFlags, '--out', out];
}
