import { isMap, parseDocument } from 'yaml';
import { ConfigError, type Violation } from '../issuer/errors.ts';
import { redactText } from './redact.ts';
import { type SdsAccess, sdsMistake } from './sds-rules.ts';
import {
  SETTING_KEYS,
  SETTINGS,
  type SettingKey,
  type SettingRow,
  type Settings,
  settingNames,
} from './settings-table.ts';

export type { Settings } from './settings-table.ts';

export interface SettingSources {
  /** By commander's names (`apiPort`). Values as typed; a repeated flag is a list. Names that are no setting are ignored: commander refused them. */
  readonly flags: Readonly<Record<string, unknown>>;
  /** The whole environment: what does not start with `MESH_CA_` is not looked at. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Text of the YAML file of `--config`. */
  readonly fileText?: string;
}

const ENV_PREFIX = 'MESH_CA_';
/** Read by the program itself or by its client commands: right to have in the environment of `serve`, too. */
const OTHER_ENV = ['MESH_CA_CONFIG', 'MESH_CA_ADDRESS', 'MESH_CA_TOKEN_FILE'];
const MAX_FILE_CHARACTERS = 256 * 1024;
const MAX_SHOWN_CHARACTERS = 80;
const MAX_VIOLATIONS_BY_NAME = 50;

/** The first is worth nothing without the second. */
const TOGETHER: readonly (readonly [SettingKey, SettingKey])[] = [
  ['apiTlsCertFile', 'apiTlsKeyFile'],
  ['apiTlsKeyFile', 'apiTlsCertFile'],
  ['podName', 'podUid'],
  ['podUid', 'podName'],
];

/** Judged together. */
const SDS_ACCESS = ['sdsHost', 'sdsAuth', 'apiTlsCertFile', 'apiTlsKeyFile'] as const;

/** A value that was written, and the name under which it was written. */
interface Written {
  readonly name: string;
  readonly value: unknown;
}

/**
 * Reads flags over environment over file over defaults. Unset is unset: nothing malformed is ever taken as absent.
 * @throws ConfigError with every mistake; `field` is the name as the user wrote it (`--api-port`, `MESH_CA_API_PORT`, `apiPort` in the file)
 */
export function loadSettings(sources: SettingSources): Settings {
  const violations: Violation[] = [];
  const file = readFile(sources.fileText, violations);
  findUnknownNames(sources.env, file, violations);

  const values: Record<string, unknown> = {};
  let dataDir: string | undefined;
  for (const key of SETTING_KEYS) {
    const row: SettingRow = SETTINGS[key];
    const written = findWritten(key, sources, file);
    const read = written.map((one) => readValue(row, one, violations));
    values[key] = written.length > 0 ? read[0] : readDefault(row, dataDir ?? './data');
    if (key === 'dataDir' && typeof values[key] === 'string') dataDir = values[key];
  }
  const isSet = (key: SettingKey) => findWritten(key, sources, file).length > 0 && values[key] !== '';
  const nameOf = (key: SettingKey) => findWritten(key, sources, file)[0]?.name ?? settingNames(key).flag;
  for (const [key, other] of TOGETHER) {
    if (!isSet(key) || isSet(other)) continue;
    const { flag } = settingNames(other);
    violations.push({ field: nameOf(key), message: `is worth nothing without \`${flag}\`: set both or none` });
  }
  // What is malformed, or has lost its other half, has been told.
  const isRight = SDS_ACCESS.every((key) => !violations.some(({ field }) => field === nameOf(key)));
  if (isRight && values.sdsPort !== undefined) {
    const mistake = sdsMistake(values as SdsAccess);
    if (mistake !== undefined) {
      const { key, message, fix } = mistake;
      violations.push({ field: nameOf(key), message: `${message}: ${fix}` });
    }
  }
  if (violations.length === 0) return values as Settings;
  throw new ConfigError(violations.length === 1 ? 'one setting is wrong' : `${violations.length} settings are wrong`, {
    violations,
    fix: 'correct them; `mesh-ca serve --help` lists every setting',
  });
}

/** All places where a setting is written, the one that counts first. The others are checked, too. */
function findWritten(key: SettingKey, { flags, env }: SettingSources, file: ReadonlyMap<string, unknown>): Written[] {
  const names = settingNames(key);
  const found: Written[] = [];
  if (flags[names.option] !== undefined) found.push({ name: names.flag, value: flags[names.option] });
  if (env[names.env] !== undefined) found.push({ name: names.env, value: env[names.env] });
  if (file.has(names.yaml)) found.push({ name: names.yaml, value: file.get(names.yaml) });
  return found;
}

function readValue(row: SettingRow, written: Written, violations: Violation[]): unknown {
  const text = toText(written.value);
  const input = row.list ? toList(text) : text;
  const result = input === undefined ? undefined : row.schema.safeParse(input);
  if (result?.success) return result.data;
  violations.push({ field: written.name, message: `${showValue(row, written.value)}: expected ${row.form}` });
  return undefined;
}

