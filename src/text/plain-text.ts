/** What a terminal obeys, what ends a line, and the invisible marks that turn text around. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu;

/** A text with foreign words in it as one line of at most `most` characters (and `…`) that only is what it looks like. */
export function plainText(text: string, most: number): string {
  const cut = text.length > most ? `${text.slice(0, most)}…` : text;
  return cut.replace(UNPRINTABLE, ' ');
}
