import { type Failure, failed, type Outcome } from '../failure.ts';
import type { AuthMethod } from './token-source.ts';

export interface LoginAbout {
  readonly endpoint: string;
  readonly path: string;
  readonly mount: string;
  readonly method: AuthMethod;
  readonly suspicion: string;
}

export function explainLogin(failure: Failure, _about: LoginAbout, _secrets: readonly string[]): Outcome<never> {
  return failed(failure);
}
