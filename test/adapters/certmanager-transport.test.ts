import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { createTransport } from '../../adapters/certmanager/transport.ts';
import { makeServerCertificate } from '../../testcontainers/server-certificate.ts';
import { pollUntil } from '../../testcontainers/server-process.ts';
import { live } from '../conformance/issuer.ts';
import { makeTempDir } from '../support/temp-dir.ts';

/** More than the transport opens at once: the others wait for a place. */
const CALLS = 40;
const ENDED = 32;

it('a closed transport leaves no connection, also when the first were ended before they stood', async () => {
  const folder = await makeTempDir();
  onTestFinished(() => folder.remove());
  const files = await makeServerCertificate(folder.path, ['IP:127.0.0.1']);
  const [cert, key, ca] = await Promise.all(
    [files.certFile, files.keyFile, files.caCertFile].map((file) => readFile(file)),
  );
  const server = https.createServer({ cert, key }, (_request, response) => response.end('{}'));
  // As an API server: it is the client that ends connections at rest.
  server.keepAliveTimeout = 0;
  let accepted = 0;
  server.on('connection', (socket) => {
    accepted += 1;
    if (accepted <= ENDED) socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  const transport = createTransport({
    server: `https://127.0.0.1:${port}`,
    headers: {},
    tls: { ca },
    proxyUrl: '',
    connectionHash: '',
  });
  const call = () => transport.send({ method: 'GET', path: '/', headers: {}, signal: live().signal });
  const outcomes = await Promise.allSettled(Array.from({ length: CALLS }, call));
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(CALLS - ENDED);
  await transport.close();
  const open = () => new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));
  // Much less than what an idle connection is kept for.
  await pollUntil(3000, async () => (await open()) === 0);
});