function readDefault(row: SettingRow, dataDir: string): unknown {
  const text = typeof row.default === 'function' ? row.default({ dataDir }) : row.default;
  return text === undefined ? undefined : row.schema.parse(text);
}

/** YAML's numbers and booleans become the text that flags and the environment would hold; what has no text form is undefined. */
function toText(value: unknown): string | string[] | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (!Array.isArray(value)) return undefined;
  const texts = value.map((item) => toText(item));
  return texts.every((text) => typeof text === 'string') ? texts : undefined;
}

function toList(text: string | string[] | undefined): string[] | undefined {
  if (typeof text !== 'string') return text?.flatMap(splitList);
  return splitList(text);
}

const splitList = (text: string): string[] => (text === '' ? [] : text.split(',').map((part) => part.trim()));

function showValue(row: SettingRow, value: unknown): string {
  if (row.hideValue) return 'its value (not shown) is not usable';
  const text = redactText(JSON.stringify(value) ?? typeof value);
  const shown = text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}...` : text;
  return `${shown} is not usable`;
}

function readFile(text: string | undefined, violations: Violation[]): ReadonlyMap<string, unknown> {
  if (text === undefined) return new Map();
  if (text.length > MAX_FILE_CHARACTERS) {
    violations.push({ field: '--config', message: `the file is larger than ${MAX_FILE_CHARACTERS} characters` });
    return new Map();
  }
  const document = parseDocument(text);
  for (const error of document.errors.slice(0, MAX_VIOLATIONS_BY_NAME)) {
    const { line, col } = error.linePos?.[0] ?? { line: 1, col: 1 };
    violations.push({ field: '--config', message: `line ${line}, column ${col}: not valid YAML (${error.code})` });
  }
  if (document.errors.length > 0) return new Map();
  if (document.contents === null) return new Map();
  if (!isMap(document.contents)) {
    violations.push({ field: '--config', message: 'the file holds no mapping: expected `name: value` lines' });
    return new Map();
  }
  try {
    // Resolved aliases could let a small file grow without end.
    return new Map(Object.entries(document.toJS({ maxAliasCount: 0 })));
  } catch {
    violations.push({ field: '--config', message: 'the file uses YAML aliases (`*name`): write the values out' });
    return new Map();
  }
}

function findUnknownNames(
  env: SettingSources['env'],
  file: ReadonlyMap<string, unknown>,
  violations: Violation[],
): void {
  const names = SETTING_KEYS.map(settingNames);
  const envNames = [...names.map(({ env: name }) => name), ...OTHER_ENV];
  const yamlNames = names.map(({ yaml }) => yaml);
  const unknown = [
    ...Object.keys(env)
      .filter((name) => name.startsWith(ENV_PREFIX) && env[name] !== undefined && !envNames.includes(name))
      .map((name) => ({ name, kind: 'environment variable', known: envNames })),
    ...[...file.keys()]
      .filter((name) => !yamlNames.includes(name))
      .map((name) => ({ name, kind: 'key in the file', known: yamlNames })),
  ];
  for (const { name, kind, known } of unknown.slice(0, MAX_VIOLATIONS_BY_NAME)) {
    const near = findNearest(name, known);
    violations.push({
      field: name.slice(0, MAX_SHOWN_CHARACTERS),
      message: `unknown ${kind}: expected one of the settings${near === undefined ? '' : `, perhaps \`${near}\``}`,
    });
  }
}

/** The known name that is most like `name`, if any is like it at all. */
function findNearest(name: string, known: readonly string[]): string | undefined {
  let best: { name: string; score: number } | undefined;
  for (const candidate of known) {
    const score = similarity(name.toLowerCase(), candidate.toLowerCase());
    if (score > (best?.score ?? 0.6)) best = { name: candidate, score };
  }
  return best?.name;
}

/** Dice's coefficient over pairs of neighbouring characters: 1 for equal texts, 0 for texts without a common pair. */
function similarity(a: string, b: string): number {
  const pairsOf = (text: string) =>
    Array.from({ length: Math.max(text.length - 1, 0) }, (_, i) => text.slice(i, i + 2));
  const left = new Set(pairsOf(a.slice(0, MAX_SHOWN_CHARACTERS)));
  const right = new Set(pairsOf(b));
  const common = [...left].filter((pair) => right.has(pair)).length;
  return (2 * common) / Math.max(left.size + right.size, 1);
}

/** The table for README: one row for each setting. */
export function settingsMarkdown(): string {
  const rows = SETTING_KEYS.map((key) => {
    const { flag, env, yaml } = settingNames(key);
    return `| \`${yaml}\` | \`${flag}\` | \`${env}\` | ${showDefault(key, '`')} | ${SETTINGS[key].doc} |`;
  });
  return ['| key in the file | flag | environment | default | |', '|---|---|---|---|---|', ...rows].join('\n');
}

/** The default as a user reads it. */
export function showDefault(key: SettingKey, quote = ''): string {
  const row: SettingRow = SETTINGS[key];
  const text = row.defaultForm ?? row.default;
  return typeof text === 'string' && text !== '' ? `${quote}${text}${quote}` : 'none';
}
