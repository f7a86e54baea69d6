import { randomBytes, randomFillSync } from 'node:crypto';

/** Chance, handed in. Keys come from node:crypto itself; everything else that is random comes from here. */
export interface Random {
  /** Cryptographically strong bytes. */
  bytes(length: number): Buffer;
  /** A number in [0, 1), for jitter. */
  uniform(): number;
}

/** One system call fills this many bytes; serial numbers and nonces are cut from it. */
const POOL_BYTES = 4096;

export function createSystemRandom(): Random {
  const pool = Buffer.allocUnsafeSlow(POOL_BYTES);
  let used = POOL_BYTES;
  const bytes = (length: number): Buffer => {
    if (length > POOL_BYTES / 4) return randomBytes(length);
    if (used + length > POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    const out = Buffer.from(pool.subarray(used, used + length));
    pool.fill(0, used, used + length);
    used += length;
    return out;
  };
  return { bytes, uniform: () => bytes(6).readUIntBE(0, 6) / 2 ** 48 };
}
