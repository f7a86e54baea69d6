import { describeFaults } from './fault-suite.ts';
import { startVaultFakeWorld } from './vault-fake-world.ts';
import { startVaultWorld } from './vault-world.ts';

describeFaults('vault', [startVaultWorld, startVaultFakeWorld]);
