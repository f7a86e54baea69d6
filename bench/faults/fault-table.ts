import { formatTable } from '../../src/cli/table.ts';
import type { FaultResult } from '../../test/faults/run-fault.ts';

const HEADERS = [
  'BACKEND',
  'SERVER',
  'FAULT',
  'CALLERS SAW',
  'ASKED',
  'SERVED',
  'ISSUING/CERT',
  'CALLS/CERT',
  'RECOVERY MS',
  'LEAKED',
  'RESULT',
];

/** One line a fault; below the table why a line is `missed`. */
export function formatFaults(results: readonly FaultResult[]): string {
  const complaints = results.flatMap(({ backend, fault, complaints }) =>
    complaints.map((complaint) => `missed: ${backend}, ${fault}: ${complaint}\n`),
  );
  return `${formatTable(HEADERS, results.map(resultRow))}${complaints.join('')}`;
}

export const isMet = ({ complaints }: FaultResult): boolean => complaints.length === 0;

function resultRow(result: FaultResult): string[] {
  const codes = [...new Set(result.saw.map(({ outcome }) => outcome))];
  return [
    result.backend,
    result.server,
    result.fault,
    codes.join(', '),
    String(result.asked),
    String(result.served),
    digits(result.issuingCallsPerCertificate),
    digits(result.callsPerCertificate),
    result.recoveryMs === undefined ? 'never' : result.recoveryMs.toFixed(0),
    result.leaked.length === 0 ? 'nothing' : String(result.leaked.length),
    isMet(result) ? 'met' : 'missed',
  ];
}

const digits = (value: number) => (Number.isInteger(value) ? String(value) : value.toFixed(1));
