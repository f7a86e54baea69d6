/**
 * How urgent a certificate is, the most urgent first. `first`: the proxy holds nothing usable. `expiring`: under a tenth of its certificate's life (or
 * under an hour, and under half of it) is left. `changed`: its identity, backend or root changed. `renewal`: early, or because somebody wants it.
 */
export const PRIORITIES = ['first', 'expiring', 'changed', 'renewal'] as const;
export type Priority = (typeof PRIORITIES)[number];
