import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Demo, meshCa, ROOT } from '../demo.ts';
import type { ProvidedCa } from './make-provided-ca.ts';
import type { DemoVault } from './start-vault.ts';

const EXAMPLE_VAULT_ADDRESS = 'http://127.0.0.1:8200';

/** The three examples, each after the secrets that it needs. */
export async function applyExamples(demo: Demo, address: string, vault: DemoVault, ca: ProvidedCa): Promise<void> {
  const { screen, folder } = demo;
  const apply = async (shown: string, file: string, input?: string) => {
    screen.command(`mesh-ca apply -f ${shown}`);
    const { stdout, stderr } = await meshCa(demo, address, ['apply', '-f', file], input);
    screen.step(stdout + stderr);
  };
  const applySecrets = (mesh: string, secrets: Readonly<Record<string, string>>) =>
    apply(
      `-   # a Mesh without mtls, then its secrets: ${Object.keys(secrets).join(', ')}`,
      '-',
      secretsOf(mesh, secrets),
    );

  await apply('examples/builtin.yaml', join(ROOT, 'examples/builtin.yaml'));

  await applySecrets('default', { 'vault-token': vault.token });
  const vaultExample = join(folder, 'vault.yaml');
  await writeFile(vaultExample, await vaultExampleAt(vault.address));
  screen.step(
    `examples/vault.yaml names ${EXAMPLE_VAULT_ADDRESS}; this Vault is at ${vault.address}: applying a changed copy`,
  );
  await apply('vault.yaml', vaultExample);

  await applySecrets('shop', { 'shop-ca-cert': ca.chainPem, 'shop-ca-key': ca.keyPem });
  await apply('examples/provided.yaml', join(ROOT, 'examples/provided.yaml'));
}

/** JSON is YAML, too. It goes through standard input, so that no secret stands in a file or an argument list. */
function secretsOf(mesh: string, secrets: Readonly<Record<string, string>>): string {
  const documents = Object.entries(secrets).map(([name, text]) => ({
    type: 'Secret',
    mesh,
    name,
    data: Buffer.from(text).toString('base64'),
  }));
  return [{ type: 'Mesh', name: mesh }, ...documents].map((document) => JSON.stringify(document)).join('\n---\n');
}

async function vaultExampleAt(address: string): Promise<string> {
  const text = await readFile(join(ROOT, 'examples/vault.yaml'), 'utf8');
  if (!text.includes(`address: ${EXAMPLE_VAULT_ADDRESS}\n`)) {
    throw new Error(`examples/vault.yaml does not name the address ${EXAMPLE_VAULT_ADDRESS} any more`);
  }
  return text.replace(`address: ${EXAMPLE_VAULT_ADDRESS}\n`, `address: ${address}\n`);
}
