import { stripVTControlCharacters } from 'node:util';

/** Ranges that terminals show two columns wide (Unicode East Asian Width W and F, and emoji). */
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]|^\p{Emoji_Presentation}|\ufe0f/u;
const PLAIN = /^[\x20-\x7e]*$/;
const CONTROL = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;

/** Columns that a text takes on a terminal; colours take none. */
export function displayWidth(text: string): number {
  const visible = stripVTControlCharacters(text);
  if (PLAIN.test(visible)) return visible.length;
  let width = 0;
  for (const { segment } of new Intl.Segmenter('en', { granularity: 'grapheme' }).segment(visible)) {
    if (/^[\p{Mn}\p{Me}\p{Cf}\p{Cc}]+$/u.test(segment)) continue;
    width += WIDE.test(segment) ? 2 : 1;
  }
  return width;
}

/** Text from outside on one line, without anything that a terminal would obey. */
export function plainText(text: string): string {
  if (PLAIN.test(text)) return text;
  return stripVTControlCharacters(text).replace(/\s+/g, ' ').replace(CONTROL, '').trim();
}
