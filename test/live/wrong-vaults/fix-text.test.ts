import { describe, expect, it } from 'vitest';
import { actionsOf } from './fix-text.ts';

const command = (...words: string[]) => ({ kind: 'command', words });

const FIXES: readonly [what: string, fix: string, actions: readonly unknown[], way?: RegExp][] = [
  [
    'one command',
    'vault patch pki/roles/web require_cn=false',
    [command('patch', 'pki/roles/web', 'require_cn=false')],
  ],
  [
    'a quoted value, and the sentence behind it',
    'vault patch pki/roles/web allowed_uri_sans="spiffe://m/*,kuma://*" (that takes the place of the list)',
    [command('patch', 'pki/roles/web', 'allowed_uri_sans=spiffe://m/*,kuma://*')],
  ],
  [
    'two commands after each other',
    'renew it: vault write pki/root/rotate/internal common_name="m root" ttl=1h, then vault write pki/root/replace default=next',
    [
      command('write', 'pki/root/rotate/internal', 'common_name=m root', 'ttl=1h'),
      command('write', 'pki/root/replace', 'default=next'),
    ],
  ],
  [
    'a rule for a policy',
    'add to a policy of the token: path "pki/sign/web" { capabilities = ["update"] } (policies/x.hcl); or correct fromCp.role',
    [{ kind: 'policy', hcl: 'path "pki/sign/web" { capabilities = ["update"] }' }],
  ],
  [
    'the way that holds something to do',
    'correct fromCp.pki, or enable it: vault secrets enable -path=pki pki',
    [command('secrets', 'enable', '-path=pki', 'pki')],
  ],
  [
    'the way that is wanted',
    'vault write a/config default=<issuer>, or allow it: vault patch a/issuer/default usage=x',
    [command('patch', 'a/issuer/default', 'usage=x')],
    /usage=/,
  ],
  [
    'a command in brackets',
    'make it (vault write a/b @c.json, of policies/vault)',
    [command('write', 'a/b', '@c.json')],
  ],
  [
    'a placeholder of more than one word',
    'vault write a/<name> path=<its path> rate=<more>; or wait',
    [command('write', 'a/<name>', 'path=<its path>', 'rate=<more>')],
  ],
  ['nothing but words', 'start Vault, or correct fromCp.address', []],
];

describe('a fix is carried out by what stands in it', () => {
  it.each(FIXES)('%s', (_what, fix, actions, way) => {
    expect(actionsOf(fix, way)).toEqual(actions);
  });
});
