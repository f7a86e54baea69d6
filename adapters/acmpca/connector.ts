import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { remember } from '../shared/remembered.ts';
import { type AcmPcaClient, createClient } from './client.ts';
import type { AcmPcaConf } from './config.ts';
import { loadCredentials } from './credentials.ts';
import type { Endpoint } from './endpoint.ts';
import type { Failure } from './failure.ts';
import type { Template } from './template.ts';
import type { Transport } from './transport.ts';

/**
 * Loads the credentials with the first use and makes the client of them. When AWS refuses them they are loaded again for the next call, for files
 * that change: the first time at once, then ever less often.
 */
export interface Connector {
  /** @throws ConfigError when the credentials of the conf cannot be loaded or used */
  get(signal: AbortSignal): Promise<AcmPcaClient>;
  close(): void;
}

const LOAD_TIMEOUT_MS = 10_000;
const FIRST_PAUSE_MS = 500;
/** Good credentials are found again within two seconds; a file, or STS, that is asked once in two seconds is not hammered. */
const LONGEST_PAUSE_MS = 1500;
/** AWS takes signatures that are five minutes off; certificates of a clock that far off are of little use. */
const TOLERATED_SKEW_MS = 60_000;

export function createConnector(
  conf: AcmPcaConf,
  use: { readonly template: Template; readonly endpoint: Endpoint; readonly transport: Transport },
  deps: IssuerDeps,
  closing: AbortSignal,
): Connector {
  const { clock } = deps;
  let pauseMs = FIRST_PAUSE_MS;
  let notBeforeMs = Number.NEGATIVE_INFINITY;
  let isSkewTold = false;

  function onEnd(failure: Failure | undefined): void {
    if (failure === undefined) pauseMs = FIRST_PAUSE_MS;
    if (failure?.kind === 'credentials' || failure?.kind === 'no-credentials') reloadCredentials();
    tellSkew(use.transport.clockSkewMs ?? 0);
  }

  function reloadCredentials(): void {
    const nowMs = clock.monotonicMs();
    if (nowMs < notBeforeMs) return;
    notBeforeMs = nowMs + pauseMs;
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    client.forget();
  }

  function tellSkew(skewMs: number): void {
    const isSkewed = Math.abs(skewMs) > TOLERATED_SKEW_MS;
    if (isSkewed && !isSkewTold) {
      deps.log.warn(
        { skewSeconds: skewMs / 1000 },
        'the clock of AWS and ours are apart: signatures are dated by theirs, certificates by ours',
      );
    }
    isSkewTold = isSkewed;
  }

  const client = remember(
    async (signal) =>
      createClient({
        ...use,
        ca: conf.arn,
        clock,
        onEnd,
        credentials: await loadCredentials(conf, deps, signal),
        credentialsFrom: conf.awsCredentials === undefined ? 'default chain' : 'conf',
      }),
    { clock, closing, loadTimeoutMs: LOAD_TIMEOUT_MS, maxAgeMs: Number.POSITIVE_INFINITY },
  );

  return {
    async get(signal) {
      return client.peek() ?? client.get(signal);
    },
    close() {
      client.peek()?.close();
      use.transport.close();
    },
  };
}
