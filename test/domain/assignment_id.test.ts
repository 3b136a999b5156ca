import { expect, it } from 'vitest';
import { assignmentIdFor, runIdsOf } from '../../src/domain/assignment_id.ts';
import { systemIds } from '../../src/lib/random.ts';

const ids = systemIds();

it('an assignment id says where its run is, and is another one each time', () => {
  const made = new Set<string>();
  for (let count = 0; count < 1_000; count++) {
    const runId = ids.orderedId();
    const assignmentId = assignmentIdFor(runId, ids.randomId());
    made.add(assignmentId);
    const range = runIdsOf(assignmentId);
    expect(range?.from.localeCompare(runId)).toBeLessThanOrEqual(0);
    expect(range?.to.localeCompare(runId)).toBeGreaterThanOrEqual(0);
    expect(assignmentIdFor(runId, ids.randomId())).not.toBe(assignmentId);
  }
  expect(made.size).toBe(1_000);
});

it('ids of another make are taken as they are', () => {
  const random = ids.randomId();
  expect(assignmentIdFor('run-1', random)).toBe(random);
  expect(assignmentIdFor(ids.orderedId(), 'random-1')).toBe('random-1');
  expect(runIdsOf(random)).toBeNull();
  expect(runIdsOf('no id at all')).toBeNull();
});
