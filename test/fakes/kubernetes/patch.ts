import { isObject } from './json.ts';
import { badRequest, unsupportedMediaType } from './status.ts';

/**
 * A JSON merge patch (RFC 7386) or JSON patch (RFC 6902: add, replace, remove, test).
 * @throws StatusError 415 for other kinds, 400 for a body that is none
 */
export function applyPatch(contentType: string, target: unknown, patch: unknown): unknown {
  switch (contentType.split(';')[0]?.trim()) {
    case 'application/merge-patch+json':
      return mergePatch(target, patch);
    case 'application/json-patch+json': {
      if (!Array.isArray(patch))
        throw badRequest('error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch');
      return patch.reduce(applyOperation, target);
    }
    default:
      throw unsupportedMediaType();
  }
}

function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = mergePatch(merged[key], value);
  }
  return merged;
}

function applyOperation(target: unknown, operation: unknown): unknown {
  if (!isObject(operation) || typeof operation.path !== 'string' || typeof operation.op !== 'string') {
    throw badRequest('error decoding patch: not an operation');
  }
  const keys = operation.path
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  return change(target, keys, operation.op, operation.value);
}

function change(target: unknown, [key, ...rest]: readonly string[], op: string, value: unknown): unknown {
  if (key === undefined) return value;
  if (Array.isArray(target)) {
    const copy: unknown[] = [...target];
    const index = key === '-' ? copy.length : Number(key);
    if (rest.length > 0) copy[index] = change(copy[index], rest, op, value);
    else if (op === 'remove') copy.splice(index, 1);
    else if (op === 'add') copy.splice(index, 0, value);
    else if (op === 'replace') copy[index] = value;
    else checkTest(op, copy[index], value);
    return copy;
  }
  if (!isObject(target)) throw badRequest(`the server rejected our request due to an error in our request`);
  const { [key]: current, ...others } = target;
  if (rest.length > 0) return { ...target, [key]: change(current, rest, op, value) };
  if (op === 'add' || op === 'replace') return { ...target, [key]: value };
  if (op === 'remove') return others;
  checkTest(op, current, value);
  return target;
}

function checkTest(op: string, current: unknown, value: unknown): void {
  if (op !== 'test' || JSON.stringify(current) !== JSON.stringify(value)) {
    throw badRequest('the server rejected our request due to an error in our request');
  }
}
