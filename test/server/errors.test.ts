import type { DescMethod } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { AdminService } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { WorkerService } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { type RunRest, runOf, unique, useYard } from '../support/conformance.ts';
import { failureOf, pathOf } from '../support/conformance_calls.ts';

const yard = useYard();

const NOWHERE = { 'yardmaster-namespace': 'nowhere' };

it('every rpc is there: none answers UNIMPLEMENTED, whatever else it says to an empty request', async () => {
  const methods = [...AdminService.methods, ...WorkerService.methods];
  const ends = await Promise.all(methods.map(async (method) => [method.name, await firstWord(method)] as const));
  expect(ends.filter(([, code]) => code === status.UNIMPLEMENTED)).toEqual([]);
  // None was left without an answer, and many know what to say to nobody in particular.
  expect(ends.filter(([, code]) => code === status.OK).length).toBeGreaterThan(5);
});

/** The status that a call with an empty request ends with; OK as soon as anything is answered. */
function firstWord(method: DescMethod): Promise<number> {
  return new Promise((resolve) => {
    const call = yard.client.makeBidiStreamRequest(
      pathOf(method),
      (bytes: Buffer) => bytes,
      (bytes) => bytes,
    );
    call.on('data', () => {
      resolve(status.OK);
      call.cancel();
    });
    call.on('error', () => {});
    call.on('status', ({ code }) => resolve(code));
    call.write(Buffer.alloc(0));
    call.end();
  });
}

