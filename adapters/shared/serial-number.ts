import type { IssuerDeps } from '../../src/issuer/issuer.ts';

/** RFC 5280, 4.1.2.2: positive, at most 20 bytes. 127 random bits: no two alike, and the sign bit stays free. */
export function randomSerialNumber(random: IssuerDeps['random']): Buffer {
  const serialNumber = random.bytes(16);
  serialNumber[0] = (serialNumber[0] ?? 0) & 0x7f;
  if (serialNumber.every((byte) => byte === 0)) serialNumber[15] = 1;
  return serialNumber;
}
