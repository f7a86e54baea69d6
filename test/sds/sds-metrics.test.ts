import { afterEach, expect, it } from 'vitest';
import { builtinMesh, startTestApp, type TestApp } from '../support/test-app.ts';
import { createSdsClient, node, type SdsClient } from './sds-client.ts';

let app: TestApp | undefined;
let client: SdsClient | undefined;
afterEach(async () => {
  client?.close();
  await app?.close();
});

it('the metrics of mesh-ca tell who is connected over SDS, what was sent, and what was refused', async () => {
  app = await startTestApp({ sdsPort: '0', sdsAuth: 'none' });
  await app.ok('PUT', '/meshes/default', builtinMesh('default'));
  client = createSdsClient(app.app.addresses.sds ?? '');
  const web = node('default.web-1', { 'kuma.io/service': 'web' });
  const stream = client.open({ mode: 'sotw', node: web, names: ['mesh_ca', 'identity_cert'], ack: false });
  stream.nack(await stream.next(), 'no');
  stream.ack(await stream.next());

  let lines: string[] = [];
  for (let tries = 0; !lines.includes('mesh_ca_sds_answers_total{kind="identity",result="ack"} 1'); tries += 1) {
    if (tries > 200) throw new Error(`not counted: ${lines.join('; ')}`);
    const { text } = await app.ok('GET', '/metrics');
    lines = text.split('\n').filter((line) => /^mesh_ca_(sds|trust)/.test(line));
  }
  expect(lines.sort()).toEqual([
    'mesh_ca_sds_answers_total{kind="identity",result="ack"} 1',
    'mesh_ca_sds_answers_total{kind="identity",result="nack"} 0',
    'mesh_ca_sds_answers_total{kind="trust",result="ack"} 0',
    'mesh_ca_sds_answers_total{kind="trust",result="nack"} 1',
    'mesh_ca_sds_dataplanes 1',
    'mesh_ca_sds_responses_total{kind="identity"} 1',
    'mesh_ca_sds_responses_total{kind="trust"} 1',
    'mesh_ca_sds_streams 1',
    'mesh_ca_trust_bundle_version{mesh="default"} 1',
  ]);
});