describe('errors', () => {
  it('an unknown namespace is NOT_FOUND everywhere', async () => {
    const { admin, workers } = yard;
    const runId = await yard.submit({ action: unique('here') });
    const calls = [
      admin.registerWorker({ name: 'worker' }, NOWHERE),
      admin.getWorker({ name: 'worker' }, NOWHERE),
      admin.listWorkers({}, NOWHERE),
      admin.drainWorker({ workerId: 'w' }, NOWHERE),
      admin.scheduleRun(runOf({ action: 'a' }), NOWHERE),
      admin.scheduleRuns({ runs: [runOf({ action: 'a' })] }, NOWHERE),
      admin.getRun({ runId }, NOWHERE),
      admin.listRuns({}, NOWHERE),
      admin.cancelRun({ runId }, NOWHERE),
      admin.getStepLogs({ runId }, NOWHERE),
      admin.updateRun({ runId }, NOWHERE),
      admin.retryRun({ runId }, NOWHERE),
      admin.listEligibleRuns({ workerId: 'w' }, NOWHERE),
      admin.putWorkflow({ name: 'w', steps: [{ action: 'a' }] }, NOWHERE),
      admin.getWorkflow({ name: 'w' }, NOWHERE),
      admin.listWorkflows({}, NOWHERE),
      admin.getStats({}, NOWHERE),
      admin.getLeaderboard({}, NOWHERE),
      workers.getQueueDepth({}, NOWHERE),
    ].map(failureOf);
    for (const end of await Promise.all(calls))
      expect(end).toMatchObject({ code: status.NOT_FOUND, domain: 'yardmaster' });
    const stream = yard.open(NOWHERE);
    stream.send({ case: 'hello', value: { name: unique('worker') } });
    expect(await stream.ended).toMatchObject({ code: status.NOT_FOUND, reason: 'NAMESPACE_NOT_FOUND' });
    // Named or not, the default one is the same.
    const named = await admin.getRun({ runId }, { 'yardmaster-namespace': 'default' });
    expect(named.run?.namespace).toBe('default');
  });

  it('a bad field is named, with its limit and value', async () => {
    const { admin } = yard;
    const tags = Array.from({ length: 33 }, (_, index) => `t${index}`);
    const runs = Array.from({ length: 1_001 }, (_, index) => `run-${index}`);
    const plain = (rest: RunRest) => runOf({ action: 'a' }, rest);
    const cases: [call: Promise<unknown>, field: string, reason: string, shown: string][] = [
      [admin.scheduleRun({}), 'what', 'INVALID_FIELD', ''],
      [admin.scheduleRun(runOf({ action: '' })), 'step.action', 'INVALID_FIELD', ''],
      [admin.scheduleRun(runOf({ action: 'a' }, { runsOn: tags })), 'runs_on', 'LIMIT_EXCEEDED', '33'],
      [admin.scheduleRun(runOf({ action: 'a', needs: ['b'] })), 'step.needs', 'INVALID_FIELD', '"b"'],
      [
        admin.scheduleRun(runOf({ action: 'a', runsOn: tags.slice(0, 20) }, { runsOn: tags.slice(15, 33) })),
        'step.runs_on',
        'LIMIT_EXCEEDED',
        '33',
      ],
      [admin.scheduleRun(plain({ workflowVersion: 1 })), 'workflow_version', 'INVALID_FIELD', 'workflow'],
      [admin.scheduleRun(plain({ dependsOnRunIds: runs })), 'depends_on_run_ids', 'LIMIT_EXCEEDED', '1001'],
      [admin.scheduleRun(plain({ concurrency: { key: '' } })), 'concurrency.key', 'INVALID_FIELD', ''],
      [admin.scheduleRun(plain({ concurrency: { key: 'k'.repeat(129) } })), 'concurrency.key', 'LIMIT_EXCEEDED', '129'],
      [admin.scheduleRun(plain({ concurrency: { key: 'k', limit: 0 } })), 'concurrency.limit', 'INVALID_FIELD', ''],
      [admin.scheduleRun(runOf({ action: 'a' }, { inputJson: '{' })), 'input_json', 'INVALID_JSON', ''],
      [
        admin.scheduleRun(
          runOf({ action: 'a' }, { inputJson: '1', input: { kind: { case: 'boolValue', value: true } } }),
        ),
        'input_json',
        'INVALID_FIELD',
        '',
      ],
      [admin.scheduleRun(runOf({ action: 'a' }, { input: {} })), 'input', 'INVALID_FIELD', 'kind'],
      [
        admin.scheduleRun(runOf({ action: 'a' }, { input: { kind: { case: 'numberValue', value: Number.NaN } } })),
        'input',
        'INVALID_FIELD',
        'NaN',
      ],
      [admin.scheduleRun(runOf({ action: 'a\u0000' })), 'step.action', 'INVALID_FIELD', 'U+0000'],
      [admin.registerWorker({ name: 'x' }), 'name', 'INVALID_NAME', '"x"'],
      [admin.getWorker({}), '', 'INVALID_FIELD', ''],
      [admin.getRun({ workflow: 'w' }), 'number', 'INVALID_FIELD', ''],
      [admin.getRun({ runId: 'r', number: 1n }), 'number', 'INVALID_FIELD', ''],
      [admin.updateRun({ runId: 'r', runsOn: { tags } }), 'runs_on.tags', 'LIMIT_EXCEEDED', '33'],
      [admin.putNamespace({ namespace: { name: 'a b' } }), 'namespace.name', 'INVALID_NAME', '"a b"'],
      [admin.listWorkers({ tags: [''] }), 'tags', 'INVALID_FIELD', 'empty'],
    ];
    for (const [call, field, reason, shown] of cases) {
      const end = await failureOf(call);
      expect(end).toMatchObject({ code: status.INVALID_ARGUMENT, reason, domain: 'yardmaster' });
      expect(end.fields.map((violation) => violation.field)).toContain(field);
      expect(end.message).toContain(shown);
    }
  });

  it('a payload over the limit is refused, naming field, limit and value', async () => {
    const inputJson = `"${'x'.repeat(1024 * 1024)}"`;
    const end = await failureOf(yard.admin.scheduleRun(runOf({ action: 'a' }, { inputJson })));
    const metadata = { field: 'input_json', actual: String(inputJson.length), limit: String(1024 * 1024) };
    expect(end).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      reason: 'PAYLOAD_TOO_LARGE',
      metadata,
      fields: [{ field: 'input_json' }],
    });
  });
});
