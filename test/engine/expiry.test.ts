/** Default workers that nobody saw for long: which go, and which somebody still waits for. */
import { expect, it } from 'vitest';
import { createYard } from '../support/engine.ts';

it('a default worker unseen for a week goes, unless a run that has not ended is pinned to it', () => {
  const yard = createYard();
  const [plain, pinned] = [yard.hello(), yard.hello()];
  const runId = yard.submit({ sticky: 'HARD', pinToWorkerId: pinned.workerId, scheduleTimeoutMs: 0, action: 'paint' });
  for (const worker of [plain, pinned]) worker.goodbye();
  yard.advance(yard.times.defaultWorkerKeptMs + 1);
  expect(yard.take({ kind: 'expire_workers' })).toEqual({ expired: 1 });
  expect([...yard.engine.state.workers.keys()]).toEqual([pinned.workerId]);
  expect(yard.step(runId).state).toBe('PENDING');
  yard.take({ kind: 'cancel_run', namespace: 'default', runId, mode: 'ANY', reason: '', stepName: '' });
  expect(yard.take({ kind: 'expire_workers' })).toEqual({ expired: 1 });
});
