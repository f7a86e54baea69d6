import { X509Error } from './x509-error.ts';

/** One block of a PEM text (RFC 7468). `label` stands between `BEGIN` and the dashes: `CERTIFICATE`, `PRIVATE KEY`. */
export interface PemBlock {
  readonly label: string;
  readonly der: Buffer;
}

const DEFAULT_MAX_BYTES = 256 * 1024;
const MAX_BLOCKS = 64;
const LINE = 64;

const BEGIN = '-----BEGIN ';
const END = '-----END ';
const DASHES = '-----';

/**
 * Reads every block of a PEM text. Text between blocks is ignored, as RFC 7468 section 5.2 asks. Base64 is strict: no foreign
 * characters, canonical padding. Legacy headers (`Proc-Type: 4,ENCRYPTED`) are refused.
 *
 * @param options.maxBytes longest text, in characters; default 256 KiB
 * @throws X509Error `pem-size`, `pem-blocks` (more than 64), `pem-label`, `pem-unterminated`, `pem-headers`, `pem-base64`
 */
export function decodePem(text: string, options: { maxBytes?: number } = {}): PemBlock[] {
  const maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
  if (text.length > maxBytes) throw new X509Error('pem-size', `the PEM text is longer than ${maxBytes} bytes`);
  const blocks: PemBlock[] = [];
  let position = 0;
  for (;;) {
    const begin = text.indexOf(BEGIN, position);
    if (begin < 0) return blocks;
    if (blocks.length === MAX_BLOCKS)
      throw new X509Error('pem-blocks', `the PEM text has more than ${MAX_BLOCKS} blocks`);
    const labelEnd = text.indexOf(DASHES, begin + BEGIN.length);
    const label = labelEnd < 0 ? '' : text.slice(begin + BEGIN.length, labelEnd);
    if (!/^[A-Z0-9][A-Z0-9 #-]{0,63}$/.test(label)) throw new X509Error('pem-label', 'a PEM block has no proper label');
    const bodyStart = labelEnd + DASHES.length;
    const bodyEnd = text.indexOf(END, bodyStart);
    const footer = `${END}${label}${DASHES}`;
    if (bodyEnd < 0 || !text.startsWith(footer, bodyEnd)) {
      throw new X509Error('pem-unterminated', `the PEM block "${label}" has no matching END line`);
    }
    blocks.push({ label, der: decodeBody(text.slice(bodyStart, bodyEnd), label) });
    position = bodyEnd + footer.length;
  }
}

function decodeBody(body: string, label: string): Buffer {
  if (body.includes(':'))
    throw new X509Error('pem-headers', `the PEM block "${label}" has headers (an encrypted key?)`);
  const base64 = body.replace(/[\r\n\t ]+/g, '');
  const bytes = Buffer.from(base64, 'base64');
  // Buffer.from skips what it does not know; only the canonical text comes back unchanged.
  if (bytes.length === 0 || bytes.toString('base64') !== base64) {
    throw new X509Error('pem-base64', `the PEM block "${label}" is not proper base64`);
  }
  return bytes;
}

/** One PEM block: lines of 64 characters, `\n`, also at the end. */
export function encodePem(label: string, der: Buffer): string {
  const base64 = der.toString('base64');
  let text = `${BEGIN}${label}${DASHES}\n`;
  for (let i = 0; i < base64.length; i += LINE) text += `${base64.slice(i, i + LINE)}\n`;
  return `${text}${END}${label}${DASHES}\n`;
}
