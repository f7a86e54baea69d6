/** What can be carried out of a `fix`: a command line of Vault's, or a rule for a policy of the token. */
export type Action =
  | { readonly kind: 'command'; readonly words: readonly string[] }
  | { readonly kind: 'policy'; readonly hcl: string };

const COMMAND =
  /\bvault (?=(?:auth|delete|lease|list|namespace|operator|patch|policy|read|secrets|status|token|write)\b)/g;
const POLICY_RULE = /path "[^"]+" \{[^}]*\}/g;
/** Where the sentence goes on behind a command. */
const SENTENCE_WORDS: ReadonlySet<string> = new Set(['and', 'or', 'then', 'to', 'until', 'where', 'which', 'with']);
const WORD = /\s*((?:"[^"]*"|'[^']*'|<[^<>]*>|[^\s"'<])+)/y;

/**
 * The actions of a fix in their order. A fix may name several ways, "..., or ...": the first that holds an action, or the first that `way` matches.
 */
export function actionsOf(fix: string, way: RegExp = /^/): readonly Action[] {
  const ways = fix.split(/[,;] or (?:else )?/).filter((text) => way.test(text));
  return ways.map(readActions).find((actions) => actions.length > 0) ?? [];
}

function readActions(text: string): readonly Action[] {
  const commands = [...text.matchAll(COMMAND)].map(({ index }) => ({
    index,
    action: { kind: 'command', words: readCommand(text, index + 'vault '.length) } as const,
  }));
  const rules = [...text.matchAll(POLICY_RULE)].map(({ index, 0: hcl }) => ({
    index,
    action: { kind: 'policy', hcl } as const,
  }));
  return [...commands, ...rules].sort((a, b) => a.index - b.index).map(({ action }) => action);
}

/** The words of one command, as a shell reads them, up to where the sentence goes on. */
function readCommand(text: string, from: number): readonly string[] {
  const words: string[] = [];
  const reader = new RegExp(WORD);
  reader.lastIndex = from;
  for (let found = reader.exec(text); found !== null; found = reader.exec(text)) {
    const word = found[1] ?? '';
    if (word.startsWith('(') || SENTENCE_WORDS.has(word)) break;
    const bare = word.replace(/[,;:.)`]+$/, '');
    if (bare !== '') words.push(bare.replace(/"([^"]*)"|'([^']*)'/g, '$1$2'));
    if (bare !== word) break;
  }
  return words;
}
