import { describe, expect, it } from 'vitest';
import { judgeCommonName } from '../../adapters/vault/common-name-allowed.ts';
import { roleReply } from '../../adapters/vault/replies.ts';
import { parseCommonName } from '../../src/mesh/common-name.ts';

const TAG = '{{ tag "kuma.io/service" }}';
const judge = (source: string, role: object) =>
  judgeCommonName(parseCommonName(source), roleReply.parse({ data: { key_type: 'any', ...role } }).data);

describe('whether a role refuses every common name of a template', () => {
  it.each([
    ['no domain at all', `${TAG}.mesh`, {}, true],
    ['a domain without its subdomains', `${TAG}.mesh`, { allowed_domains: ['mesh'] }, true],
    ['the domain', `${TAG}.mesh`, { allowed_domains: ['mesh'], allow_subdomains: true }, false],
    ['the domain in capitals', `${TAG}.Mesh`, { allowed_domains: ['MESH'], allow_subdomains: true }, false],
    ['another domain', `${TAG}.mesh`, { allowed_domains: ['other'], allow_subdomains: true }, true],
    ['a domain that ends alike', `${TAG}.mesh`, { allowed_domains: ['esh'], allow_subdomains: true }, true],
    [
      'a part of the domain, which a tag may name',
      `${TAG}.mesh`,
      { allowed_domains: ['a.mesh'], allow_subdomains: true },
      false,
    ],
    [
      'bare names, which a tag may be',
      `${TAG}.mesh`,
      { allowed_domains: ['web.mesh'], allow_bare_domains: true },
      false,
    ],
    ['bare names of another domain', `${TAG}.mesh`, { allowed_domains: ['web.other'], allow_bare_domains: true }, true],
    ['what a tag alone may hold', TAG, { allowed_domains: ['mesh'], allow_subdomains: true }, false],
    ['the very name', 'proxy.mesh', { allowed_domains: ['proxy.mesh'], allow_bare_domains: true }, false],
    ['not the very name', 'proxy.mesh', { allowed_domains: ['other.mesh'], allow_bare_domains: true }, true],
    ['the domain of the very name', 'proxy.mesh', { allowed_domains: ['mesh'], allow_subdomains: true }, false],
    ['an address of e-mail', 'ops@mesh', { allowed_domains: ['mesh'], allow_bare_domains: true }, false],
    ['any name', `${TAG}.mesh`, { allow_any_name: true }, false],
    ['a glob', `${TAG}.mesh`, { allowed_domains: ['*.other'], allow_glob_domains: true }, false],
    [
      'a template of Vault',
      `${TAG}.mesh`,
      { allowed_domains: ['{{identity.entity.name}}'], allow_subdomains: true },
      false,
    ],
    ['names that are not validated', `${TAG}.mesh`, { cn_validations: ['disabled'] }, false],
  ])('%s', (_what, source, role, isRefused) => {
    expect(judge(source, role).isRefused).toBe(isRefused);
  });

  it.each([
    [`${TAG}.mesh`, ['other'], 'allowed_domains=other,mesh allow_subdomains=true'],
    [`x-${TAG}-y.mesh.example`, [], 'allowed_domains=mesh.example allow_subdomains=true'],
    ['proxy.mesh', [], 'allowed_domains=proxy.mesh allow_subdomains=true allow_bare_domains=true'],
    [TAG, [], 'allow_any_name=true'],
    ['$(reboot)', ['`reboot`'], 'allow_any_name=true'],
  ])('tells what lets the names of %s pass, beside %j', (source, allowed, change) => {
    const verdict = judge(source, { allowed_domains: allowed });
    expect(verdict).toMatchObject({ isRefused: true, change });
  });
});
