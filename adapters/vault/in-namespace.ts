/** What works on things that a namespace holds. `sys/quotas`, seals and namespaces belong to the root namespace. */
const COMMAND =
  /\bvault (patch|write|read|list|delete|secrets (?:enable|list|tune)|auth (?:enable|list)|policy (?:read|write)|token (?:create|lookup))\b(?! (sys\/|-namespace))/g;

/** The commands of a `fix`, made to work for a conf with a namespace. @param namespace '' for the root namespace */
export function inNamespace(fix: string, namespace: string): string {
  return namespace === '' ? fix : fix.replace(COMMAND, `vault $1 -namespace=${namespace}`);
}
