import { describe, expect, it } from 'vitest';
import type { Asked } from './ask.ts';
import type { FaultRow } from './faults.ts';
import { complaintsOf, type Measured, numbersOf, type Observed } from './judge.ts';

const ROW: FaultRow = { name: 'down', mode: { kind: 'refuse' }, lastsMs: 100, sees: ['ERR_ISSUER_UNAVAILABLE'] };
const DETAIL = 'issuer(vault external-1): vault refuses connections';

function refused(changes: Readonly<Record<string, unknown>> = {}, more: Partial<Asked> = {}): Asked {
  const json = { detail: DETAIL, fix: 'start it', retry: true, retryAfterSeconds: 5, ...changes };
  return {
    service: 'web',
    seen: 'ERR_ISSUER_UNAVAILABLE',
    message: DETAIL,
    answer: { status: 503, headers: new Headers(), text: JSON.stringify(json), json: JSON.parse(JSON.stringify(json)) },
    ...more,
  };
}

const at = (all: number, connects = 0, issuing = 0, web = 0): Measured => ({
  calls: { issuing, all, byService: new Map([['web', web]]) },
  connects,
});

const GOOD: Observed = {
  asked: 10,
  during: [refused()],
  everything: [refused()],
  before: at(100, 7, 50, 1),
  quietFrom: at(120, 20, 60, 2),
  quietTo: at(120, 20, 60, 2),
  atEnd: at(130, 30, 65, 4),
  recovery: { ms: 1_999, answers: [] },
};

/** What is observed otherwise, and what is complained about it. */
const WRONG: readonly {
  readonly name: string;
  readonly observed?: Partial<Observed>;
  readonly row?: Partial<FaultRow>;
  readonly complaint: RegExp;
}[] = [
  {
    name: 'callers saw what the table does not allow',
    row: { sees: ['served'] },
    complaint: /^a caller saw ERR_ISSUER_UNAVAILABLE: issuer\(vault external-1\)/,
  },
  {
    name: 'an error lacks the words that help',
    row: { says: /clock/ },
    complaint: /does not say \/clock\/, fix "start it"/,
  },
  { name: 'an error has no fix', observed: { everything: [refused({ fix: undefined })] }, complaint: /without fix/ },
  {
    name: 'an error that passes is not to be retried',
    observed: { everything: [refused({ retry: false })] },
    complaint: /says retry false/,
  },
  {
    name: 'an error does not say when to ask again',
    observed: { everything: [refused({ retryAfterSeconds: undefined })] },
    complaint: /does not say when/,
  },
  {
    name: 'an error does not name its backend',
    observed: { everything: [refused({}, { message: 'vault refuses connections' })] },
    complaint: /does not name the backend/,
  },
  {
    name: 'four calls asked for one certificate, the last after the fault',
    observed: { atEnd: at(130, 30, 65, 5) },
    complaint: /^4 issuing calls for one certificate$/,
  },
  {
    name: 'more than three calls a certificate asked for some',
    observed: { quietTo: at(120, 20, 81, 2) },
    complaint: /^3.1 issuing calls for one certificate$/,
  },
  {
    name: 'it was hammered',
    observed: { quietFrom: at(143), quietTo: at(143) },
    complaint: /^43 calls for 10 certificates$/,
  },
  {
    name: 'it was hammered by connections that are refused',
    observed: { quietFrom: at(100, 50), quietTo: at(100, 50) },
    complaint: /^43 calls for 10 certificates$/,
  },
  {
    name: 'it was called while nobody asked',
    observed: { quietFrom: at(105, 20), quietTo: at(130, 20) },
    complaint: /^25 calls while nobody asked$/,
  },
  {
    name: 'recovery took long',
    observed: { recovery: { ms: 2_000, answers: [refused()] } },
    complaint: /^recovery took 2000 ms, last seen: ERR_ISSUER_UNAVAILABLE: issuer/,
  },
  {
    name: 'it did not recover',
    observed: { recovery: { ms: undefined, answers: [] } },
    complaint: /^recovery took Infinity ms, last seen: nothing$/,
  },
];

const complaintsAbout = (observed: Observed, row: FaultRow) =>
  complaintsOf(row, 'vault', observed, numbersOf(observed));

describe('the judge of faults', () => {
  it('has nothing to say when everything is just within its bounds', () => {
    expect(complaintsAbout(GOOD, ROW)).toEqual([]);
    const most = { ...GOOD, quietFrom: at(142), quietTo: at(142) };
    expect(complaintsAbout(most, ROW)).toEqual([]);
  });

  it.each(WRONG)('says so, and nothing else, when $name', ({ observed, row, complaint }) => {
    const complaints = complaintsAbout({ ...GOOD, ...observed }, { ...ROW, ...row });
    expect(complaints).toEqual([expect.stringMatching(complaint)]);
  });
});
