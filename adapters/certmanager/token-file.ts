import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { z } from 'zod';

const users = z.object({
  users: z.array(
    z
      .object({ name: z.string(), user: z.object({ tokenFile: z.string().min(1) }) })
      .nullish()
      .catch(null),
  ),
});

/**
 * Path of the file that `tokenFile` of a kubeconfig's user names: kubectl knows this field, client-node drops it without a word, and then one is
 * nobody to the API server. Undefined when there is none.
 * @param loadYaml of client-node
 */
export async function findTokenFile(user: string, loadYaml: (text: string) => unknown): Promise<string | undefined> {
  const named = (process.env.KUBECONFIG ?? '').split(delimiter).filter((path) => path !== '');
  for (const path of named.length > 0 ? named : [join(homedir(), '.kube', 'config')]) {
    const text = await readFile(path, 'utf8').catch(() => '');
    if (!text.includes('tokenFile')) continue;
    const found = users.safeParse(loadYaml(text)).data?.users.find((one) => one?.name === user);
    if (found) return resolve(dirname(path), found.user.tokenFile);
  }
  return undefined;
}
