/** Standard base64 with padding and nothing else: no white space, no URL alphabet, no stray bits. Undefined when it is not that. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}
