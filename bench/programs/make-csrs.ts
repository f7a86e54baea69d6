import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';

/** Prints as many CSRs as its argument says, each with an EC P-256 key of its own: DER in base64, one a line. */
async function main(count: number): Promise<void> {
  const lines: string[] = [];
  for (let i = 0; i < count; i += 1) {
    const keyPair = await generateKeyPair('EC-P256');
    lines.push(createCsr(keyPair, { uriSans: [], dnsNames: [], commonName: '' }).toString('base64'));
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}

await main(Number(process.argv[2]));
