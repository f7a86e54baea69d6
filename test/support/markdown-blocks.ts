/** Code blocks of a page whose info string is exactly `info`: `sh` finds no block that starts with "```sh server". */
export function findBlocks(markdown: string, info: string): string[] {
  const blocks: string[] = [];
  let open: { readonly info: string; readonly lines: string[] } | undefined;
  for (const line of markdown.split('\n')) {
    const fence = /^```(.*)$/.exec(line);
    if (open === undefined) {
      if (fence !== null) open = { info: (fence[1] ?? '').trim(), lines: [] };
    } else if (fence !== null) {
      if (open.info === info) blocks.push(open.lines.map((text) => `${text}\n`).join(''));
      open = undefined;
    } else open.lines.push(line);
  }
  if (open !== undefined) throw new Error(`a block of ${open.info} is not closed`);
  return blocks;
}
