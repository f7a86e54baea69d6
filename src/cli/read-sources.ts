import { readdir, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { CaError } from '../issuer/errors.ts';
import { parseDocuments, type ResourceDocument } from '../mesh/documents.ts';
import { CliError, fileError, toCliError } from './cli-error.ts';
import type { CliIo } from './cli-io.ts';
import { EXIT } from './exit-code.ts';
import { httpRequest } from './http-request.ts';
import { readFileText } from './read-file-text.ts';

/** A document and where it was written. */
export interface SourceDocument extends ResourceDocument {
  readonly source: string;
}

export interface ReadOptions {
  readonly io: CliIo;
  readonly defaultMesh: string;
  readonly timeoutMs: number;
  /** What becomes of nothing when a document cannot be read: `applied`. */
  readonly undone: string;
}

const MAX_SOURCE_BYTES = 4 * 1024 * 1024;
const MAX_FILES = 10_000;
const EXTENSIONS = new Set(['.yaml', '.yml', '.json']);

/**
 * Reads files, folders (their YAML and JSON files by name, not deeper), URLs and `-` (standard input), and parses everything before
 * anything is used.
 * @throws CliError with the mistakes of all sources
 */
export async function readSources(places: readonly string[], options: ReadOptions): Promise<SourceDocument[]> {
  const documents: SourceDocument[] = [];
  const mistakes: string[] = [];
  for (const place of places) {
    for (const { source, text } of await readPlace(place, options)) {
      try {
        const parsed = parseDocuments(text, { defaultMesh: options.defaultMesh });
        documents.push(...parsed.map((document) => ({ ...document, source })));
      } catch (error) {
        if (!(error instanceof CaError)) throw error;
        const { message, why } = toCliError(error);
        mistakes.push(...(why.length > 0 ? why : [message]).map((reason) => `${source}: ${reason}`));
      }
    }
  }
  if (mistakes.length > 0) {
    throw new CliError(`nothing was ${options.undone}: what was given cannot be read`, {
      exitCode: EXIT.operator,
      why: mistakes,
      fix: 'correct it and run the same command again',
    });
  }
  return documents;
}

/** `mesh/default`, `secret/ca-cert of mesh default` */
export function labelOf({ type, mesh, name }: SourceDocument): string {
  return `${type.toLowerCase()}/${name}${mesh === '' ? '' : ` of mesh ${mesh}`}`;
}

export const placeOf = ({ source, line }: SourceDocument): string => `${source}, line ${line}`;

interface Source {
  readonly source: string;
  readonly text: string;
}

async function readPlace(place: string, { io, timeoutMs }: ReadOptions): Promise<Source[]> {
  if (place === '-') return [{ source: 'standard input', text: await readStdin(io) }];
  if (/^https?:\/\//.test(place)) return [{ source: place, text: await readUrl(place, io, timeoutMs) }];
  const sources: Source[] = [];
  for (const file of await listFiles(place)) {
    sources.push({ source: file, text: await readFileText(file, MAX_SOURCE_BYTES, 'resources') });
  }
  return sources;
}

async function listFiles(place: string): Promise<string[]> {
  const failed = `could not read resources from ${place}`;
  try {
    if (!(await stat(place)).isDirectory()) return [place];
    const names = (await readdir(place)).filter((name) => EXTENSIONS.has(extname(name))).sort();
    if (names.length > 0 && names.length <= MAX_FILES) return names.map((name) => join(place, name));
    const why =
      names.length === 0
        ? 'the folder holds no .yaml, .yml or .json file'
        : `the folder holds more than ${MAX_FILES} files`;
    throw new CliError(failed, { exitCode: EXIT.request, why: [why] });
  } catch (error) {
    throw error instanceof CliError ? error : fileError(failed, error);
  }
}

async function readStdin(io: CliIo): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of io.stdin) {
    chunks.push(Buffer.from(chunk));
    bytes += chunk.length;
    if (bytes > MAX_SOURCE_BYTES) {
      throw new CliError('could not read resources from standard input', {
        exitCode: EXIT.request,
        why: [`it is larger than ${MAX_SOURCE_BYTES} bytes`],
      });
    }
  }
  return Buffer.concat(chunks).toString();
}

async function readUrl(place: string, io: CliIo, timeoutMs: number): Promise<string> {
  const failed = `could not read resources from ${place}`;
  try {
    const url = new URL(place);
    const { status, text } = await httpRequest(io.clock, { method: 'GET', url, timeoutMs, maxBytes: MAX_SOURCE_BYTES });
    if (status === 200) return text;
    throw new CliError(failed, { exitCode: EXIT.request, why: [`it answers HTTP ${status}`] });
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(failed, {
      exitCode: EXIT.later,
      why: [error instanceof Error ? error.message : String(error)],
      cause: error,
    });
  }
}
