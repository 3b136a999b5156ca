/** Runs of the benchmarks, submitted by the client. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AdminClient, admin as wire } from '../../src/client/index.ts';

export type RunRequest = MessageInitShape<typeof wire.ScheduleRunRequestSchema>;

export interface RunOptions {
  /** A required label. */
  readonly label?: { readonly key: string; readonly value: number };
  /** Waits for as long as the benchmark takes: by default a run that nobody takes times out after five minutes. */
  readonly patient?: boolean;
}

const INPUT = '{"file":"s3://a"}';
const BATCH = 1_000;

export function runOf(action: string, { label, patient = false }: RunOptions = {}): RunRequest {
  const desired = label && { key: label.key, value: { kind: { case: 'numberValue' as const, value: label.value } } };
  return {
    what: { case: 'step', value: { action } },
    inputJson: INPUT,
    ...(desired ? { desiredLabels: [desired] } : {}),
    ...(patient ? { scheduleTimeout: { seconds: 0n } } : {}),
  };
}

/** As many as asked for, in batches of 1 000, some of them at once. */
export async function submitRuns(
  admin: AdminClient,
  count: number,
  runAt: (index: number) => RunRequest,
  inFlight = 4,
): Promise<void> {
  const batches = Math.ceil(count / BATCH);
  await manyAtOnce(batches, inFlight, async (batch) => {
    const from = batch * BATCH;
    const length = Math.min(BATCH, count - from);
    await admin.scheduleRuns({ runs: Array.from({ length }, (_, index) => runAt(from + index)) });
  });
}

/** Calls `work` for 0, 1, … count - 1, so many at once. */
export async function manyAtOnce(
  count: number,
  inFlight: number,
  work: (index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(inFlight, count) }, lane));
}
