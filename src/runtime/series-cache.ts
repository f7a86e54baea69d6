export interface SeriesCache<Series> {
  get(first: string, second: string): Series;
  removeAll(): void;
}

/** Series by two label values; two levels, so that no text is put together on the hot path. */
export function createSeriesCache<Series>(
  create: (first: string, second: string) => Series,
  remove: (first: string, second: string) => void,
): SeriesCache<Series> {
  const byFirst = new Map<string, Map<string, Series>>();
  return {
    get(first, second) {
      const bySecond = byFirst.get(first) ?? new Map<string, Series>();
      if (bySecond.size === 0) byFirst.set(first, bySecond);
      const series = bySecond.get(second) ?? create(first, second);
      if (!bySecond.has(second)) bySecond.set(second, series);
      return series;
    },
    removeAll() {
      for (const [first, bySecond] of byFirst) for (const second of bySecond.keys()) remove(first, second);
      byFirst.clear();
    },
  };
}
