import type { Certificate } from './certificate.ts';

/** What a data plane certificate must look like: Kuma's, or one that is an X509-SVID as well. */
export type Profile = 'kuma' | 'spiffe';

export interface ExpectedLeaf {
  readonly spkiDer: Buffer;
  readonly uriSans: readonly string[];
  readonly dnsNames: readonly string[];
  /** Empty: there must be no common name. */
  readonly commonName: string;
  readonly profile: Profile;
  readonly at: Date;
}

/**
 * What is wrong with a leaf that a backend gave us, in plain words; nothing when a proxy can use it. The names must be exactly those that
 * were asked for, each once, in any order. Missing key usages are allowed: Vault's documented role gives none (kong-mesh.md, 8.11);
 * those that are present must allow a signature (X509-SVID 4.3, 4.4), and none may make it a CA (X509-SVID 4.1, 4.3).
 */
export function checkLeaf(leaf: Certificate, expected: ExpectedLeaf): string[] {
  const findings: string[] = [];
  const find = (bad: boolean, finding: () => string) => {
    if (bad) findings.push(finding());
  };

  find(!leaf.spkiDer.equals(expected.spkiDer), () => 'it is for another key');
  findings.push(...compareNames('URI', leaf.uriSans, expected.uriSans));
  findings.push(...compareNames('DNS', leaf.dnsNames, expected.dnsNames));
  find(leaf.otherSanCount > 0, () => `it has ${leaf.otherSanCount} names that are neither URI nor DNS`);
  find(leaf.commonNames.length > 1, () => `it has ${leaf.commonNames.length} common names`);
  find(
    leaf.commonName !== expected.commonName,
    () => `its common name is ${quoteOrNone(leaf.commonName)}, not ${quoteOrNone(expected.commonName)}`,
  );
  find(
    expected.profile === 'spiffe' && leaf.uriSans.length !== 1,
    () => `it has ${leaf.uriSans.length} URI names, an X509-SVID has exactly one`,
  );

  find(leaf.basicConstraints?.ca === true, () => 'it is a CA certificate (CA:TRUE)');
  for (const usage of ['keyCertSign', 'cRLSign'] as const) {
    find(leaf.keyUsage?.has(usage) === true, () => `it has the key usage ${usage}, which only a CA may have`);
  }
  find(leaf.keyUsage?.has('digitalSignature') === false, () => 'its key usage lacks digitalSignature');
  const usages = leaf.extendedKeyUsage ?? ['anyExtendedKeyUsage'];
  for (const usage of usages.includes('anyExtendedKeyUsage') ? [] : ['serverAuth', 'clientAuth']) {
    find(!usages.includes(usage), () => `its extended key usage lacks ${usage}`);
  }
  for (const name of leaf.unhandledCriticalExtensions) {
    findings.push(`it has the critical extension ${name}, which proxies do not know`);
  }

  find(expected.at < leaf.notBefore, () => `it is not valid before ${leaf.notBefore.toISOString()}`);
  find(expected.at > leaf.notAfter, () => `it ended at ${leaf.notAfter.toISOString()}`);
  return findings;
}

function compareNames(kind: string, present: readonly string[], expected: readonly string[]): string[] {
  const findings: string[] = [];
  const missing = expected.filter((name) => !present.includes(name));
  const foreign = present.filter((name) => !expected.includes(name));
  if (missing.length > 0) findings.push(`it lacks the ${kind} names ${missing.join(', ')}`);
  if (foreign.length > 0) findings.push(`it has ${kind} names that nobody asked for: ${foreign.join(', ')}`);
  if (new Set(present).size !== present.length) findings.push(`it has a ${kind} name twice`);
  return findings;
}

function quoteOrNone(commonName: string): string {
  return commonName === '' ? 'empty' : `"${commonName}"`;
}
