import { hash } from 'node:crypto';

/** The two kinds of secrets that a proxy subscribes, in the order in which they are sent: trust goes before what needs it. */
export const KINDS = ['trust', 'identity'] as const;
export type Kind = (typeof KINDS)[number];

/** One value of each kind, or none. */
export type PerKind<T> = { readonly [K in Kind]?: T };

const MARK: Readonly<Record<Kind, string>> = { trust: 't', identity: 'c' };
const SHAPE: Readonly<Record<Kind, RegExp>> = { trust: /^t[0-9]{1,15}-[0-9a-f]{16}$/, identity: /^c[0-9a-f]{2,128}$/ };
/** Longer ones are not ours. */
const MAX_LENGTH = 256;

/** `t<version>-<hash>`: the hash tells a bundle from one of the same version in a store that was lost. */
export function trustVersion(version: number, pem: string): string {
  return `${MARK.trust}${version}-${hash('sha256', pem).slice(0, 16)}`;
}

/** The number in what `trustVersion` made. */
export function bundleVersionOf(text: string): number {
  return Number(/^t([0-9]+)-/.exec(text)?.[1] ?? 0);
}

/** `c<serial number>`. */
export function identityVersion(serialNumber: string): string {
  return `${MARK.identity}${serialNumber}`;
}

/** The `version_info` of a state-of-the-world stream names all that its proxy holds: it is the only thing that a proxy says when it comes back. */
export function joinVersions(held: PerKind<string>): string {
  return KINDS.flatMap((kind) => held[kind] ?? []).join('+');
}

/** What `joinVersions` wrote. Text that is not ours holds nothing. */
export function splitVersions(text: string): PerKind<string> {
  if (text.length > MAX_LENGTH) return {};
  const found: { [K in Kind]?: string } = {};
  for (const part of text.split('+')) {
    for (const kind of KINDS) if (SHAPE[kind].test(part)) found[kind] = part;
  }
  return found;
}
