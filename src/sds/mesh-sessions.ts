import pLimit, { type LimitFunction } from 'p-limit';
import type { Backend } from '../backends/backend.ts';
import type { MeshBackends } from '../backends/backends.ts';
import { backOffMs } from '../issuance/guards/back-off.ts';
import { NotFoundError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { IssueRate } from './issue-rate.ts';
import { MeshTrust } from './mesh-trust.ts';
import type { ProxyName } from './proxy-name.ts';
import type { SdsStream } from './sds-stream.ts';
import { Session, type SessionEnvironment } from './session.ts';
import type { SessionsOptions } from './sessions.ts';

/** Data planes of a mesh that are worked on at a time: those whose proxy waits, and those that are only looked at. A mesh does not wait for another. */
const URGENT_AT_ONCE = 32;
const LOOKS_AT_ONCE = 16;
/** Sessions that a new bundle is sent to before others get their turn. */
const CHUNK = 200;
/** Between two readings of a bundle that cannot be had. */
const RETRY = { backoffBaseMs: 1_000, backoffMaxMs: 30_000 };
const READ_MS = 30_000;

/** The enabled backend (a new object when anything in it has changed), and when its mesh was made. */
interface Maker {
  readonly backend: Backend;
  readonly madeAtMs: number;
}

export interface MeshSessionsOptions extends SessionsOptions {
  readonly mesh: string;
  readonly rate: IssueRate;
  readonly closing: AbortSignal;
  readonly onDueChanged: (session: Session) => void;
}

/** The data planes of a mesh that are connected, and the bundle that they share. */
export class MeshSessions {
  readonly sessions = new Map<string, Session>();
  readonly #options: MeshSessionsOptions;
  readonly #trust: MeshTrust;
  readonly #urgent: LimitFunction = pLimit(URGENT_AT_ONCE);
  readonly #looks: LimitFunction = pLimit(LOOKS_AT_ONCE);
  /** Waiting for their turn. */
  readonly #waiting = new Set<Session>();
  readonly #hurrying = new Set<Session>();
  readonly #environment: SessionEnvironment;
  /** What certificates are made by, since all have looked at theirs. */
  #maker: Maker | undefined;
  #refreshing: { again: boolean } | undefined;
  #sending: { again: boolean } | undefined;
  /** Answers that came while a bundle is sent. */
  readonly #answers: (() => void)[] = [];

  constructor(options: MeshSessionsOptions) {
    this.#options = options;
    this.#trust = new MeshTrust(options.settings.sdsTrustName);
    this.#environment = {
      ...options,
      trust: this.#trust,
      readTrust: (call) => this.#readTrust(call),
      answerInTurn: (take) => this.#sending !== undefined && this.#answers.push(take) > 0,
      onTrust: () => void this.#fanOut(),
      onWork: (session, urgent) => this.#work(session, urgent),
    };
    // Who issues from now on has this one, or one that came after it, and a change to that is told.
    this.#maker = makerOf(options.backends.peek(options.mesh));
    void this.refresh();
  }

  join(who: ProxyName, stream: SdsStream): Session {
    const known = this.sessions.get(who.dataplane);
    const session = known ?? new Session(who, this.#environment);
    this.sessions.set(who.dataplane, session);
    session.join(stream);
    return session;
  }

  /** Each of them looks at its certificate, in turn. */
  look(): void {
    for (const session of this.sessions.values()) session.look();
  }

  /** The Mesh was changed: a new bundle goes first. */
  async changed(): Promise<void> {
    await this.refresh();
    await this.#lookWhereNeeded();
  }

  end(error: unknown): void {
    for (const session of [...this.sessions.values()]) session.end(error);
  }

  /** Reads the bundle; when it is news, sends it to all at once, and has those look at their certificates after that whom it concerns. Tries until it is known. */
  async refresh(): Promise<void> {
    if (this.#refreshing !== undefined) {
      this.#refreshing.again = true;
      return;
    }
    const refreshing = { again: true };
    this.#refreshing = refreshing;
    for (let failures = 0; refreshing.again && !this.#options.closing.aborted; ) {
      refreshing.again = false;
      try {
        await this.#read();
        failures = 0;
      } catch (error) {
        if (this.#options.closing.aborted || (failures > 0 && this.sessions.size === 0)) break;
        if (error instanceof NotFoundError) {
          this.end(error);
          break;
        }
        this.#options.log.warn({ mesh: this.#options.mesh, err: error }, 'SDS: trust bundle not read');
        failures += 1;
        await this.#pause(backOffMs(failures, RETRY, this.#options.random.uniform()));
        refreshing.again = true;
      }
    }
    this.#refreshing = undefined;
  }

  async #read(): Promise<void> {
    const { bundles, mesh, clock, closing } = this.#options;
    const deadline = clock.deadline(READ_MS, closing);
    try {
      const bundle = await bundles.get(mesh, deadline);
      if (this.#trust.note(bundle)) await this.#fanOut();
    } finally {
      deadline.clear();
    }
  }

  /** Some backends tell their roots only with a certificate, so a bundle that cannot be had is no reason to ask for none. */
  async #readTrust(options: CallOptions): Promise<void> {
    if (this.#trust.current !== undefined) return;
    const bundle = await this.#options.bundles.get(this.#options.mesh, options).catch((): undefined => undefined);
    if (bundle !== undefined && this.#trust.note(bundle)) void this.#fanOut();
  }

  async #fanOut(): Promise<void> {
    if (this.#sending !== undefined) {
      this.#sending.again = true;
      return;
    }
    const sending = { again: true };
    this.#sending = sending;
    while (sending.again) {
      sending.again = false;
      let sent = 0;
      for (const session of this.sessions.values()) {
        session.flushTrust();
        sent += 1;
        if (sent % CHUNK === 0) await this.#pause(1);
      }
    }
    this.#sending = undefined;
    await this.#takeAnswers();
    await this.#lookWhereNeeded();
  }

  async #takeAnswers(): Promise<void> {
    while (this.#answers.length > 0) {
      for (const take of this.#answers.splice(0, CHUNK)) take();
      if (this.#answers.length > 0) await this.#pause(1);
    }
  }

  /** While no root has gone, and the same backend is enabled, who has a certificate of it that stands keeps it without a look. */
  async #lookWhereNeeded(): Promise<void> {
    const maker = await this.#options.backends.get(this.#options.mesh).then(makerOf, (): undefined => undefined);
    const { backend, madeAtMs } = this.#maker ?? {};
    const isSame = maker !== undefined && maker.backend === backend && maker.madeAtMs === madeAtMs;
    this.#maker = maker;
    if (this.#trust.takeLoss() || !isSame) this.look();
    else for (const session of this.sessions.values()) session.lookUnlessSettled(maker.backend.name);
  }

  #work(session: Session, urgent: boolean): void {
    const [line, limit] = urgent ? [this.#hurrying, this.#urgent] : [this.#waiting, this.#looks];
    if (line.has(session) || (!urgent && this.#hurrying.has(session))) return;
    line.add(session);
    void limit(async () => {
      line.delete(session);
      if (session.streams.size > 0 && !this.#options.closing.aborted) await session.work();
    });
  }

  async #pause(ms: number): Promise<void> {
    await this.#options.clock.sleep(ms, this.#options.closing).catch(() => {});
  }
}

function makerOf(from: MeshBackends | undefined): Maker | undefined {
  return from?.enabled && { backend: from.enabled, madeAtMs: from.createdAt.getTime() };
}
