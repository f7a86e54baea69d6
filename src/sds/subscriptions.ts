import type { XdsRequest } from './read-request.ts';
import { joinVersions, KINDS, type Kind, splitVersions } from './versions.ts';

/** The protocols of a stream: state of the world, or incremental. */
export type Mode = 'sotw' | 'delta';

/** What a proxy would not take is tried once more after this time, then after four times as long, and so on. */
const RETRY_REFUSED_MS = 60_000;
const LONGEST_RETRY_MS = 3_600_000;

interface Slot {
  /** What the proxy holds: acknowledged on this stream, or claimed at its begin. */
  held: string | undefined;
  readonly claimed: boolean;
  /** Subscribed anew: it is answered whatever it holds. */
  owed: boolean;
  pending: { readonly version: string; readonly nonce: string; readonly info: string } | undefined;
  refused: { readonly version: string; readonly times: number; readonly retryAtMs: number } | undefined;
}

/** What a request meant. */
export interface Taken {
  /** It answers something that is no longer the last word, and says nothing. */
  readonly stale: boolean;
  readonly accepted: Kind | undefined;
  readonly refused: { readonly kind: Kind; readonly version: string; readonly message: string } | undefined;
  /** Names that nobody serves. */
  readonly unknown: readonly string[];
}

export interface Sending {
  readonly kind: Kind;
  readonly version: string;
  readonly nonce: string;
  /** For `version_info`: all that the proxy holds once it has taken this. */
  readonly info: string;
}

/**
 * What one stream subscribes, holds, was sent and has refused: the rules of xDS without any I/O.
 *
 * One secret a response, and another one only after the answer to it: so an answer is about one secret, and `version_info` never names what was
 * refused. A newer version of the same secret does not wait.
 */
export class Subscriptions {
  readonly #mode: Mode;
  readonly #names: Readonly<Record<Kind, string>>;
  readonly #slots: { [K in Kind]?: Slot } = {};
  #isFirst = true;
  #sent = 0;

  constructor(mode: Mode, names: Readonly<Record<Kind, string>>) {
    this.#mode = mode;
    this.#names = names;
  }

  wants(kind: Kind): boolean {
    return this.#slots[kind] !== undefined;
  }

  /** What the proxy says that it holds. */
  held(kind: Kind): { readonly version: string; readonly claimed: boolean } | undefined {
    const slot = this.#slots[kind];
    return slot?.held === undefined ? undefined : { version: slot.held, claimed: slot.claimed };
  }

  take(request: XdsRequest, nowMs: number): Taken {
    const isFirst = this.#isFirst;
    this.#isFirst = false;
    const last = this.#sent === 0 ? '' : String(this.#sent);
    if (this.#mode === 'sotw' && !isFirst && request.nonce !== last) {
      return { stale: true, accepted: undefined, refused: undefined, unknown: [] };
    }
    const answer = isFirst ? {} : this.#takeAnswer(request, nowMs);
    const unknown = this.#mode === 'sotw' ? this.#takeNames(request, isFirst) : this.#takeChanges(request, isFirst);
    return { stale: false, accepted: undefined, refused: undefined, ...answer, unknown };
  }

