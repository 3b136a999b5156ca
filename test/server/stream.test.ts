import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { EvictionReason } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { unique, useYard } from '../support/conformance.ts';
import type { Fact, WorkerStream } from '../support/conformance_stream.ts';

const yard = useYard();

const UPSERT: Fact = { case: 'upsertLabels', value: { labels: { memory: 1 } } };

async function holding(metadata: Record<string, string> = {}) {
  const action = unique('stream');
  const worker = await yard.connect({ actions: [action] });
  const runId = await yard.submit({ action }, { metadata });
  const offer = await worker.take();
  await worker.settled(worker.sequence);
  return { worker, runId, offer };
}

/** Every refused came no later than the acknowledgement that covers it, and acknowledgements never went back. */
function expectOrder({ received }: WorkerStream): void {
  let acknowledged = 0n;
  for (const response of received) {
    expect(response.acknowledged).toBeGreaterThanOrEqual(acknowledged);
    if (response.message.case === 'refused' && response.message.value.sequence > 0n) {
      expect(acknowledged).toBeLessThan(response.message.value.sequence);
    }
    acknowledged = response.acknowledged;
  }
}

describe('a stream', () => {
  it('welcomes with what the worker has to know', async () => {
    const worker = await yard.connect({
      tags: ['gpu'],
      labels: { memory: 256 },
      slots: 3,
      nickname: 'bob',
      sdk: { name: 'test', version: '1' },
    });
    const { welcome } = worker;
    expect(welcome).toMatchObject({
      namespace: 'default',
      tags: ['gpu'],
      labelsRevision: 1n,
      heartbeatInterval: { seconds: 5n },
      silenceTimeout: { seconds: 15n },
      reconnectGrace: { seconds: 30n },
      acceptTimeout: { seconds: 10n },
      limits: {
        messageBytes: 4 * 1024 * 1024,
        payloadBytes: 1024 * 1024,
        progressTextCharacters: 255,
        logLinesPerSecond: 1_000,
      },
    });
    expect(welcome.displayName).toMatch(/^[a-z]+-[a-z]+-[0-9]+$/);
    // 128 random bits, and never shown again.
    expect(welcome.sessionId.length).toBeGreaterThanOrEqual(22);
    const shown = await yard.worker(worker.workerId);
    expect(shown).toMatchObject({ slots: 3, slotsUsed: 0, nickname: 'bob', sdk: { name: 'test' }, notReadyReason: '' });
    expect(JSON.stringify(shown, (_, value) => (typeof value === 'bigint' ? String(value) : value))).not.toContain(
      welcome.sessionId,
    );
  });

  it.each([
    ['a number twice', [1, 1]],
    ['a gap', [1, 3]],
    ['no number', [0]],
    ['a first number that is not 1', [2]],
  ])('ends with INVALID_ARGUMENT at %s', async (_, sequences) => {
    const worker = await yard.connect();
    for (const sequence of sequences) worker.sendAs(sequence, UPSERT);
    expect(await worker.ended).toMatchObject({
      code: status.INVALID_ARGUMENT,
      reason: 'INVALID_SEQUENCE',
      domain: 'yardmaster',
    });
  });

  it('ends with INVALID_ARGUMENT when a heartbeat carries a number', async () => {
    const worker = await yard.connect();
    worker.sendAs(1, { case: 'heartbeat', value: {} });
    expect(await worker.ended).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'INVALID_SEQUENCE' });
  });

  it('answers a heartbeat with its send time and its own clock', async () => {
    const worker = await yard.connect();
    const sendTime = { seconds: 1_700_000_000n, nanos: 123_456_789 };
    worker.send({ case: 'heartbeat', value: { sendTime } });
    const answer = await worker.next('heartbeat');
    expect(answer.sendTime).toMatchObject(sendTime);
    expect(Number(answer.serverTime?.seconds)).toBeGreaterThan(1_700_000_000);
    worker.send({ case: 'heartbeat', value: {} });
    expect((await worker.next('heartbeat')).sendTime).toBeUndefined();
    expect(worker.acknowledged).toBe(0);
  });

  it('acknowledges in order, whatever is stored where', async () => {
    const { worker, runId, offer } = await holding();
    // Logs are stored elsewhere than facts: what is settled early waits for what came before it.
    const settledLast = [];
    for (let number = 1; number <= 20; number++) {
      settledLast.push(worker.logLines(offer, number, [{ text: `line ${number}` }]));
      settledLast.push(worker.send({ case: 'slotsChanged', value: { slots: number } }));
    }
    const last = worker.succeed(offer);
    await worker.settled(last);
    expectOrder(worker);
    expect(settledLast.at(-1)).toBe(last - 1);
    expect((await yard.admin.getStepLogs({ runId })).lines).toHaveLength(20);
    expect(await yard.runState(runId)).toBe('SUCCEEDED');
  });

  it('refuses before or with the acknowledgement that covers it', async () => {
    const { worker, offer } = await holding();
    const stale = { assignmentId: 'gone' };
    const sent: number[] = [];
    for (let round = 0; round < 10; round++) {
      sent.push(worker.accept(stale));
      worker.logLines(offer, round + 1, [{ text: 'x' }]);
      sent.push(worker.succeed(stale));
    }
    await worker.settled(worker.sequence);
    const refused = worker.unread('refused');
    expect(refused.map(({ sequence }) => Number(sequence)).sort((a, b) => a - b)).toEqual(sent);
    for (const { reason, code, message } of refused) {
      expect({ reason, code }).toEqual({ reason: 'STALE_ASSIGNMENT', code: status.FAILED_PRECONDITION });
      expect(message).toContain('gone');
    }
    expectOrder(worker);
  });

  it('takes a result once: again it changes nothing, another end is refused', async () => {
    const { worker, runId, offer } = await holding();
    await worker.settled(worker.succeed(offer, 1));
    await worker.settled(worker.succeed(offer, 2));
    expect(worker.unread('refused')).toEqual([]);
    const other = worker.fail(offer);
    expect(await worker.next('refused')).toMatchObject({ sequence: BigInt(other), reason: 'STALE_ASSIGNMENT' });
    expect(await yard.run(runId)).toMatchObject({ outputJson: '1' });
    expect((await yard.worker(worker.workerId)).completedCount).toBe(1n);
  });

  it('refuses an output over the limit and leaves the step RUNNING', async () => {
    const { worker, runId, offer } = await holding();
    const sequence = worker.succeed(offer, 'x'.repeat(1024 * 1024));
    expect(await worker.next('refused')).toMatchObject({
      sequence: BigInt(sequence),
      code: status.RESOURCE_EXHAUSTED,
      reason: 'PAYLOAD_TOO_LARGE',
      metadata: { field: 'step_succeeded.output_json', limit: String(1024 * 1024) },
    });
    await worker.settled(sequence);
    expect(await yard.stepState(runId)).toBe('RUNNING');
    const { assignmentId } = offer;
    await worker.settled(
      worker.send({
        case: 'stepFailed',
        value: { assignmentId, error: { reason: 'RESULT_REFUSED', message: 'too large' } },
      }),
    );
    expect(await yard.run(runId)).toMatchObject({ error: { reason: 'RESULT_REFUSED', message: 'too large' } });
  });

  it('hands over metadata, input and times as they were submitted', async () => {
    const action = unique('stream');
    const worker = await yard.connect({ actions: [action] });
    const metadata = { team: 'a', 'owner key': 'ünïcode 😀', empty: '' };
    const inputJson = '{ "b": 1.0, "a": 12345678901234567890 }';
    const runId = await yard.submit(
      { action, name: 'first' },
      { metadata, inputJson, executionTimeout: { seconds: 90n } },
    );
    const offer = await worker.take();
    expect(offer).toMatchObject({ runId, action, stepName: 'first', inputJson, executionTimeout: { seconds: 90n } });
    expect(offer.metadata).toEqual(metadata);
    const run = await yard.run(runId);
    expect(run.metadata).toEqual(metadata);
    expect(run.inputJson).toBe(inputJson);
  });

  it('shows progress as it comes, the last one wins, and cuts what is too long', async () => {
    const { worker, runId, offer } = await holding();
    const { assignmentId } = offer;
    worker.send({ case: 'stepProgressed', value: { assignmentId, text: 'half', fraction: 0.5, phase: 'load' } });
    worker.send({
      case: 'stepProgressed',
      value: { assignmentId, text: 'p'.repeat(300), fraction: 1, phase: 'train' },
    });
    await worker.heartbeat();
    const step = await yard.step(runId);
    expect(step).toMatchObject({ progressText: 'p'.repeat(255), progressFraction: 1, progressPhase: 'train' });
    const [held] = (await yard.worker(worker.workerId)).assignments;
    expect(held).toMatchObject({ assignmentId, runId, progressFraction: 1 });
    worker.send({ case: 'stepProgressed', value: { assignmentId, fraction: Number.NaN } });
    expect(await worker.next('refused')).toMatchObject({ sequence: 0n, code: status.INVALID_ARGUMENT });
  });

  it('a newer process of the same name evicts the older one, whose word counts no more', async () => {
    const { worker, runId, offer } = await holding();
    const { name } = worker.welcome;
    const newer = await yard.connect({ name });
    expect(newer.workerId).toBe(worker.workerId);
    expect(await worker.next('evicted')).toMatchObject({ reason: EvictionReason.SUPERSEDED });
    await worker.ended;
    const late = newer.succeed(offer);
    expect(await newer.next('refused')).toMatchObject({ sequence: BigInt(late), reason: 'STALE_ASSIGNMENT' });
    expect(await yard.stepState(runId)).toBe('PENDING');
  });
});
