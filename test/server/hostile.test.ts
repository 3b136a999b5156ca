import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Value, ValueSchema } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { CancelMode, ScheduleRunRequestSchema } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { type RunRest, runOf, unique, useYard } from '../support/conformance.ts';
import { type EndStatus, endStatus, failureOf } from '../support/conformance_calls.ts';
import { desired } from '../support/conformance_labels.ts';

const yard = useYard();

/** 10 000 years, the longest Duration there is. */
const LONGEST = { seconds: 315_576_000_000n };

/** What a request of these very bytes ends with. */
function sendRaw(method: string, bytes: Buffer): Promise<EndStatus> {
  return new Promise((resolve) => {
    const path = `/yardmaster.v1.AdminService/${method}`;
    const same = (sent: Buffer) => sent;
    yard.client.makeUnaryRequest(path, same, same, bytes, (error) => resolve(endStatus(error ?? { code: status.OK })));
  });
}

/** The server still decides and stores. */
async function expectAlive(): Promise<void> {
  const action = unique('alive');
  const worker = await yard.connect({ actions: [action] });
  const runId = await yard.submit({ action });
  await worker.work();
  expect(await yard.runState(runId)).toBe('SUCCEEDED');
}

describe('texts that a store or a header cannot carry', () => {
  it('a reason with U+0000 is refused before it gets anywhere near the store', async () => {
    const action = unique('nul');
    const worker = await yard.connect({ actions: [action] });
    const [running, waiting] = [await yard.submit({ action }), await yard.submit({ action })];
    await worker.take();
    const reason = 'a\u0000b';
    const refused = { code: status.INVALID_ARGUMENT, reason: 'INVALID_FIELD', fields: [{ field: 'reason' }] };
    for (const runId of [running, waiting]) {
      expect(await failureOf(yard.admin.cancelRun({ runId, mode: CancelMode.ANY, reason }))).toMatchObject(refused);
    }
    expect(await failureOf(yard.admin.drainWorker({ workerId: worker.workerId, reason }))).toMatchObject(refused);
    await yard.quiet(worker);
    expect([...worker.unread('cancelStep'), ...worker.unread('drain')]).toEqual([]);
    expect([await yard.stepState(running), await yard.stepState(waiting)]).toEqual(['RUNNING', 'PENDING']);
    await expectAlive();
  });

  it('a text that is cut for a message is not cut inside a character', async () => {
    // The shown part ends after 40 units: in the middle of the pair.
    const key = `${'k'.repeat(39)}😀${'k'.repeat(40)}`;
    const end = await failureOf(yard.submit({ action: 'cut', desiredLabels: [desired(key, 'LESS_THAN', 'x')] }));
    expect(end).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'INVALID_LABEL' });
    const operand = await failureOf(yard.submit({ action: 'cut', desiredLabels: [desired('key', 'LESS_THAN', key)] }));
    expect(operand).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'INVALID_LABEL' });
    const token = await failureOf(yard.admin.listWorkers({ pageToken: key }));
    expect(token).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'INVALID_PAGE_TOKEN' });
    await expectAlive();
  });

  it('progress and failures that are cut inside a character are stored', async () => {
    const action = unique('cut');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action });
    const { assignmentId } = await worker.take();
    worker.send({ case: 'stepProgressed', value: { assignmentId, text: `${'p'.repeat(254)}😀 and more\u0000` } });
    const message = `${'m'.repeat(16_383)}😀`;
    await worker.settled(
      worker.send({
        case: 'stepFailed',
        value: { assignmentId, error: { message, type: 'T\u0000', stack: '\u0000' } },
      }),
    );
    const step = await yard.step(runId);
    expect(step.error?.message.slice(0, 16_383)).toBe('m'.repeat(16_383));
    expect(step.error?.type).toBe('T\ufffd');
    await expectAlive();
  });

  it('a filter with U+0000 is refused, naming it', async () => {
    for (const filter of [{ action: 'a\u0000b' }, { metadata: { 'a\u0000b': 'c' } }, { metadata: { a: 'b\u0000c' } }]) {
      expect(await failureOf(yard.admin.listRuns(filter))).toMatchObject({
        code: status.INVALID_ARGUMENT,
        reason: 'INVALID_FIELD',
      });
    }
  });

  it('a refusal fits into the headers it travels in, however much there is to name', async () => {
    const broken = { runs: Array.from({ length: 1_000 }, () => ({ metadata: { [`k${'ä'.repeat(400)}`]: 'v' } })) };
    const batch = await failureOf(yard.admin.scheduleRuns(broken));
    expect(batch).toMatchObject({ code: status.INVALID_ARGUMENT, domain: 'yardmaster' });
    expect(batch.fields[0]?.field).toBe('runs[0].what');

    const name = unique('worker');
    const tags = (prefix: string) => Array.from({ length: 64 }, (_, index) => `${prefix}${index}-`.padEnd(256, 'x'));
    await yard.admin.registerWorker({ name, tags: tags('a') });
    const stream = yard.open();
    stream.send({ case: 'hello', value: { name, tags: tags('b') } });
    const end = await stream.ended;
    expect(end).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'TAGS_DIFFER' });
    for (const tag of ['a0-', 'b0-']) expect(end.message).toContain(tag);
  });
});

