/** `1 check`, `3 checks`: for nouns whose plural is the word and an s. */
export function countText(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
