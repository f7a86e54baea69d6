import { describe, expect, it } from 'vitest';
import { findKind, KINDS } from '../../src/mesh/kinds.ts';

describe('the table of kinds', () => {
  it.each([
    ['Mesh', 'meshes', 'Global', 'm', true, {}],
    ['Secret', 'secrets', 'Mesh', 's', false, { data: 'aGVsbG8=' }],
    ['Dataplane', 'dataplanes', 'Mesh', 'dp', true, { networking: { address: '10.0.0.1', inbound: [{ port: 80 }] } }],
  ])('knows %s', (type, path, scope, shortName, hasKri, body) => {
    const kind = findKind(type);
    expect(kind).toMatchObject({ type, path, scope, shortName, hasKri });
    const resource = kind?.parse(body, { mesh: 'default', name: 'x' });
    expect(resource).toMatchObject({ type, name: 'x' });
    expect(resource && kind?.toJson(resource)).toEqual(body);
  });

  it('knows nothing else, not even names of prototypes', () => {
    expect(KINDS).toHaveLength(3);
    for (const name of ['mesh', 'Zone', 'constructor', '__proto__', '']) expect(findKind(name)).toBeUndefined();
  });
});
