import { isIP } from 'node:net';
import type { Violation } from '../issuer/errors.ts';
import type { Gateway, Inbound, Networking, Outbound, PlainTags } from './dataplane.ts';
import type { Labels } from './labels.ts';
import { collectTags, PROTOCOL_TAG, SERVICE_TAG, WORKLOAD_LABEL, ZONE_TAG } from './tags.ts';
import { isJsonObject, keyPath } from './violations.ts';

const PROTOCOLS = ['grpc', 'http', 'http2', 'kafka', 'tcp'];
const DOMAIN_NAME = /^[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62}(?:\.[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})*[._]?$/;

/** The rules of Kuma 2.14 for `networking` (`dataplane_validator.go`), in its order and words. */
export function checkNetworking(networking: Networking, labels: Labels): Violation[] {
  const violations: Violation[] = [];
  const { address, inbound, outbound, gateway } = networking;
  const hasWorkload = Boolean(labels[WORKLOAD_LABEL]);
  if (gateway) {
    const kind = gateway.type === 'BUILTIN' ? 'builtin' : 'delegated';
    if (inbound.length > 0) {
      violations.push({ field: 'networking.inbound', message: `inbound cannot be defined for ${kind} gateways` });
    }
    if (kind === 'builtin' && outbound.length > 0) {
      violations.push({ field: 'networking.outbound', message: 'outbound cannot be defined for builtin gateways' });
    }
    checkGateway(gateway, hasWorkload, violations);
  } else if (inbound.length === 0) {
    violations.push({ field: 'networking', message: 'has to contain at least one inbound interface or gateway' });
  }
  checkAddress(address, violations);
  for (const [index, one] of inbound.entries()) {
    checkInbound(one, `networking.inbound[${index}]`, address, hasWorkload, violations);
  }
  for (const [index, one] of outbound.entries()) {
    checkOutbound(one, `networking.outbound[${index}]`, violations);
  }
  return violations;
}

function checkAddress(address: string, violations: Violation[]): void {
  const field = 'networking.address';
  if (address === '') {
    violations.push({ field, message: "address can't be empty" });
    return;
  }
  if (address === '0.0.0.0' || address === '::') violations.push({ field, message: 'must not be 0.0.0.0 or ::' });
  if (isIP(address) === 0 && !DOMAIN_NAME.test(address)) {
    violations.push({ field, message: 'address has to be valid IP address or domain name' });
  }
}

function checkInbound(inbound: Inbound, field: string, address: string, hasWorkload: boolean, violations: Violation[]) {
  checkPort(inbound.port, `${field}.port`, violations);
  if (inbound.servicePort !== 0) checkPort(inbound.servicePort, `${field}.servicePort`, violations);
  const isSamePort = inbound.servicePort === 0 || inbound.servicePort === inbound.port;
  const loop = {
    field: `${field}.serviceAddress`,
    message: 'serviceAddress and servicePort has to differ from address and port',
  };
  if (inbound.serviceAddress !== '') {
    if (isIP(inbound.serviceAddress) === 0) {
      violations.push({ field: `${field}.serviceAddress`, message: 'serviceAddress has to be valid IP address' });
    }
    if (inbound.serviceAddress === address && isSamePort) violations.push(loop);
  }
  if (inbound.address !== '') {
    if (isIP(inbound.address) === 0) {
      violations.push({ field: `${field}.address`, message: 'address has to be valid IP address' });
    }
    if (inbound.address === inbound.serviceAddress && isSamePort) violations.push(loop);
  }
  const protocol = inbound.tags[PROTOCOL_TAG];
  if (protocol !== undefined && !PROTOCOLS.includes(protocol.toLowerCase())) {
    const tag = JSON.stringify(PROTOCOL_TAG);
    violations.push({
      field: keyPath(`${field}.tags`, PROTOCOL_TAG),
      message: `tag ${tag} has an invalid value ${JSON.stringify(protocol)}. Allowed values: ${PROTOCOLS.join(', ')}`,
    });
  }
  collectTags(Object.entries(inbound.tags), `${field}.tags`, violations);
  if (lacksService(inbound.tags, hasWorkload)) {
    violations.push({ field: keyPath(`${field}.tags`, SERVICE_TAG), message: 'tag has to exist' });
  }
}

function checkOutbound(outbound: Outbound, field: string, violations: Violation[]): void {
  checkPort(outbound.port, `${field}.port`, violations);
  if (outbound.address !== '' && isIP(outbound.address) === 0) {
    violations.push({ field: `${field}.address`, message: 'address has to be valid IP address' });
  }
  if (isJsonObject(outbound.backendRef)) return;
  collectTags(Object.entries(outbound.tags), `${field}.tags`, violations);
  if (outbound.tags[SERVICE_TAG] === undefined && !outbound.service) {
    violations.push({ field: `${field}.tags`, message: mandatoryService });
  }
}

function checkGateway(gateway: Gateway, hasWorkload: boolean, violations: Violation[]): void {
  const field = 'networking.gateway.tags';
  const protocol = gateway.tags[PROTOCOL_TAG];
  if (protocol !== undefined && protocol !== 'tcp') {
    violations.push({
      field: keyPath(field, PROTOCOL_TAG),
      message: `other values than tcp are not allowed, provided value "${protocol}"`,
    });
  }
  collectTags(Object.entries(gateway.tags), field, violations);
  if (lacksService(gateway.tags, hasWorkload)) violations.push({ field, message: mandatoryService });
}

const mandatoryService = `mandatory tag ${JSON.stringify(SERVICE_TAG)} is missing`;

/**
 * Since 2.14 a listener without any tag is allowed, and one with tags has to name its service. `kuma.io/zone` does not count: it is added
 * on PUT, and what was accepted once has to be accepted again.
 */
function lacksService(tags: PlainTags, hasWorkload: boolean): boolean {
  if (tags[SERVICE_TAG] !== undefined || hasWorkload) return false;
  return Object.keys(tags).some((name) => name !== ZONE_TAG);
}

function checkPort(port: number, field: string, violations: Violation[]): void {
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    violations.push({ field, message: 'port must be in the range [1, 65535]' });
  }
}
