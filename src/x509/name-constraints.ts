import { context, DerReader, TAG } from './der-reader.ts';
import type { SubjectAltNames } from './extensions.ts';
import { X509Error } from './x509-error.ts';

/** What a CA allows in the names of the certificates below it (RFC 5280, 4.2.1.10). */
export interface NameConstraints {
  readonly permitted: ConstrainedNames;
  readonly excluded: ConstrainedNames;
}

interface ConstrainedNames {
  readonly dns: readonly string[];
  readonly uri: readonly string[];
  /** Constraints on distinguished names; we do not compare those. */
  readonly directoryCount: number;
  /** Constraints on addresses, e-mail and the rest; we do not compare those either. */
  readonly otherCount: number;
}

/** The names of a certificate that constraints are about. */
export interface NamedSubject extends SubjectAltNames {
  readonly subject: string;
}

const MAX_SUBTREES = 256;
const DNS = context(2);
const DIRECTORY = context(4, 'constructed');
const URI = context(6);

export function parseNameConstraints(value: Buffer): NameConstraints {
  const outer = new DerReader(value, 'the name constraints');
  const fields = outer.expect(TAG.sequence).inside();
  outer.finish();
  const permitted = readSubtrees(fields, 0);
  const excluded = readSubtrees(fields, 1);
  fields.finish();
  return { permitted, excluded };
}

function readSubtrees(fields: DerReader, number: number): ConstrainedNames {
  const dns: string[] = [];
  const uri: string[] = [];
  let directoryCount = 0;
  let otherCount = 0;
  if (fields.nextTag === context(number, 'constructed')) {
    const subtrees = fields.next().inside();
    while (!subtrees.atEnd) {
      if (dns.length + uri.length + directoryCount + otherCount === MAX_SUBTREES) {
        throw new X509Error('name-constraints', `the name constraints have more than ${MAX_SUBTREES} entries`);
      }
      const base = subtrees.expect(TAG.sequence).inside().next();
      if (base.tag === DNS) dns.push(lowerText(base));
      else if (base.tag === URI) uri.push(lowerText(base));
      else if (base.tag === DIRECTORY) directoryCount++;
      else otherCount++;
      // minimum must be 0, its default, and maximum absent: both are then not written.
      base.finish();
    }
  }
  return { dns, uri, directoryCount, otherCount };
}

function lowerText(reader: DerReader): string {
  return reader.content().toString('latin1').toLowerCase();
}

/**
 * What in these names the constraints forbid, in plain words; undefined when nothing. DNS and URI names are compared. Constraints on other
 * kinds of names are not, and so forbid every name of their kind, as RFC 5280 asks of software that cannot process them.
 */
export function constraintFault({ permitted, excluded }: NameConstraints, names: NamedSubject): string | undefined {
  for (const name of names.dnsNames) {
    const host = name.toLowerCase();
    if (!isAllowed(host, permitted.dns, excluded.dns, isDnsWithin)) return `the DNS name ${name}`;
  }
  for (const name of names.uriSans) {
    if (permitted.uri.length + excluded.uri.length === 0) break;
    const host = hostOf(name);
    if (host === undefined || !isAllowed(host, permitted.uri, excluded.uri, isUriHostWithin)) return `the URI ${name}`;
  }
  if (names.subject !== '' && permitted.directoryCount + excluded.directoryCount > 0)
    return `the subject "${names.subject}"`;
  if (names.otherSanCount > 0 && permitted.otherCount + excluded.otherCount > 0)
    return 'a name that is neither URI nor DNS';
  return undefined;
}

type Within = (host: string, constraint: string) => boolean;

function isAllowed(host: string, permitted: readonly string[], excluded: readonly string[], within: Within): boolean {
  if (excluded.some((constraint) => within(host, constraint))) return false;
  return permitted.length === 0 || permitted.some((constraint) => within(host, constraint));
}

/** A DNS constraint holds for the name itself and everything below it. */
function isDnsWithin(host: string, constraint: string): boolean {
  const base = constraint.replace(/^\./, '');
  return base === '' || host === base || host.endsWith(`.${base}`);
}

/** A URI constraint holds for exactly that host, or with a leading dot for all hosts below it, but not the host itself. */
function isUriHostWithin(host: string, constraint: string): boolean {
  if (constraint === '') return true;
  return constraint.startsWith('.') ? host.endsWith(constraint) : host === constraint;
}

/** The host of a URI, lower case; undefined where it has none, which a constraint on URIs forbids. */
function hostOf(uri: string): string | undefined {
  return /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#:@]+)(?::\d*)?(?:[/?#]|$)/i.exec(uri)?.[1]?.toLowerCase();
}
