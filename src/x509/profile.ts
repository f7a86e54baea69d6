import { plainText } from '../text/plain-text.ts';
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

/** What a rule for leaves is about. */
export type LeafRuleGroup = 'key' | 'names' | 'common-name' | 'usages' | 'time';

interface LeafRule {
  readonly group: LeafRuleGroup;
  /** What is wrong, in plain words. */
  faults(leaf: Certificate, expected: ExpectedLeaf): readonly string[];
}

/** THE table of rules for leaves, in the order in which their findings are told. */
const LEAF_RULES: readonly LeafRule[] = [
  { group: 'key', faults: (leaf, { spkiDer }) => when(!leaf.spkiDer.equals(spkiDer), () => 'it is for another key') },
  { group: 'names', faults: (leaf, { uriSans }) => compareNames('URI', leaf.uriSans, uriSans) },
  { group: 'names', faults: (leaf, { dnsNames }) => compareNames('DNS', leaf.dnsNames, dnsNames) },
  {
    group: 'names',
    faults: ({ otherSanCount }) =>
      when(otherSanCount > 0, () => `it has ${otherSanCount} names that are neither URI nor DNS`),
  },
  {
    group: 'common-name',
    faults: ({ commonNames }) => when(commonNames.length > 1, () => `it has ${commonNames.length} common names`),
  },
  {
    group: 'common-name',
    faults: (leaf, { commonName }) =>
      when(
        leaf.commonName !== commonName,
        () => `its common name is ${quoteOrNone(leaf.commonName)}, not ${quoteOrNone(commonName)}`,
      ),
  },
  {
    group: 'names',
    faults: ({ uriSans }, { profile }) =>
      when(
        profile === 'spiffe' && uriSans.length !== 1,
        () => `it has ${uriSans.length} URI names, an X509-SVID has exactly one`,
      ),
  },
  {
    group: 'usages',
    faults: ({ basicConstraints }) => when(basicConstraints?.ca === true, () => 'it is a CA certificate (CA:TRUE)'),
  },
  {
    group: 'usages',
    faults: ({ keyUsage }) =>
      (['keyCertSign', 'cRLSign'] as const).flatMap((usage) =>
        when(keyUsage?.has(usage) === true, () => `it has the key usage ${usage}, which only a CA may have`),
      ),
  },
  {
    group: 'usages',
    faults: ({ keyUsage }) =>
      when(keyUsage?.has('digitalSignature') === false, () => 'its key usage lacks digitalSignature'),
  },
  {
    group: 'usages',
    faults: ({ extendedKeyUsage: usages = ['anyExtendedKeyUsage'] }) =>
      (usages.includes('anyExtendedKeyUsage') ? [] : ['serverAuth', 'clientAuth']).flatMap((usage) =>
        when(!usages.includes(usage), () => `its extended key usage lacks ${usage}`),
      ),
  },
  {
    group: 'usages',
    faults: ({ unhandledCriticalExtensions }) =>
      unhandledCriticalExtensions.map((name) => `it has the critical extension ${name}, which proxies do not know`),
  },
  {
    group: 'time',
    faults: ({ notBefore }, { at }) => when(at < notBefore, () => `it is not valid before ${notBefore.toISOString()}`),
  },
  {
    group: 'time',
    faults: ({ notAfter }, { at }) => when(at > notAfter, () => `it ended at ${notAfter.toISOString()}`),
  },
];

/**
 * What is wrong with a leaf that a backend gave us, in plain words; nothing when a proxy can use it. The names must be exactly those that
 * were asked for, each once, in any order. Missing key usages are allowed: Vault's documented role gives none (kong-mesh.md, 8.11);
 * those that are present must allow a signature (X509-SVID 4.3, 4.4), and none may make it a CA (X509-SVID 4.1, 4.3).
 *
 * @param group only the rules about this
 */
export function checkLeaf(leaf: Certificate, expected: ExpectedLeaf, group?: LeafRuleGroup): string[] {
  return LEAF_RULES.filter((rule) => group === undefined || rule.group === group).flatMap((rule) =>
    rule.faults(leaf, expected),
  );
}

function when(bad: boolean, finding: () => string): string[] {
  return bad ? [finding()] : [];
}

function compareNames(kind: string, present: readonly string[], expected: readonly string[]): string[] {
  const findings: string[] = [];
  const missing = expected.filter((name) => !present.includes(name));
  const foreign = present.filter((name) => !expected.includes(name));
  if (missing.length > 0) findings.push(`it lacks the ${kind} names ${listed(missing)}`);
  if (foreign.length > 0) findings.push(`it has ${kind} names that nobody asked for: ${listed(foreign)}`);
  if (new Set(present).size !== present.length) findings.push(`it has a ${kind} name twice`);
  return findings;
}

const MAX_LISTED = 10;
const MAX_NAME = 256;

/** A certificate of somebody else's may hold a thousand names of two thousand characters. */
function listed(names: readonly string[]): string {
  const more = names.length > MAX_LISTED ? ` and ${names.length - MAX_LISTED} more` : '';
  return `${names
    .slice(0, MAX_LISTED)
    .map((name) => plainText(name, MAX_NAME))
    .join(', ')}${more}`;
}

function quoteOrNone(commonName: string): string {
  return commonName === '' ? 'empty' : `"${plainText(commonName, MAX_NAME)}"`;
}
