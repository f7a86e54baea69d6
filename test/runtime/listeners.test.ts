import { expect, it } from 'vitest';
import { createListeners } from '../../src/runtime/listeners.ts';

it('tells everybody in the order in which they came, whatever one of them throws', () => {
  const mistakes: unknown[] = [];
  const heard: string[] = [];
  const listeners = createListeners<string>((error, news) => mistakes.push([error, news]));
  const mistake = new Error('mistake');
  listeners.add((news) => heard.push(`first ${news}`));
  listeners.add(() => {
    throw mistake;
  });
  listeners.add((news) => heard.push(`last ${news}`));
  listeners.tell('news');
  expect(heard).toEqual(['first news', 'last news']);
  expect(mistakes).toEqual([[mistake, 'news']]);
});

it('calls a listener that was added twice twice, until each of the two is ended', () => {
  let calls = 0;
  const listeners = createListeners<void>(() => {});
  const listener = () => {
    calls += 1;
  };
  const end = listeners.add(listener);
  listeners.add(listener);
  listeners.tell();
  end();
  end();
  listeners.tell();
  expect(calls).toBe(3);
  listeners.clear();
  listeners.tell();
  expect(calls).toBe(3);
});

it('does not tell the news to one that is added while it is told', () => {
  const heard: number[] = [];
  const listeners = createListeners<number>(() => {});
  listeners.add((news) => {
    listeners.add((later) => heard.push(later));
    heard.push(news);
  });
  listeners.tell(1);
  expect(heard).toEqual([1]);
});
