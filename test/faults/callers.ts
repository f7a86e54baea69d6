import type { Asked } from './ask.ts';

const PAUSE_MS = 120;
const LOOK_MS = 25;
const RECOVERY_ASK_MS = 50;
const RECOVERY_GIVE_UP_MS = 4_000;

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export interface Callers {
  /** Certificates asked for. */
  readonly asked: number;
  /** What was answered so far. */
  readonly answers: readonly Asked[];
  /** Resolves when all are answered. */
  readonly done: Promise<unknown>;
}

/**
 * Data planes that ask at a modest rate, so many at a time, as long as `goesOn` says. Resolves when it says no; answers may still be open.
 */
export async function keepAsking(
  callers: number,
  ask: () => Promise<Asked>,
  goesOn: (lastedMs: number, answered: number) => boolean,
): Promise<Callers> {
  const startedMs = performance.now();
  const answers: Asked[] = [];
  let asked = 0;
  const isOn = () => goesOn(performance.now() - startedMs, answers.length);
  const caller = async () => {
    while (isOn()) {
      asked += 1;
      answers.push(await ask());
      await sleep(PAUSE_MS);
    }
  };
  const done = Promise.all(Array.from({ length: callers }, caller));
  while (isOn()) await sleep(LOOK_MS);
  return {
    get asked() {
      return asked;
    },
    answers,
    done,
  };
}

export interface Recovery {
  /** Until the first certificate. Undefined: none came. */
  readonly ms: number | undefined;
  readonly answers: readonly Asked[];
}

/** Asks every few milliseconds, whether or not the ones before are answered, as many data planes would; or one by one, as a single one does. */
export async function measureRecovery(ask: () => Promise<Asked>, oneByOne: boolean): Promise<Recovery> {
  const startedMs = performance.now();
  const answers: Asked[] = [];
  const pending: Promise<void>[] = [];
  let ms: number | undefined;
  while (ms === undefined && performance.now() - startedMs < RECOVERY_GIVE_UP_MS) {
    const asking = ask().then((one) => {
      answers.push(one);
      if (one.seen === 'served') ms ??= performance.now() - startedMs;
    });
    pending.push(asking);
    await (oneByOne ? asking : Promise.race([asking, sleep(RECOVERY_ASK_MS)]));
    if (ms === undefined) await sleep(RECOVERY_ASK_MS);
  }
  await Promise.all(pending);
  return { ms, answers };
}
