import { setMaxListeners } from 'node:events';
import type { Backends } from '../backends/backends.ts';
import type { Certificates } from '../issuance/certificates.ts';
import type { LastSeen } from '../issuance/last-seen.ts';
import type { Rotations } from '../rotation/rotations.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Random } from '../runtime/random.ts';
import type { Settings } from '../runtime/settings.ts';
import type { Store } from '../store/store.ts';
import { isTokenSecret } from '../tokens/signing-keys.ts';
import type { Holders } from '../trust/holders.ts';
import type { TrustBundles } from '../trust/trust-bundles.ts';
import { Agenda } from './agenda.ts';
import { entitle } from './entitlement.ts';
import { IssueRate } from './issue-rate.ts';
import { MeshSessions } from './mesh-sessions.ts';
import type { ProxyName } from './proxy-name.ts';
import type { SdsStream } from './sds-stream.ts';
import type { Session } from './session.ts';

export interface SessionsOptions {
  readonly certificates: Pick<Certificates, 'issue'>;
  readonly backends: Pick<Backends, 'get' | 'peek'>;
  readonly bundles: Pick<TrustBundles, 'get' | 'onChange'>;
  readonly store: Pick<Store, 'getResource' | 'getCertificate' | 'onChange'>;
  readonly holders: Pick<Holders, 'accepted' | 'refused' | 'sent' | 'uses'>;
  readonly lastSeen: Pick<LastSeen, 'hold'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly settings: Pick<Settings, 'sdsIdentityName' | 'sdsTrustName' | 'certificateProfile'>;
  /** What certificates are made is also changed by a rotation: whose turn it is, and which generation of a CA signs. */
  readonly rotations: Pick<Rotations, 'onChange'>;
}

/** All data planes that are connected, by mesh; who is told what when something changes. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #meshes = new Map<string, MeshSessions>();
  readonly #agenda: Agenda<Session>;
  /** Survives the sessions. */
  readonly #rate: IssueRate;
  readonly #closing = new AbortController();
  readonly #unsubscribe: readonly (() => void)[];

  constructor(options: SessionsOptions) {
    this.#options = options;
    setMaxListeners(0, this.#closing.signal);
    this.#rate = new IssueRate(options.clock);
    this.#agenda = new Agenda(options.clock, (session) => session.due());
    this.#unsubscribe = [
      options.bundles.onChange((mesh) => void this.#meshes.get(mesh)?.refresh()),
      options.rotations.onChange((mesh) => this.#meshChanged(mesh)),
      options.store.onChange((change) => {
        if (change.kind === 'unknown') for (const mesh of this.#meshes.keys()) this.#meshChanged(mesh);
        else if (change.key.type === 'Mesh') void this.#meshes.get(change.key.name)?.changed();
        else if (change.key.type === 'Secret' && isTokenSecret(change.key.name))
          this.#meshes.get(change.key.mesh)?.look();
        else if (change.key.type === 'Dataplane')
          this.#meshes.get(change.key.mesh)?.sessions.get(change.key.name)?.dataplaneChanged();
      }),
    ];
  }

  /** Data planes with an open stream. */
  get size(): number {
    let size = 0;
    for (const { sessions } of this.#meshes.values()) size += sessions.size;
    return size;
  }

  streamsOf({ mesh, dataplane }: ProxyName): readonly SdsStream[] {
    return [...(this.#meshes.get(mesh)?.sessions.get(dataplane)?.streams.keys() ?? [])];
  }

  /**
   * Whether a stream may be one of its data plane, beside those that there are.
   * @throws AccessDeniedError, NotFoundError, RequestInvalidError, ConflictError
   */
  async admit(who: ProxyName, stream: SdsStream): Promise<void> {
    const { refused } = await entitle(who, [...this.streamsOf(who), stream], this.#options.store);
    const error = refused.get(stream);
    if (error !== undefined) throw error;
  }

  join(who: ProxyName, stream: SdsStream): Session {
    let mesh = this.#meshes.get(who.mesh);
    if (mesh === undefined) {
      mesh = new MeshSessions({
        ...this.#options,
        mesh: who.mesh,
        rate: this.#rate,
        closing: this.#closing.signal,
        onDueChanged: (session) => this.#agenda.put(session),
      });
      this.#meshes.set(who.mesh, mesh);
    }
    return mesh.join(who, stream);
  }

  /** Idempotent. */
  leave(session: Session, stream: SdsStream): void {
    session.leave(stream);
    if (session.streams.size > 0) return;
    this.#agenda.delete(session);
    const { mesh, dataplane } = session.who;
    const sessions = this.#meshes.get(mesh)?.sessions;
    if (sessions?.get(dataplane) === session) sessions.delete(dataplane);
    if (sessions?.size === 0) this.#meshes.delete(mesh);
  }

  /** Ends every stream with this error, and all that is under way. */
  close(error: unknown): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    for (const mesh of this.#meshes.values()) mesh.end(error);
    this.#closing.abort(error);
    this.#agenda.close();
  }

  /** Anything in it, or about it, may be different. */
  #meshChanged(name: string): void {
    const mesh = this.#meshes.get(name);
    void mesh?.refresh();
    mesh?.look();
  }
}
