import { type Dataplane, dataplaneToJson, parseDataplane } from './dataplane.ts';
import { type Mesh, meshToJson, parseMesh } from './mesh.ts';
import { parseSecret, type Secret, secretToJson } from './secret.ts';
import type { JsonObject } from './violations.ts';

export { checkAgainstUrl, type UrlKey } from './check-against-url.ts';

export type Resource = Mesh | Secret | Dataplane;

/** All that is to be known about one kind of resource. Adding a kind is one row in `KINDS`. */
export interface Kind<R extends Resource = Resource> {
  readonly type: R['type'];
  /** Plural in paths: `/meshes/{mesh}/<path>/{name}`. */
  readonly path: string;
  readonly scope: 'Global' | 'Mesh';
  readonly singularDisplayName: string;
  readonly pluralDisplayName: string;
  readonly shortName: string;
  /** False where Kuma's answers carry no `kri`. */
  readonly hasKri: boolean;
  readonly readOnly: boolean;
  readonly includeInFederation: boolean;
  /**
   * From JSON: a PUT body, a stored body, a YAML document.
   * @throws ConfigError with all violations
   */
  parse(input: unknown, key: { readonly name: string; readonly mesh: string }): R;
  /** Protobuf JSON as Kuma answers it, and as the store keeps it: without type, mesh, name and times. */
  toJson(resource: R): JsonObject;
}

const mesh: Kind<Mesh> = {
  type: 'Mesh',
  path: 'meshes',
  scope: 'Global',
  singularDisplayName: 'Mesh',
  pluralDisplayName: 'Meshes',
  shortName: 'm',
  hasKri: true,
  readOnly: false,
  includeInFederation: true,
  parse: parseMesh,
  toJson: meshToJson,
};

const secret: Kind<Secret> = {
  type: 'Secret',
  path: 'secrets',
  scope: 'Mesh',
  singularDisplayName: 'Secret',
  pluralDisplayName: 'Secrets',
  shortName: 's',
  hasKri: false,
  readOnly: false,
  includeInFederation: true,
  parse: parseSecret,
  toJson: secretToJson,
};

const dataplane: Kind<Dataplane> = {
  type: 'Dataplane',
  path: 'dataplanes',
  scope: 'Mesh',
  singularDisplayName: 'Dataplane',
  pluralDisplayName: 'Dataplanes',
  shortName: 'dp',
  hasKri: true,
  readOnly: false,
  includeInFederation: false,
  parse: parseDataplane,
  toJson: dataplaneToJson,
};

export const KINDS: readonly Kind[] = [mesh, secret, dataplane];

export function findKind(type: string): Kind | undefined {
  return KINDS.find((kind) => kind.type === type);
}
