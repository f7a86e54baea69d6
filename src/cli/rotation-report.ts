import { spanText } from '../text/span-text.ts';
import type { CliIo } from './cli-io.ts';
import { createLiveBlock } from './live-block.ts';
import { liveLines, logText, type RotationStyle } from './rotation-text.ts';
import type { RotationView } from './rotation-view.ts';

/** A log gets a line when the state changes, and otherwise: when numbers change, at most so often; when nothing does, at least so often. */
const CHANGE_MS = 5000;
const SILENCE_MS = 60_000;
const SPAN_WIDTH = 12;

/** Tells on standard error how a rotation goes on. */
export interface RotationReport {
  tell(view: RotationView): void;
  /** mesh-ca does not answer just now. */
  trouble(text: string): void;
  /** Takes away what is not for good. */
  end(): void;
}

export function createRotationReport(io: CliIo, style: RotationStyle): RotationReport {
  return io.stderr.isTTY && io.env.TERM !== 'dumb' ? liveReport(io, style) : logReport(io);
}

function liveReport(io: CliIo, style: RotationStyle): RotationReport {
  const block = createLiveBlock(io.stderr);
  let last: RotationView | undefined;
  const draw = (...more: readonly string[]) =>
    block.draw([...(last === undefined ? [] : liveLines(last, io.clock.now(), style)), ...more]);
  return {
    tell(view) {
      last = view;
      draw();
    },
    trouble: (text) => draw(style.warn(text)),
    end: () => block.clear(),
  };
}

/** Each line begins with the time since the first. */
function logReport({ stderr, clock }: CliIo): RotationReport {
  const startMs = clock.monotonicMs();
  let told: { readonly state: string; readonly text: string; readonly atMs: number } | undefined;
  const write = (state: string, text: string) => {
    const nowMs = clock.monotonicMs();
    const sinceMs = told === undefined ? Number.POSITIVE_INFINITY : nowMs - told.atMs;
    const isDue = state !== told?.state || sinceMs >= (text === told.text ? SILENCE_MS : CHANGE_MS);
    if (!isDue) return;
    stderr.write(`${spanText(nowMs - startMs).padStart(SPAN_WIDTH)}  ${text}\n`);
    told = { state, text, atMs: nowMs };
  };
  return {
    tell: (view) => write(`${view.state} ${view.step ?? ''}`, logText(view)),
    trouble: (text) => write('no answer', text),
    end() {},
  };
}
