import { expect, it } from 'vitest';
import { formatFaults } from '../../bench/faults/fault-table.ts';
import type { FaultResult } from './run-fault.ts';

const RESULT: FaultResult = {
  ...{ backend: 'vault', server: 'OpenBao', fault: 'down', asked: 24, served: 0 },
  saw: [
    { outcome: 'ERR_ISSUER_UNAVAILABLE', message: 'refuses', count: 20 },
    { outcome: 'ERR_ISSUER_UNAVAILABLE', message: 'is late', count: 4 },
  ],
  ...{ issuingCallsPerCertificate: 0, callsPerCertificate: 1.25, quietCalls: 0, recoveryMs: 10.4 },
  ...{ leaked: [], complaints: [] },
};

it('the table of faults tells each outcome once, and below it why a line is missed', () => {
  const missed = {
    ...RESULT,
    fault: 'slow',
    recoveryMs: undefined,
    leaked: ['1 Timeout'],
    complaints: ['no recovery'],
  };
  const lines = formatFaults([RESULT, missed]).split('\n');
  const cells = lines.map((line) => line.split(/ {2,}/));
  expect(cells.slice(1, 3)).toEqual([
    ['vault', 'OpenBao', 'down', 'ERR_ISSUER_UNAVAILABLE', '24', '0', '0', '1.3', '10', 'nothing', 'met'],
    ['vault', 'OpenBao', 'slow', 'ERR_ISSUER_UNAVAILABLE', '24', '0', '0', '1.3', 'never', '1', 'missed'],
  ]);
  expect(lines[3]).toBe('missed: vault, slow: no recovery');
});
