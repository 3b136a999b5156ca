/** A step in words that were read before is not read again: neither what it means nor a digest may differ for that. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { ScheduleRunRequestSchema } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { StepDefinitionSchema } from '../../gen/yardmaster/v1/run_pb.ts';
import { DEFAULT_LIMITS } from '../../src/domain/limits.ts';
import { isRefusal } from '../../src/domain/refusal.ts';
import { definitionJson, readKnownStep } from '../../src/server/convert/known_steps.ts';
import { readScheduleRun } from '../../src/server/convert/schedule.ts';
import { readStep } from '../../src/server/convert/step.ts';

type Step = MessageInitShape<typeof StepDefinitionSchema>;

const read = (step: Step, limits = DEFAULT_LIMITS) =>
  readKnownStep('step.', create(StepDefinitionSchema, step), limits);

it('the same words give the same object', () => {
  const step = { action: 'once', runsOn: ['b', 'a'], retry: { maxAttempts: 3 }, scheduleTimeout: { seconds: 1n } };
  expect(read(step)).toBe(read(step));
});

it('any other word is read', () => {
  const steps: Step[] = [
    {},
    { name: 'n' },
    { runsOn: ['a'] },
    { runsOn: ['a', 'b'] },
    { runsOn: ['b', 'a', 'c'] },
    { needs: ['a'] },
    { desiredLabels: [{ key: 'gpu', weight: 1 }] },
    { desiredLabels: [{ key: 'gpu', weight: 2 }] },
    { desiredLabels: [{ key: 'gpu', value: { kind: { case: 'stringValue', value: '1' } } }] },
    { desiredLabels: [{ key: 'gpu', value: { kind: { case: 'numberValue', value: 1 } } }] },
    { retry: {} },
    { retry: { maxAttempts: 2 } },
    { retry: { maxWorkerLosses: 2 } },
    { scheduleTimeout: {} },
    { scheduleTimeout: { seconds: 1n } },
    { scheduleTimeout: { nanos: 1_000_000 } },
    { executionTimeout: { seconds: 1n } },
    { device: 1 },
    { maxInvalidReports: 0 },
    { maxInvalidReports: 1 },
  ];
  for (const first of steps)
    for (const second of steps) {
      read({ action: 'two', ...first });
      const definition = read({ action: 'two', ...second });
      const expected = readStep('step.', create(StepDefinitionSchema, { action: 'two', ...second }), DEFAULT_LIMITS);
      expect(definition).toStrictEqual(expected);
      if (!isRefusal(definition)) expect(definitionJson(definition)).toBe(JSON.stringify(expected));
    }
});

it('other limits are looked at, and a refusal names the place it is asked at', () => {
  const step = { action: 'limited', runsOn: ['a', 'b'] };
  expect(isRefusal(read(step))).toBe(false);
  const refused = [0, 1].map((index) =>
    readKnownStep(`runs[${index}].step.`, create(StepDefinitionSchema, step), { ...DEFAULT_LIMITS, runsOnMax: 1 }),
  );
  expect(refused).toMatchObject([
    { fields: [{ field: 'runs[0].step.runs_on' }] },
    { fields: [{ field: 'runs[1].step.runs_on' }] },
  ]);
});

/** Digests are stored: a request that is repeated after an update of the server must have the one it had. */
it('digests are what they were', () => {
  const step: MessageInitShape<typeof ScheduleRunRequestSchema> = {
    what: { case: 'step', value: { action: 'encode', runsOn: ['gpu'], retry: { maxAttempts: 3 } } },
    inputJson: '{"a":1}',
    metadata: { team: 'video' },
    scheduleTimeout: { seconds: 90n },
    requestId: 'once',
  };
  const workflow: MessageInitShape<typeof ScheduleRunRequestSchema> = {
    what: { case: 'workflow', value: 'film' },
    workflowVersion: 2,
    inputJson: '[]',
    requestId: 'once',
  };
  const dedupe = { ...step, dedupe: true, hashExclude: ['b', 'a'] };
  const requests = [step, step, workflow, dedupe].map((request) =>
    readScheduleRun('', 'default', create(ScheduleRunRequestSchema, request), DEFAULT_LIMITS),
  );
  expect(requests).toMatchObject([
    { requestDigest: '8abefe055ba27b6febbffe5b7967a8de9f33406c40a7ce3f5a4a175e672c9941' },
    { requestDigest: '8abefe055ba27b6febbffe5b7967a8de9f33406c40a7ce3f5a4a175e672c9941' },
    { requestDigest: '6e77e7ee9c7147e8cad20ed2a578e83b3fe174783b62893356e493a715c9fc63' },
    { requestDigest: '5a793d3db4a9ac65168127b410f5ac3c856794a4043bd9c602b9dc0a1fd70b8a' },
  ]);
});