  /**
   * The next response, if one is to be sent now.
   * @param newest the version of a kind that everybody should hold; undefined: there is none. Asked for subscribed kinds only
   * @param canSend false: only somebody who holds it already is served (its key is not known here)
   */
  next(
    newest: (kind: Kind) => string | undefined,
    canSend: (kind: Kind) => boolean,
    nowMs: number,
  ): Sending | undefined {
    const pending = this.#pending();
    for (const kind of KINDS) {
      if (!this.wants(kind) || (pending !== undefined && pending !== kind)) continue;
      const version = newest(kind);
      if (version === undefined || !this.#isDue(kind, version, nowMs) || !canSend(kind)) continue;
      return this.#send(kind, version);
    }
    return undefined;
  }

  /** The proxy waits for a secret of this kind and holds none that is `standing`. */
  isOwed(kind: Kind, standing: string | undefined): boolean {
    const slot = this.#slots[kind];
    if (slot === undefined) return false;
    return slot.owed || (slot.pending?.version ?? slot.held) !== standing;
  }

  /** When something that was refused may be sent once more; undefined: nothing is. */
  retryAtMs(): number | undefined {
    const times = KINDS.flatMap((kind) => {
      const slot = this.#slots[kind];
      return slot?.pending === undefined ? (slot?.refused?.retryAtMs ?? []) : [];
    });
    return times.length === 0 ? undefined : Math.min(...times);
  }

  #isDue(kind: Kind, version: string, nowMs: number): boolean {
    const slot = this.#slots[kind];
    if (slot === undefined || slot.pending?.version === version) return false;
    if (slot.refused?.version === version) return slot.pending === undefined && nowMs >= slot.refused.retryAtMs;
    return slot.owed || (slot.pending?.version ?? slot.held) !== version;
  }

  #send(kind: Kind, version: string): Sending {
    this.#sent += 1;
    const nonce = String(this.#sent);
    const after: { [K in Kind]?: string } = {};
    for (const other of KINDS) {
      const held = other === kind ? version : this.#slots[other]?.held;
      if (held !== undefined) after[other] = held;
    }
    const info = joinVersions(after);
    const slot = this.#slots[kind];
    if (slot !== undefined) {
      slot.pending = { version, nonce, info };
      slot.owed = false;
    }
    return { kind, version, nonce, info };
  }

  #takeAnswer({ nonce, refusal, holds }: XdsRequest, nowMs: number): Partial<Taken> {
    const kind = this.#pending();
    const slot = kind && this.#slots[kind];
    if (kind === undefined || slot?.pending === undefined || nonce === '' || slot.pending.nonce !== nonce) return {};
    const { version, info } = slot.pending;
    if (refusal !== undefined) {
      const times = slot.refused?.version === version ? slot.refused.times + 1 : 1;
      const waitMs = Math.min(RETRY_REFUSED_MS * 4 ** (times - 1), LONGEST_RETRY_MS);
      slot.pending = undefined;
      slot.refused = { version, times, retryAtMs: nowMs + waitMs };
      return { refused: { kind, version, message: refusal } };
    }
    // A change of names may repeat the nonce before the response was looked at; then it still names what was held before.
    if (this.#mode === 'sotw' && holds !== info) return {};
    this.#slots[kind] = { held: version, claimed: false, owed: slot.owed, pending: undefined, refused: undefined };
    return { accepted: kind };
  }

  #takeNames({ names, holds }: XdsRequest, isFirst: boolean): string[] {
    const claims = isFirst ? splitVersions(holds) : {};
    for (const kind of KINDS) {
      if (!names.includes(this.#names[kind])) delete this.#slots[kind];
      else this.#slots[kind] ??= subscribed(claims[kind]);
    }
    return this.#unknown(names);
  }

  #takeChanges({ subscribe, unsubscribe, initial }: XdsRequest, isFirst: boolean): string[] {
    for (const kind of KINDS) {
      const name = this.#names[kind];
      if (unsubscribe.includes(name)) delete this.#slots[kind];
      if (!subscribe.includes(name)) continue;
      // The proxy may have dropped what it had, so it is answered; only at the begin of a stream does it say what it holds.
      this.#slots[kind] = subscribed(isFirst ? splitVersions(initial.get(name) ?? '')[kind] : undefined);
    }
    return this.#unknown(subscribe);
  }

  #unknown(names: readonly string[]): string[] {
    return names.filter((name) => KINDS.every((kind) => this.#names[kind] !== name));
  }

  #pending(): Kind | undefined {
    return KINDS.find((kind) => this.#slots[kind]?.pending !== undefined);
  }
}

function subscribed(claim: string | undefined): Slot {
  return { held: claim, claimed: true, owed: claim === undefined, pending: undefined, refused: undefined };
}
