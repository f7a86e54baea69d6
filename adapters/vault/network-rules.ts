import { NETWORK_CODES } from '../shared/network-codes.ts';
import type { Rule } from './error-rules.ts';

/** By the code of Node's or OpenSSL's error; the first that matches. */
export const NETWORK_RULES: readonly (Rule & { readonly codes: RegExp })[] = [
  {
    codes: NETWORK_CODES.refused,
    kind: 'network',
    message: 'refuses connections',
    fix: (c) => `start Vault, or correct ${c.endpointField}`,
  },
  {
    codes: NETWORK_CODES.unresolved,
    kind: 'dns',
    message: 'has a host name that cannot be resolved',
    fix: (c) => `correct the host name in ${c.endpointField}, or the DNS of this machine`,
  },
  {
    codes: NETWORK_CODES.unreachable,
    kind: 'network',
    message: 'cannot be reached over the network',
    fix: (c) => `open the way (routes, firewalls, network policies) to ${c.endpointField}`,
  },
  {
    codes: NETWORK_CODES.outdated,
    kind: 'tls',
    message: 'shows a TLS certificate outside its validity',
    fix: () => "renew the certificate of Vault's listener, or correct the clock of this machine",
  },
  {
    codes: NETWORK_CODES.otherName,
    kind: 'tls-name',
    message: (_c, names) => `shows a TLS certificate for another name${names === '' ? '' : `: it is for ${names}`}`,
    fix: (c, names) =>
      `set fromCp.tls.serverName to ${/DNS:([^\s,*]+)/.exec(names)?.[1] ?? 'a name in that certificate'}, or correct ${c.endpointField}`,
  },
  {
    codes: /^INVALID_PURPOSE$/,
    kind: 'tls',
    message: 'shows a TLS certificate that is not made for servers (key usage)',
    fix: () => "give Vault's listener a certificate for servers: digitalSignature, serverAuth",
  },
  {
    codes: NETWORK_CODES.untrusted,
    kind: 'tls',
    message: 'shows a TLS certificate that is not trusted',
    fix: () => "set fromCp.tls.caCert to the CA certificate of Vault's listener",
  },
  {
    codes: NETWORK_CODES.noTls,
    kind: 'no-tls',
    message: 'does not speak TLS as expected',
    fix: (c) =>
      `write http:// in ${c.endpointField} if Vault's listener has tls_disable; else check that it names the port of a TLS listener, and the TLS versions that one allows`,
  },
  {
    codes: NETWORK_CODES.noHttp,
    kind: 'network',
    message: 'does not speak HTTP',
    fix: (c) => `check that ${c.endpointField} names Vault's API port, with https where its listener has TLS`,
  },
  {
    codes: NETWORK_CODES.tooLarge,
    kind: 'malformed',
    message: 'sent an answer larger than 1 MiB',
    fix: (c) => `check that ${c.endpointField} is a Vault server`,
  },
];

export const NETWORK_DEFAULT: Rule = {
  kind: 'network',
  message: 'broke the connection',
  fix: () => "look at Vault's log and at what stands between it and mesh-ca",
};
