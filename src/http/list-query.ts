import { ConfigError, RequestInvalidError, type Violation } from '../issuer/errors.ts';
import type { Labels } from '../mesh/labels.ts';
import { NOT_VALID, ResourceError } from '../resources/resource-error.ts';
import type { ListFilter } from '../resources/resources.ts';
import { GATEWAY_MODES, type GatewayMode } from '../resources/tag-filter.ts';

const DEFAULT_PAGE = 100;
const LARGEST_PAGE = 1000;
const MOST_FILTERS = 64;

const FORMAT = { format: 'universal; no other form is told here' };

/** For openapi.json. */
export const ITEM_QUERY = FORMAT;
export const LIST_QUERY = {
  size: `Items a page, at most ${LARGEST_PAGE}`,
  offset: 'Items to pass over',
  name: 'A part of the name',
  'filter[labels.KEY]': 'Only items whose label KEY has this value; repeatable with other keys',
  ...FORMAT,
};
export const DATAPLANE_LIST_QUERY = {
  ...LIST_QUERY,
  tag: 'key:value, a part of the value is enough; repeatable',
  gateway: `One of ${GATEWAY_MODES.join(', ')}`,
};

/** What a list call asks for. */
export interface ListQuery {
  readonly page: ListFilter;
  /** Labels that have to be there. */
  readonly labels: Labels;
  readonly gateway: GatewayMode | undefined;
}

/**
 * Reads the query of a list as Kuma does, which looks at it before it looks for the mesh.
 * @throws ResourceError with Kuma's fields and messages
 */
export function readListQuery(query: URLSearchParams, mesh: string | undefined, ofDataplanes: boolean): ListQuery {
  const name = query.get('name');
  // Kuma knows these filters for data planes only.
  const tags = ofDataplanes ? query.getAll('tag').slice(0, MOST_FILTERS) : [];
  const page = {
    ...(mesh === undefined ? {} : { mesh }),
    ...(name === null || name === '' ? {} : { name }),
    ...(tags.length === 0 ? {} : { tags }),
    size: readSize(query.get('size')),
    offset: readOffset(query.get('offset')),
  };
  const violations: Violation[] = [...formatMistakes(query)];
  const labels = readLabels(query, violations);
  const gateway = ofDataplanes ? readGateway(query.get('gateway'), violations) : undefined;
  if (violations.length > 0) throw new ResourceError('list', NOT_VALID, new ConfigError(NOT_VALID, { violations }));
  return { page, labels, gateway };
}

/** @throws ResourceError when another form than Universal is asked for */
export function requireFormat(query: URLSearchParams): void {
  const violations = formatMistakes(query);
  if (violations.length > 0) throw new ResourceError('get', NOT_VALID, new ConfigError(NOT_VALID, { violations }));
}

function formatMistakes(query: URLSearchParams): Violation[] {
  const format = query.get('format') ?? '';
  if (format === '' || format === 'universal') return [];
  return [{ field: 'format', message: 'has to be universal, the only form that mesh-ca tells' }];
}

const LABEL_FILTER = /^filter\[labels\.([^\]]+)\]$/;

function readLabels(query: URLSearchParams, violations: Violation[]): Labels {
  const labels: Record<string, string> = Object.create(null);
  const filters = [...query].filter(([key]) => key.startsWith('filter['));
  for (const [key, value] of filters.slice(0, MOST_FILTERS)) {
    const label = LABEL_FILTER.exec(key)?.[1];
    if (label !== undefined) labels[label] = value;
    else {
      const message = key.startsWith('filter[labels.')
        ? 'advanced filters are not supported'
        : 'filters are only supported on labels';
      violations.push({ field: key.slice(0, 80), message });
    }
  }
  return labels;
}

function readGateway(text: string | null, violations: Violation[]): GatewayMode | undefined {
  if (text === null || text === '') return undefined;
  const mode = GATEWAY_MODES.find((known) => known === text.toLowerCase());
  if (mode === undefined) {
    violations.push({ field: 'gateway', message: `should use one of ${GATEWAY_MODES.join(', ')}` });
  }
  return mode;
}

function readSize(text: string | null): number {
  if (text === null) return DEFAULT_PAGE;
  const size = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (size >= 1 && size <= LARGEST_PAGE) return size;
  const message =
    size > LARGEST_PAGE ? `Invalid page size of ${size}. Maximum page size is ${LARGEST_PAGE}` : 'Invalid format';
  throw new ResourceError(
    'list',
    'Invalid page size',
    new ConfigError('Invalid page size', { violations: [{ field: 'size', message }] }),
  );
}

function readOffset(text: string | null): number {
  if (text === null || text === '') return 0;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  const detail = `invalid: invalid offset: strconv.Atoi: parsing ${JSON.stringify(text.slice(0, 40))}: invalid syntax`;
  throw new ResourceError('list', detail, new RequestInvalidError(detail));
}
