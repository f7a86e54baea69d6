import type { IssuerModule } from '../src/issuer/issuer.ts';

/**
 * Every backend type there is: its name in the Mesh, and how to get its module. A module is loaded when a mesh first uses its type, so a
 * service with only `builtin` never loads another backend's SDK. Adding a backend is one folder with a `module.ts`, and one line here.
 */
export const ADAPTERS: Readonly<Record<string, () => Promise<IssuerModule<unknown>>>> = {
  builtin: async () => (await import('./builtin/module.ts')).module,
  provided: async () => (await import('./provided/module.ts')).module,
  acmpca: async () => (await import('./acmpca/module.ts')).module,
  certmanager: async () => (await import('./certmanager/module.ts')).module,
  vault: async () => (await import('./vault/module.ts')).module,
};
