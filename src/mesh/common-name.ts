import type { Tags } from '../issuer/issuer.ts';

/** Whom a common name is rendered for. */
export interface CommonNameSubject {
  readonly mesh: string;
  readonly dataplane: string;
  readonly tags: Tags;
}

export interface CommonNameTemplate {
  readonly source: string;
  /** @throws RequestInvalidError naming the data plane and the template */
  render(subject: CommonNameSubject): string;
}

export function parseCommonName(source: string): CommonNameTemplate {
  return { source, render: () => '' };
}
