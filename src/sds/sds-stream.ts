import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Proof } from './authenticate.ts';
import { statusOf } from './grpc-status.ts';
import { type Any, type DeltaDiscoveryResponse, type DiscoveryResponse, SECRET_TYPE_URL } from './protocol.ts';
import type { NodeInfo } from './read-request.ts';
import type { Mode, Sending, Subscriptions } from './subscriptions.ts';
import type { Kind } from './versions.ts';

export type Call = ServerDuplexStream<unknown, DiscoveryResponse | DeltaDiscoveryResponse>;

/** What a stream may be sent now. */
export interface Offer {
  newest(kind: Kind): string | undefined;
  canSend(kind: Kind, stream: SdsStream): boolean;
  content(kind: Kind): Any;
  nowMs(): number;
}

export interface SdsStreamOptions {
  readonly call: Call;
  readonly mode: Mode;
  readonly names: Readonly<Record<Kind, string>>;
  readonly subscriptions: Subscriptions;
  readonly proof: Proof;
  readonly node: NodeInfo;
  readonly onSent: (kind: Kind) => void;
  /** It was told its end: nothing more is read from it. */
  readonly onEnd: () => void;
}

/** One stream of a proxy that has proven who it is. Holds no copy of what it sends. */
export class SdsStream {
  readonly subscriptions: Subscriptions;
  readonly proof: Proof;
  readonly node: NodeInfo;
  /** The tags that its proof covers (`tagsKey`): it may be sent a key for them and for no others. Undefined: none. */
  allowedFor: string | undefined;
  provenAtMs: number;
  readonly #options: SdsStreamOptions;
  /** A write that did not reach the connection yet; what comes meanwhile is sent after it, the newest only. */
  #writing = false;
  #ended = false;

  constructor(options: SdsStreamOptions, provenAtMs: number) {
    this.#options = options;
    this.subscriptions = options.subscriptions;
    this.proof = options.proof;
    this.node = options.node;
    this.provenAtMs = provenAtMs;
  }

  /** Sends what is newer than what the proxy has. */
  flush(offer: Offer): void {
    if (this.#writing || this.#ended) return;
    const sending = this.subscriptions.next(
      (kind) => offer.newest(kind),
      (kind) => offer.canSend(kind, this),
      offer.nowMs(),
    );
    if (sending === undefined) return;
    this.#writing = true;
    this.#options.call.write(this.#response(sending, offer.content(sending.kind)), () => {
      this.#writing = false;
      this.flush(offer);
    });
    this.#options.onSent(sending.kind);
  }

  /** Ends it with the status of an error. Idempotent. */
  end(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    endCall(this.#options.call, error);
    this.#options.onEnd();
  }

  #response(sending: Sending, resource: Any): DiscoveryResponse | DeltaDiscoveryResponse {
    const { mode, names } = this.#options;
    const { kind, version, nonce, info } = sending;
    if (mode === 'sotw') return { versionInfo: info, resources: [resource], typeUrl: SECRET_TYPE_URL, nonce };
    return { resources: [{ version, name: names[kind], resource }], typeUrl: SECRET_TYPE_URL, nonce };
  }
}

/** grpc-js sends the status of an `error` event after what was written before. */
export function endCall(call: Call, error: unknown): void {
  if (!call.cancelled) call.emit('error', statusOf(error));
}
