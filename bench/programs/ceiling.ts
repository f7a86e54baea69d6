import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  KeyObject,
  sign,
  verify,
  webcrypto,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseCsr } from '../../src/x509/csr.ts';

/** What is left of a CSR when all reading is done before. */
interface Prepared {
  readonly point: Buffer;
  readonly jwk: { readonly kty: 'EC'; readonly crv: 'P-256'; readonly x: string; readonly y: string };
  readonly signedPart: Buffer;
  readonly signature: Buffer;
}

const POINT_BYTES = 65;
/** As many as a P-256 leaf with four URI SANs has in front of its signature. */
const TBS_BYTES = 480;
/** As many as the load client has connections. */
const IN_FLIGHT = 32;

/** The two ways to a public key that are worth trying on Node 20 (src/x509/subject-public-key.ts has the numbers). */
const WAYS: Readonly<Record<string, (csr: Prepared) => KeyObject | Promise<KeyObject>>> = {
  'raw point by WebCrypto': async ({ point }) =>
    KeyObject.from(
      await webcrypto.subtle.importKey('raw', point, { name: 'ECDSA', namedCurve: 'P-256' }, true, ['verify']),
    ),
  JWK: ({ jwk }) => createPublicKey({ key: jwk, format: 'jwk' }),
};

/**
 * The least that node:crypto has to do for one certificate: import the public key of a CSR, verify one signature, make one. No reading, no
 * HTTP, no store. Prints JSON: per way certificates per second and CPU seconds of all threads per 1,000.
 * Arguments: file with a CSR a line (DER, base64), seconds for each way.
 */
async function main(file: string, seconds: number): Promise<void> {
  const csrs = readFileSync(file, 'latin1').trim().split('\n').map(prepare);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const caKey = createPrivateKey(privateKey.export({ type: 'sec1', format: 'pem' }));
  const results: Record<string, unknown> = {};
  for (const [name, importKey] of Object.entries(WAYS)) {
    await run(csrs, importKey, caKey, Math.min(0.5, seconds / 4));
    results[name] = await run(csrs, importKey, caKey, seconds);
  }
  process.stdout.write(JSON.stringify(results));
}

async function run(
  csrs: readonly Prepared[],
  importKey: (csr: Prepared) => KeyObject | Promise<KeyObject>,
  caKey: KeyObject,
  seconds: number,
): Promise<{ count: number; seconds: number; cpuSeconds: number }> {
  const tbs = Buffer.alloc(TBS_BYTES, 'certificate');
  const startedAt = performance.now();
  const endsAt = startedAt + seconds * 1000;
  const cpuBefore = process.cpuUsage();
  let count = 0;
  const work = async () => {
    while (performance.now() < endsAt) {
      const csr = csrs[count % csrs.length];
      count += 1;
      if (csr === undefined) throw new Error('no CSRs');
      const key = await importKey(csr);
      if (!verify('sha256', csr.signedPart, key, csr.signature)) throw new Error('a CSR does not verify');
      tbs.writeUInt32BE(count, 0);
      sign('sha256', tbs, caKey);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  const cpu = process.cpuUsage(cpuBefore);
  return { count, seconds: (performance.now() - startedAt) / 1000, cpuSeconds: (cpu.user + cpu.system) / 1e6 };
}

function prepare(line: string): Prepared {
  const { publicKey, signedPart, signature } = parseCsr(Buffer.from(line, 'base64'));
  const point = publicKey.spkiDer.subarray(-POINT_BYTES);
  const x = point.toString('base64url', 1, 33);
  const y = point.toString('base64url', 33);
  return { point, jwk: { kty: 'EC', crv: 'P-256', x, y }, signedPart, signature };
}

await main(process.argv[2] ?? '', Number(process.argv[3]));
