import { describe, expect, it } from 'vitest';
import { formatValue } from '../../src/cli/output.ts';

describe('JSON that is printed', () => {
  it('says the same, and holds nothing that a terminal obeys', async () => {
    const value = { cause: 'a\u001b[2K\u009b31mb\u202ec\u2028d\u{e0001}e', name: 'müßig 日本' };
    const text = (await formatValue(value, 'json')) ?? '';
    expect(JSON.parse(text)).toEqual(value);
    expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    expect(text).toContain('müßig 日本');
  });
});
