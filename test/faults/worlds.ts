import { startAcmPcaWorld } from './acmpca-world.ts';
import { startCertManagerWorld } from './certmanager-world.ts';
import type { BackendType, FaultWorld } from './fault-world.ts';
import { startVaultFakeWorld } from './vault-fake-world.ts';
import { startVaultWorld } from './vault-world.ts';

/** Where the faults of each backend are shown: the real server first, where there is one, then a fake for what no real one does. */
export const WORLDS: Readonly<Record<BackendType, readonly (() => Promise<FaultWorld>)[]>> = {
  vault: [startVaultWorld, startVaultFakeWorld],
  acmpca: [startAcmPcaWorld],
  certmanager: [startCertManagerWorld],
};
