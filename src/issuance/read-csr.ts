import { RequestInvalidError } from '../issuer/errors.ts';
import type { Identity, IssuerAbilities } from '../issuer/issuer.ts';
import { type Csr, parseCsr, verifyCsrSignatureAsync } from '../x509/csr.ts';
import { decodePem } from '../x509/pem.ts';
import { X509Error } from '../x509/x509-error.ts';

const LABELS: ReadonlySet<string> = new Set(['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST']);
const HOW_TO =
  'make one with: openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj / -keyout key.pem';

/**
 * A CSR from outside: strict DER, allowed key, signature by that key (proof of possession, RFC 2986 3).
 * @throws RequestInvalidError on field `csr`, with the rule that was broken
 */
export async function readCsr(pem: string): Promise<Csr> {
  try {
    const blocks = decodePem(pem);
    const [block] = blocks;
    if (block === undefined) throw new X509Error('no-pem', 'holds no PEM block');
    if (blocks.length > 1) throw new X509Error('several-pem-blocks', `holds ${blocks.length} PEM blocks, not one`);
    if (!LABELS.has(block.label))
      throw new X509Error('pem-label', `is a PEM block "${block.label}", not "CERTIFICATE REQUEST"`);
    const csr = parseCsr(block.der);
    if (!(await verifyCsrSignatureAsync(csr)))
      throw new X509Error('signature', 'its signature does not verify with its key');
    return csr;
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    throw new RequestInvalidError(`csr not accepted (${error.rule}): ${error.message}`, {
      violations: [{ field: 'csr', message: error.message }],
      fix: HOW_TO,
      cause: error,
    });
  }
}

/**
 * A backend that signs CSRs as they are must not be asked to sign another identity than ours.
 * @throws RequestInvalidError naming the SANs that the CSR must carry
 */
export function checkCsrFits(csr: Csr, identity: Identity, abilities: IssuerAbilities, dataplane: string): void {
  if (abilities.keyTypesAreAssumed !== true && !abilities.keyTypes.includes(csr.publicKey.type)) {
    throw new RequestInvalidError(`the backend takes no ${csr.publicKey.type} keys`, {
      violations: [
        {
          field: 'csr',
          message: `has a key of type ${csr.publicKey.type}; the backend takes ${abilities.keyTypes.join(', ')}`,
        },
      ],
      fix: `make the CSR with a key of type ${abilities.keyTypes.join(' or ')}`,
    });
  }
  if (!abilities.signsCsrAsIs) return;
  const wrong: string[] = [];
  if (!sameList(csr.uriSans, identity.uriSans)) wrong.push(`URI SANs must be exactly ${identity.uriSans.join(', ')}`);
  if (!sameList(csr.dnsNames, identity.dnsNames))
    wrong.push(`DNS SANs must be exactly ${identity.dnsNames.join(', ') || 'none'}`);
  if (csr.otherSanCount > 0) wrong.push('SANs of other kinds must not be there');
  if (csr.commonName !== identity.commonName)
    wrong.push(`the common name must be ${JSON.stringify(identity.commonName)}`);
  if (identity.commonName === '' && !csr.subjectIsEmpty) wrong.push('the subject must be empty');
  if (wrong.length === 0) return;
  throw new RequestInvalidError(
    `the backend signs a CSR as it is, and this one does not carry the identity of data plane "${dataplane}"`,
    {
      violations: wrong.map((message) => ({ field: 'csr', message })),
      fix: `ask POST /meshes/${identity.mesh}/dataplanes/${dataplane}/_identity what the CSR has to carry`,
    },
  );
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}
