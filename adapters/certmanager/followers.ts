import type { CertificateRequest } from './replies.ts';

export interface Follow {
  /** The object exists now: a list that lacks it says that it was deleted. */
  created(): void;
  end(): void;
}

/** Who waits for which object, and what they were told last. */
export interface Followers {
  readonly size: number;
  /** Tells every change of an object; undefined: it is gone. */
  follow(name: string, tell: (request: CertificateRequest | undefined) => void): Follow;
  /** True when it was news. */
  tell(request: CertificateRequest): boolean;
  tellGone(name: string): void;
  /** To be called before a list is asked for; what comes back takes the list, and is true when there was news in it. */
  expectList(): (items: readonly CertificateRequest[]) => boolean;
}

interface Entry {
  readonly tell: (request: CertificateRequest | undefined) => void;
  isCreated: boolean;
  /** resourceVersion that was told last. */
  version: string;
}

/** @param onStranger An object of ours that nobody follows: its creation was given up, and happened nevertheless. */
export function createFollowers(onStranger: (metadata: CertificateRequest['metadata']) => void): Followers {
  const entries = new Map<string, Entry>();

  function tell(request: CertificateRequest): boolean {
    const { name, resourceVersion, deletionTimestamp } = request.metadata;
    const entry = entries.get(name);
    if (entry === undefined) {
      if (!deletionTimestamp) onStranger(request.metadata);
      return false;
    }
    entry.isCreated = true;
    if (resourceVersion && entry.version === resourceVersion) return false;
    entry.version = resourceVersion ?? '';
    entry.tell(request);
    return true;
  }

  return {
    get size() {
      return entries.size;
    },
    follow(name, tellChange) {
      const entry: Entry = { tell: tellChange, isCreated: false, version: '' };
      entries.set(name, entry);
      return {
        created() {
          entry.isCreated = true;
        },
        end() {
          if (entries.get(name) === entry) entries.delete(name);
        },
      };
    },
    tell,
    tellGone: (name) => entries.get(name)?.tell(undefined),
    expectList() {
      // What is created while the list is on its way need not be in it.
      const created = [...entries].filter(([, { isCreated }]) => isCreated);
      return (items) => {
        const present = new Set(items.map(({ metadata }) => metadata.name));
        let isNews = false;
        for (const item of items) isNews = tell(item) || isNews;
        for (const [name, entry] of created) {
          if (present.has(name) || entries.get(name) !== entry) continue;
          isNews = true;
          entry.tell(undefined);
        }
        return isNews;
      };
    },
  };
}
