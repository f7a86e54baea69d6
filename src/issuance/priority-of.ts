import type { CertificateRecord } from '../store/store.ts';
import type { Priority } from './queue/priority.ts';
import { dueReason, type Wanted } from './renewal.ts';

const HOUR_MS = 3_600_000;

type Known = CertificateRecord | undefined;

/** How urgent a new certificate is for a proxy of which this record is what we know. */
export function priorityOf(record: Known, wanted: Wanted): Priority {
  // Without a CSR, or with another key than before, it has started anew and holds nothing.
  if (record === undefined || record.keyHash !== wanted.keyHash || wanted.now >= record.notAfter) return 'first';
  const lifeMs = record.notAfter.getTime() - record.notBefore.getTime();
  const leftMs = record.notAfter.getTime() - wanted.now.getTime();
  if (leftMs < lifeMs / 10 || (leftMs < HOUR_MS && leftMs < lifeMs / 2)) return 'expiring';
  const due = dueReason(record, wanted);
  return due === undefined || due === 'lifetime' ? 'renewal' : 'changed';
}
