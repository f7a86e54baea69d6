import { BACKEND } from './ask-service.ts';

/** Value of a series of the Vault backend of a mesh, in what `/metrics` says; NaN when there is none. */
export function seriesValue(text: string, name: string, mesh: string, le = ''): number {
  const start = `${name}{${le === '' ? '' : `le="${le}",`}mesh="${mesh}",backend="${BACKEND}",type="vault"} `;
  const line = text.split('\n').find((one) => one.startsWith(start));
  return line === undefined ? Number.NaN : Number(line.slice(start.length));
}

/** Series of backends without the labels that all have. */
export function unlabelled(text: string): string[] {
  const labels = /^mesh_ca_\w+\{(le="[^"]+",)?mesh="[^"]+",backend="[^"]+",type="[^"]+"[,}]/;
  return text.split('\n').filter((line) => /^mesh_ca_(backend|certificates)_/.test(line) && !labels.test(line));
}
