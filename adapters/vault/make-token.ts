/** The command for a token that can be renewed without end. @param policies of the token that it takes the place of */
export function makeToken(policies: readonly string[]): string {
  const own = policies.filter((name) => name !== 'default' && name !== 'root');
  return `vault token create -orphan -period=24h ${own.map((name) => `-policy=${name} `).join('')}-field=token`;
}
