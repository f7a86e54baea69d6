import { Counter, Gauge, type Registry } from 'prom-client';

/** Counts of the Secret Discovery Service. */
export interface SdsCounters {
  /** A response was sent. */
  sent(kind: SdsKind): void;
  /** A proxy has taken what it was sent, or refused it. */
  answered(kind: SdsKind, answer: 'ack' | 'nack'): void;
}

/** What is connected now. */
export interface SdsReadings {
  readonly streams: number;
  readonly dataplanes: number;
}

export interface SdsSeries {
  readonly counters: SdsCounters;
  /** From the first time on all series stand there, with 0: an alert sees the first refusal. */
  set(readings: SdsReadings): void;
}

const KINDS = ['trust', 'identity'] as const;
type SdsKind = (typeof KINDS)[number];

export function createSdsSeries(registry: Registry): SdsSeries {
  const registers = [registry];
  const labelNames = ['kind'] as const;
  const responses = new Counter({
    name: 'mesh_ca_sds_responses_total',
    help: 'Secrets sent over SDS, by kind: trust (the roots of a mesh) or identity (certificate and key)',
    ...{ labelNames, registers },
  });
  const answers = new Counter({
    name: 'mesh_ca_sds_answers_total',
    help: 'What proxies answered to secrets over SDS, by kind and result: ack (taken) or nack (refused)',
    labelNames: [...labelNames, 'result'],
    registers,
  });
  const gauge = (name: string, help: string) => new Gauge({ name, help, labelNames: [], registers });
  const streams = gauge('mesh_ca_sds_streams', 'Open streams of the Secret Discovery Service');
  const dataplanes = gauge('mesh_ca_sds_dataplanes', 'Data planes with an open stream');
  // A gauge without labels stands at 0 by itself.
  for (const one of [streams, dataplanes]) one.remove();
  return {
    counters: {
      sent: (kind) => responses.inc({ kind }),
      answered: (kind, result) => answers.inc({ kind, result }),
    },
    set(readings) {
      for (const kind of KINDS) {
        responses.inc({ kind }, 0);
        for (const result of ['ack', 'nack']) answers.inc({ kind, result }, 0);
      }
      streams.set(readings.streams);
      dataplanes.set(readings.dataplanes);
    },
  };
}
