import type { CertificateRecord } from '../../store/store.ts';
import { dueReason, type Wanted } from '../renewal.ts';

/**
 * How urgent a certificate is, the most urgent first. `first`: the proxy holds nothing usable (no certificate, an expired one, one for another key, or
 * nobody knows). `expiring`: under a tenth of its life, or under an hour and under half of its life, is left. `changed`: its identity, backend or root
 * changed. `renewal`: early, or because somebody wants it.
 */
export const PRIORITIES = ['first', 'expiring', 'changed', 'renewal'] as const;
export type Priority = (typeof PRIORITIES)[number];

const HOUR_MS = 3_600_000;

/** How urgent a new certificate is for somebody who holds that of `record`. `keyHash` undefined: who asks needs a key, too. */
export function priorityOf(record: CertificateRecord | undefined, wanted: Wanted): Priority {
  if (record === undefined || wanted.keyHash === undefined || record.keyHash !== wanted.keyHash) return 'first';
  const lifeMs = record.notAfter.getTime() - record.notBefore.getTime();
  const leftMs = record.notAfter.getTime() - wanted.now.getTime();
  if (leftMs <= 0) return 'first';
  if (leftMs < lifeMs / 10 || (leftMs < HOUR_MS && leftMs < lifeMs / 2)) return 'expiring';
  const due = dueReason(record, wanted);
  return due === undefined || due === 'lifetime' ? 'renewal' : 'changed';
}
