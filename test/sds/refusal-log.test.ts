import { describe, expect, it } from 'vitest';
import { UnauthenticatedError } from '../../src/issuer/errors.ts';
import { createRefusalLog } from '../../src/sds/refusal-log.ts';
import { createFakeClock, TEST_START } from '../conformance/issuer-deps.ts';
import { createListLog, type LogLine } from '../support/list-log.ts';

const WEB = { mesh: 'default', dataplane: 'web-1' };
const EXPIRED = new UnauthenticatedError('the data plane token has expired');

function start() {
  const lines: LogLine[] = [];
  const clock = createFakeClock(TEST_START);
  return { lines, clock, refused: createRefusalLog({ log: createListLog(lines), clock }) };
}

describe('the log of proxies that are refused', () => {
  it('tells who came and why, once in five minutes', () => {
    const { lines, clock, refused } = start();
    for (let i = 0; i < 3; i += 1) refused(WEB, EXPIRED);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: 'warn', message: 'SDS: a proxy was refused' });
    expect(JSON.stringify(lines[0])).toContain('web-1');
    clock.advance(300_000);
    refused(WEB, EXPIRED);
    expect(lines).toHaveLength(2);
  });

  it('tells another reason, and somebody else, at once', () => {
    const { lines, refused } = start();
    refused(WEB, EXPIRED);
    refused(WEB, new UnauthenticatedError('no data plane token was sent'));
    refused({ ...WEB, dataplane: 'web-2' }, EXPIRED);
    refused(undefined, EXPIRED);
    expect(lines).toHaveLength(4);
  });

  it('is not filled by somebody who says another name each time', () => {
    const { lines, refused } = start();
    for (let i = 0; i < 1000; i += 1) refused({ ...WEB, dataplane: `web-${i}` }, EXPIRED);
    expect(lines).toHaveLength(50);
  });
});