describe('numbers and times beyond what can be stored', () => {
  it('log lines of any time and number do not stop the log', async () => {
    const action = unique('log');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action });
    const { assignmentId } = await worker.take();
    const times = [10n ** 18n, -(10n ** 18n), 253_402_300_799n, -62_135_596_800n];
    const lines = times.map((seconds) => ({ text: 'odd', time: { seconds, nanos: 0 } }));
    worker.send({ case: 'stepLogged', value: { assignmentId, firstLineNumber: 1n, lines } });
    worker.send({ case: 'stepLogged', value: { assignmentId, firstLineNumber: 2n ** 63n, lines: [{ text: 'far' }] } });
    const fine = worker.send({
      case: 'stepLogged',
      value: { assignmentId, firstLineNumber: 5n, lines: [{ text: 'fine' }] },
    });
    await worker.settled(fine);
    const { lines: stored } = await yard.admin.getStepLogs({ runId });
    expect(stored.map(({ line }) => line?.text)).toContain('fine');
  });

  it('the longest timeouts are as good as none', async () => {
    const action = unique('long');
    const step = {
      action,
      scheduleTimeout: LONGEST,
      executionTimeout: LONGEST,
      progressTimeout: LONGEST,
      reconnectGrace: LONGEST,
      retry: { maxAttempts: 4_294_967_295, initialBackoff: LONGEST, backoffFactor: 1_000_000, maxBackoff: LONGEST },
    };
    const runId = await yard.submit(step);
    expect(await yard.stepState(runId)).toBe('PENDING');
    const worker = await yard.connect({ actions: [action] });
    const offer = await worker.take();
    await yard.quiet(worker);
    expect(await yard.stepState(runId)).toBe('RUNNING');
    await worker.settled(worker.fail(offer));
    expect(await yard.step(runId)).toMatchObject({ blockedReason: 'BACKING_OFF' });
    await expectAlive();
  });

  it('a range of times or a token that nobody could have made is refused or empty, never an internal error', async () => {
    const far = await yard.admin.listRuns({ anyState: true, createTimeFrom: { seconds: 253_402_300_799n } });
    expect(far.runs).toEqual([]);
    for (const seconds of [10n ** 18n, -(10n ** 18n)]) {
      const from = await failureOf(yard.admin.listRuns({ anyState: true, createTimeFrom: { seconds } }));
      expect(from).toMatchObject({ code: status.INVALID_ARGUMENT, fields: [{ field: 'create_time_from' }] });
      const to = await failureOf(yard.admin.listRuns({ anyState: true, createTimeTo: { seconds } }));
      expect(to).toMatchObject({ code: status.INVALID_ARGUMENT, fields: [{ field: 'create_time_to' }] });
    }
    const runId = await yard.submit({ action: unique('token') });
    const forge = (list: string, after: string) => Buffer.from(JSON.stringify([list, after])).toString('base64url');
    const calls = [
      () => yard.admin.listRuns({ pageToken: forge('runs', 'not an id') }),
      () => yard.admin.listRuns({ pageToken: forge('workers', '1') }),
      () => yard.admin.listWorkers({ pageToken: forge('workers', 'x') }),
      () => yard.admin.getStepLogs({ runId, pageToken: forge('logs', 'x') }),
      () => yard.admin.getStepLogs({ runId, pageToken: forge('logs', '1e99') }),
      () => yard.admin.listRuns({ pageToken: 'not a token' }),
    ];
    for (const call of calls) {
      expect(await failureOf(call())).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'INVALID_PAGE_TOKEN' });
    }
  });

  it('an input nested too deeply is refused, naming the path; the deepest allowed is taken', async () => {
    const action = unique('deep');
    const nested = (levels: number): MessageInitShape<typeof ValueSchema> => {
      let value: Value = create(ValueSchema, { kind: { case: 'boolValue', value: true } });
      for (let level = 0; level < levels; level++) {
        value = create(ValueSchema, { kind: { case: 'listValue', value: { values: [value] } } });
      }
      return value;
    };
    const runId = await yard.submit({ action }, { input: nested(64) });
    expect((await yard.run(runId)).inputJson).toBe(`${'['.repeat(64)}true${']'.repeat(64)}`);
    const end = await failureOf(yard.submit({ action }, { input: nested(65) }));
    expect(end).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'LIMIT_EXCEEDED' });
    expect(end.fields[0]?.field).toMatch(/^input\[0\]\[0\]/);
  });

  it('a key that would vanish in decoding is refused, not lost', async () => {
    const action = unique('proto');
    const fields = { '--proto--': { kind: { case: 'structValue', value: { fields: {} } } } } as const;
    const input: RunRest['input'] = { kind: { case: 'structValue', value: { fields } } };
    const request = toBinary(ScheduleRunRequestSchema, create(ScheduleRunRequestSchema, runOf({ action }, { input })));
    // Of the same length, so that the bytes around it stay right.
    const renamed = Buffer.from(Buffer.from(request).toString('latin1').replace('--proto--', '__proto__'), 'latin1');
    expect(await sendRaw('ScheduleRun', renamed)).toMatchObject({
      code: status.INVALID_ARGUMENT,
      fields: [{ field: 'input.__proto__' }],
    });
    expect(await yard.pending(action)).toBe(0);
  });

  it('a request whose bytes are no message is refused and hurts nobody', async () => {
    const end = await sendRaw('GetRun', Buffer.from([0x0a, 0xff]));
    expect([status.INTERNAL, status.INVALID_ARGUMENT]).toContain(end.code);
    await expectAlive();
  });

  it('a batch over the limit is refused by number', async () => {
    const runs = Array.from({ length: 1_001 }, () => runOf({ action: 'many' }));
    expect(await failureOf(yard.admin.scheduleRuns({ runs }))).toMatchObject({ code: status.INVALID_ARGUMENT });
  });
});
