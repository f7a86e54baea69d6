/** The ARN of a private CA, taken apart. Region and partition come from here, never from the environment. */
export interface CaArn {
  readonly text: string;
  /** `aws`, `aws-cn`, `aws-us-gov`, `aws-iso`... */
  readonly partition: string;
  readonly region: string;
  readonly account: string;
  /** The UUID: names the CA in messages without its account. */
  readonly id: string;
}

/** What an ARN has to look like: AWS Private CA API reference, `IssueCertificate`, parameter `CertificateAuthorityArn`. */
const FORM = 'arn:aws:acm-pca:<region>:<account>:certificate-authority/<uuid>';
const MAX_LENGTH = 200;
const PARTITION = /^aws(-[a-z]+)*$/;
const REGION = /^[a-z]{2,3}(-[a-z]+)+-\d{1,2}$/;
const ACCOUNT = /^\d{12}$/;
const RESOURCE = /^certificate-authority\/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** A name that may be repeated in a message. */
const PLAIN = /^[A-Za-z0-9_-]{1,64}$/;

/** What a well-meant ARN of this service names instead of a CA. */
const OTHER_RESOURCES: readonly { readonly form: RegExp; readonly what: string }[] = [
  { form: /^certificate-authority\/[^/]+\/certificate\//, what: 'an issued certificate' },
  { form: /^template\//, what: 'a certificate template' },
  { form: /^certificate-authority\//, what: 'a certificate authority whose id is no UUID' },
];

/** The parts of the ARN, or what is wrong with it: one clause for a violation. */
export function parseCaArn(text: string): CaArn | { readonly mistake: string } {
  if (text === '') return { mistake: 'cannot be empty' };
  if (text.length > MAX_LENGTH) return { mistake: `cannot be longer than ${MAX_LENGTH} characters` };
  if ([...text].some((character) => character < '!' || character > '~')) {
    return { mistake: `may hold printable ASCII only, without blanks and line ends: ${FORM}` };
  }
  const [prefix, partition = '', service = '', region = '', account = '', ...rest] = text.split(':');
  const resource = rest.join(':');
  if (prefix !== 'arn' || rest.length === 0) return { mistake: `has to be the ARN of a private CA: ${FORM}` };
  if (service !== 'acm-pca') {
    return { mistake: `is an ARN of ${describeService(service, resource)}, not of a private CA: ${FORM}` };
  }
  if (!RESOURCE.test(resource)) {
    const other = OTHER_RESOURCES.find(({ form }) => form.test(resource))?.what ?? 'something else of acm-pca';
    return { mistake: `is the ARN of ${other}, not of a private CA: ${FORM}` };
  }
  if (!PARTITION.test(partition)) return { mistake: `has an unknown partition: ${FORM}` };
  if (!REGION.test(region)) return { mistake: `has no region such as eu-west-1: ${FORM}` };
  if (!ACCOUNT.test(account)) return { mistake: `has no account of 12 digits: ${FORM}` };
  return { text, partition, region, account, id: resource.slice('certificate-authority/'.length) };
}

function describeService(service: string, resource: string): string {
  if (!PLAIN.test(service)) return 'no service';
  const [kind = ''] = resource.split(/[/:]/);
  const what = PLAIN.test(kind) && kind !== resource ? ` (${kind})` : '';
  const hint = service === 'acm' ? ', which holds finished certificates' : '';
  return `the service ${service}${what}${hint}`;
}
