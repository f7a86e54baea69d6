import { RequestInvalidError } from '../../src/issuer/errors.ts';
import type { CommonNameSubject, CommonNameTemplate } from '../../src/mesh/common-name.ts';

const LABEL = '[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?';
/** RFC 1123 host names; a wildcard in the place of the first label. */
const DNS_NAME = new RegExp(`^(?:\\*\\.)?${LABEL}(?:\\.${LABEL})*$`);

/** For a template without any action, of which it is known before there is a data plane. */
export function isNoDnsName({ source }: CommonNameTemplate): boolean {
  return !source.includes('{{') && !DNS_NAME.test(source);
}

/**
 * The DNS names of a data plane, each once.
 * @throws RequestInvalidError naming the data plane and the template: a tag is missing, or what comes out is no DNS name
 */
export function renderDnsNames(templates: readonly CommonNameTemplate[], who: CommonNameSubject): readonly string[] {
  return [
    ...new Set(
      templates.map((template, index) => {
        const name = template.render(who);
        if (DNS_NAME.test(name)) return name;
        throw new RequestInvalidError(
          `dataplane ${JSON.stringify(who.dataplane)}: dnsNames[${index}] ${JSON.stringify(template.source)} gives ${JSON.stringify(name)}, which is no DNS name`,
          {
            fix: 'let the template replace what a DNS name cannot hold, as in {{ tag "kuma.io/service" | replace "_" "-" }}.mesh',
          },
        );
      }),
    ),
  ];
}
