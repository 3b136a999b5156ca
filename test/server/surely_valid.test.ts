/** The fast half of validation must never be kinder than the validator, nor leave it the usual messages. */
import { create, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import { createValidator } from '@bufbuild/protovalidate';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  GetRunRequestSchema,
  PutNamespaceRequestSchema,
  ScheduleRunRequestSchema,
} from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { ConnectRequestSchema } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { isSurelyValid } from '../../src/server/surely_valid.ts';

const validator = createValidator();
const isValid = (schema: DescMessage, message: MessageInitShape<DescMessage>) =>
  validator.validate(schema, create(schema, message)).kind === 'valid';

/** Around every limit of the contract; a character of two units counts once. */
const usually = <T>(usual: fc.Arbitrary<T>, rare: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 30, arbitrary: usual }, { weight: 1, arbitrary: rare });
const LENGTHS = [0, 127, 128, 129, 512, 1_023, 1_024, 1_025, 4_096, 4_097, 65_537];
const text = usually(
  fc.constantFrom('a', 'ab', 'é', '🚂'),
  fc
    .tuple(fc.constantFrom('a', '🚂'), fc.constantFrom(...LENGTHS))
    .map(([character, length]) => character.repeat(length)),
);
const duration = fc.record({
  seconds: usually(fc.constantFrom(0n, 1n), fc.constantFrom(-1n, 315_576_000_000n, 315_576_000_001n)),
  nanos: usually(fc.constantFrom(0, 1, 999_999_999), fc.constantFrom(-1, 1_000_000_000)),
});
const number = usually(fc.constantFrom(0, 1, 2), fc.constantFrom(-1, 3, 4, 5, 10, 1_000, 1_000_000));
const texts = usually(
  fc.array(text, { maxLength: 3 }),
  fc.constantFrom(1_000, 1_024, 1_025).map((length) => Array<string>(length).fill('a')),
);
const label = fc.record({ key: text, comparator: number, weight: number }, { requiredKeys: [] });
const retry = fc.record(
  {
    maxAttempts: number,
    initialBackoff: duration,
    backoffFactor: usually(fc.constantFrom(1, 2), fc.constantFrom(0, 0.5, Number.NaN, 1e9)),
  },
  { requiredKeys: [] },
);
const step = fc.record(
  {
    name: text,
    action: text,
    needs: texts,
    runsOn: texts,
    desiredLabels: fc.array(label, { maxLength: 2 }),
    executionTimeout: duration,
    retry,
    device: number,
  },
  { requiredKeys: [] },
);
const what = fc.oneof(
  { weight: 1, arbitrary: fc.constant({ case: undefined }) },
  { weight: 9, arbitrary: fc.record({ case: fc.constant('workflow' as const), value: text }) },
  { weight: 20, arbitrary: fc.record({ case: fc.constant('step' as const), value: step }) },
);
const request = fc.record(
  {
    what,
    workflowVersion: usually(fc.constant(1), fc.constant(0)),
    inputJson: text,
    runsOn: texts,
    desiredLabels: fc.array(label, { maxLength: 2 }),
    priority: number,
    sticky: number,
    scheduleTimeout: duration,
    contentHash: text,
    hashExclude: texts,
    dependsOnRunIds: texts,
    concurrency: fc.record({ key: text, limit: number }, { requiredKeys: [] }),
    pinToWorkerId: text,
    metadata: fc.dictionary(text, text, { maxKeys: 3 }),
    requestId: text,
  },
  { requiredKeys: ['what'] },
);

it('says of no submission that it is valid that the validator refuses, and leaves it few that it takes', () => {
  let valid = 0;
  let sure = 0;
  fc.assert(
    fc.property(request, (fields) => {
      const message = create(ScheduleRunRequestSchema, fields as MessageInitShape<typeof ScheduleRunRequestSchema>);
      const isSure = isSurelyValid(ScheduleRunRequestSchema, message);
      const isIndeedValid = validator.validate(ScheduleRunRequestSchema, message).kind === 'valid';
      expect(isSure && !isIndeedValid).toBe(false);
      valid += Number(isIndeedValid);
      sure += Number(isSure);
    }),
    { numRuns: 1_500 },
  );
  expect(valid).toBeGreaterThan(100);
  expect(sure).toBeGreaterThan(valid / 2);
});

it.each<[string, DescMessage, MessageInitShape<DescMessage>]>([
  [
    'a submission',
    ScheduleRunRequestSchema,
    {
      what: { case: 'step', value: { action: 'build' } },
      inputJson: '{}',
      scheduleTimeout: { seconds: 0n },
      desiredLabels: [{ key: 'group', value: { kind: { case: 'numberValue', value: 1 } } }],
      metadata: { team: 'a' },
    } as never,
  ],
  ['an acceptance', ConnectRequestSchema, acceptance('019ab6f4-0000-7000-8000-000000000000')],
])('knows %s for valid', (_, schema, fields) => {
  expect([isSurelyValid(schema, create(schema, fields)), isValid(schema, fields)]).toEqual([true, true]);
});

it.each<[string, DescMessage, MessageInitShape<DescMessage>]>([
  ['an acceptance of nothing', ConnectRequestSchema, acceptance('')],
  ['what has a rule of its own', GetRunRequestSchema, { runId: 'a' } as never],
  ['the absence of what is required', PutNamespaceRequestSchema, {}],
])('leaves %s to the validator', (_, schema, fields) => {
  expect(isSurelyValid(schema, create(schema, fields))).toBe(false);
});

function acceptance(assignmentId: string): MessageInitShape<DescMessage> {
  return { sequence: 1n, message: { case: 'stepAccepted', value: { assignmentId } } } as never;
}
