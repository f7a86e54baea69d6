import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { redactText } from '../runtime/redact.ts';
import type { Holders } from '../trust/holders.ts';
import type { HeldCertificate } from './held-certificate.ts';
import type { MeshTrust } from './mesh-trust.ts';
import type { ProxyName } from './proxy-name.ts';
import type { SdsStream } from './sds-stream.ts';
import type { Taken } from './subscriptions.ts';
import { bundleVersionOf } from './versions.ts';

export interface StatementsOptions {
  readonly holders: Pick<Holders, 'accepted' | 'refused' | 'sent' | 'uses'>;
  readonly trust: MeshTrust;
  readonly log: Log;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

/** A proxy that subscribes anew may refuse the same thing thousands of times a second. */
const LOG_REFUSALS_EVERY_MS = 1_000;

/** What the streams of one data plane say together about what it trusts and uses; each thing is told to Holders once. */
export class Statements {
  readonly #who: ProxyName;
  readonly #options: StatementsOptions;
  #acceptedVersion = 0;
  #usedSerial: string | undefined;
  #refusalLoggedAtMs = Number.NEGATIVE_INFINITY;

  constructor(who: ProxyName, options: StatementsOptions) {
    this.#who = who;
    this.#options = options;
  }

  /** What was told may have been forgotten. */
  repeat(): void {
    this.#acceptedVersion = 0;
    this.#usedSerial = undefined;
  }

  sent({ serialNumber }: HeldCertificate): void {
    this.#usedSerial = undefined;
    this.#options.holders.sent(this.#who.mesh, this.#who.dataplane, serialNumber);
  }

  /** The oldest version that any of its streams holds is what the data plane trusts. */
  trusts(streams: Iterable<SdsStream>): void {
    const { trust, holders, log } = this.#options;
    const { mesh, dataplane } = this.#who;
    let least = Number.POSITIVE_INFINITY;
    for (const { subscriptions } of streams) {
      if (!subscriptions.wants('trust')) continue;
      const held = subscriptions.held('trust');
      // What it says it holds from before counts when it is what we have, to the byte.
      if (held === undefined || (held.claimed && held.version !== trust.current?.version)) return;
      least = Math.min(least, bundleVersionOf(held.version));
    }
    if (least === Number.POSITIVE_INFINITY || least <= this.#acceptedVersion) return;
    this.#acceptedVersion = least;
    holders.accepted(mesh, dataplane, least).catch((error: unknown) => {
      this.#acceptedVersion = 0;
      log.warn({ mesh, dataplane, err: error }, 'SDS: what a data plane trusts was not stored');
    });
  }

  /** It uses a certificate when all of its streams hold it. */
  uses(streams: readonly SdsStream[], held: HeldCertificate | undefined): void {
    if (held === undefined || streams.length === 0 || this.#usedSerial === held.serialNumber) return;
    if (!streams.every(({ subscriptions }) => subscriptions.held('identity')?.version === held.version)) return;
    this.#usedSerial = held.serialNumber;
    this.#options.holders.uses(this.#who.mesh, this.#who.dataplane, held.serialNumber);
  }

  refuses({ kind, version, message: said }: NonNullable<Taken['refused']>): void {
    const { holders, log, clock } = this.#options;
    // A proxy may quote what it was sent.
    const message = redactText(said);
    const refusal =
      kind === 'trust'
        ? ({ what: 'trust bundle', version: String(bundleVersionOf(version)), message } as const)
        : ({ what: 'certificate', version: version.slice(1), message } as const);
    holders.refused(this.#who.mesh, this.#who.dataplane, refusal);
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#refusalLoggedAtMs < LOG_REFUSALS_EVERY_MS) return;
    this.#refusalLoggedAtMs = nowMs;
    const { what, version: refused } = refusal;
    log.warn({ ...this.#who, what, version: refused, reason: message }, 'SDS: refused by a proxy');
  }
}
