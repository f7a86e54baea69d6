import { afterAll, beforeAll } from 'vitest';
import { type StartedOpenBao, startOpenBao } from '../../../testcontainers/openbao.ts';
import { startTestApp, type TestApp } from '../../support/test-app.ts';

/** Known once the tests run. */
export interface Stage {
  server(): StartedOpenBao;
  app(): TestApp;
}

/** A real server and a mesh-ca for the tests of a file, stopped after them. To be called at its top. */
export function createStage(): Stage {
  let bao: StartedOpenBao;
  let app: TestApp;
  beforeAll(async () => {
    const print = (line: string) => void process.stdout.write(`${line}\n`);
    [bao, app] = await Promise.all([startOpenBao({ print }), startTestApp()]);
  });
  afterAll(async () => {
    await app?.close();
    await bao?.close();
  });
  return { server: () => bao, app: () => app };
}
