/** A worker that does not read holds up nobody. */
import { expect, it } from 'vitest';
import { unique, until, useYard } from '../support/conformance.ts';
import type { WorkerStream } from '../support/conformance_stream.ts';

// Nothing here is to be taken away by a deadline.
const yard = useYard({
  times: { acceptTimeoutMs: 600_000, silenceTimeoutMs: 600_000, reconnectGraceMs: 600_000 },
});

const RUNS = 150;
const INPUT = JSON.stringify('x'.repeat(64 * 1024));

it('a stream that is not read gets nothing more, and what did not leave goes to somebody else', async () => {
  const action = unique('unread');
  const deaf = await yard.connect({ actions: [action], slots: RUNS });
  deaf.stopReading();
  const runIds: string[] = [];
  for (let count = 0; count < RUNS; count++) runIds.push(await yard.submit({ action }, { inputJson: INPUT }));
  await until(
    async () => (await yard.worker(deaf.workerId)).notReadyReason === 'BACK_PRESSURE',
    'its stream was found to be full',
  );
  await until(async () => (await yard.pending(action)) > 0, 'what had not left was withdrawn');

  const other = await yard.connect({ actions: [action], slots: RUNS });
  await until(async () => (await yard.pending(action)) === 0, 'somebody else has it');
  await yard.quiet(other);
  expect(other.unread('runStep')).not.toEqual([]);

  // What had left is still the first one's, once it reads.
  deaf.readAgain();
  await until(async () => (await yard.worker(deaf.workerId)).notReadyReason === '', 'it reads');
  // One that left while it was being withdrawn is followed by its cancel.
  const kept = (stream: WorkerStream) => {
    const cancelled = new Set(stream.unread('cancelStep').map(({ assignmentId }) => assignmentId));
    return stream.unread('runStep').filter(({ assignmentId }) => !cancelled.has(assignmentId));
  };
  const delivered = () => [...kept(deaf), ...kept(other)].map(({ runId }) => runId);
  await until(async () => delivered().length >= RUNS, 'everything was delivered');
  await yard.quiet(deaf, other);
  expect(delivered().sort()).toEqual([...runIds].sort());
  // No place is kept for what it never heard of.
  expect((await yard.worker(deaf.workerId)).slotsUsed).toBe(deaf.unread('runStep').length);
});
