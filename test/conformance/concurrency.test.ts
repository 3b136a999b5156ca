import { describe, expect, it } from 'vitest';
import { Priority, RunState } from '../../gen/yardmaster/v1/run_pb.ts';
import { present, type RunRest, runOf, unique, useYard } from '../support/conformance.ts';
import {
  becomes,
  chain,
  connectIn,
  ended,
  ms,
  newNamespace,
  runFlow,
  states,
  stepNamed,
  stopped,
  timeGoesBy,
} from '../support/conformance_runs.ts';

// A returner gets the step again after a pause; here that pause outlasts every test, so that time decides nothing.
const yard = useYard({ times: { reofferPauseMs: 600_000, reofferPauseMsMax: 600_000 } });

function keyed(key: string, limit?: number): RunRest {
  return { concurrency: limit === undefined ? { key } : { key, limit } };
}

describe('concurrency', () => {
  it('O5 concurrency holds the second run of a key, not those behind it', async () => {
    const [action, key] = [unique('o5'), unique('dataset')];
    const worker = await yard.connect({ actions: [action], slots: 10 });
    const first = await yard.submit({ action }, keyed(key));
    const second = await yard.submit({ action }, keyed(key));
    const third = await yard.submit({ action }, keyed(key));
    const otherKey = await yard.submit({ action }, keyed(unique('dataset')));
    const keyless = await yard.submit({ action });
    const offers = [await worker.take(), await worker.take(), await worker.take()];
    expect(offers.map(({ runId }) => runId)).toEqual([first, otherKey, keyless]);
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    for (const held of [second, third]) {
      expect(await yard.stepState(held)).toBe('BLOCKED');
      expect((await yard.step(held)).blockedReason).toMatch(/^HELD/);
      expect(await yard.runState(held)).toBe('PENDING');
    }
    expect((await yard.run(second)).concurrency).toMatchObject({ key, limit: 1 });

    // What frees the place is the run's end, whatever the end; one place, one run.
    worker.succeed(present(offers[0]));
    const next = await worker.take();
    expect(next.runId).toBe(second);
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    worker.fail(next);
    expect((await worker.next('runStep')).runId).toBe(third);
  });

  it('O5 a run nobody can take does not block its key', async () => {
    const [action, key] = [unique('o5'), unique('dataset')];
    const worker = await yard.connect({ tags: ['cpu'], actions: [action], slots: 10 });
    const impossible = await yard.submit({ action }, { ...keyed(key), runsOn: ['gpu'] });
    const possible = await yard.submit({ action }, keyed(key));
    expect((await worker.next('runStep')).runId).toBe(possible);
    expect((await yard.step(impossible)).attempts).toEqual([]);
    expect(await yard.runState(impossible)).toBe('PENDING');
  });

  it('O5 a run nobody can take does not block its key in a free slot that comes later either', async () => {
    const [action, key] = [unique('o5'), unique('dataset')];
    const impossible = await yard.submit({ action }, { ...keyed(key), runsOn: ['gpu'] });
    const held = await yard.submit({ action }, keyed(key));
    const worker = await yard.connect({ tags: ['cpu'], actions: [action] });
    expect((await worker.take()).runId).toBe(held);
    // It is held only now; and goes when the place frees and somebody can take it.
    const gpu = await yard.connect({ tags: ['gpu'], actions: [action] });
    await yard.quiet(gpu);
    expect(gpu.unread('runStep')).toEqual([]);
    await yard.admin.cancelRun({ runId: held });
    const { assignmentId } = await worker.next('cancelStep');
    await worker.settled(stopped(worker, { assignmentId }));
    expect((await gpu.next('runStep')).runId).toBe(impossible);
  });

  it('when a place frees, the first in queue order goes', async () => {
    const [action, key] = [unique('o5'), unique('dataset')];
    const worker = await yard.connect({ actions: [action], slots: 10 });
    await yard.submit({ action }, keyed(key));
    const running = await worker.take();
    const { LOW, MID, HIGH } = Priority;
    const byPriority = new Map<Priority, string>();
    for (const priority of [LOW, MID, HIGH]) {
      byPriority.set(priority, await yard.submit({ action }, { ...keyed(key), priority }));
    }
    worker.succeed(running);
    for (const priority of [HIGH, MID, LOW]) expect((await worker.work()).runId).toBe(byPriority.get(priority));
  });

  it('as many are live at once as the limit says', async () => {
    const [action, key] = [unique('limit'), unique('dataset')];
    const worker = await yard.connect({ actions: [action], slots: 10 });
    const runs = Array.from({ length: 5 }, () => runOf({ action }, keyed(key, 3)));
    const { runIds } = await yard.admin.scheduleRuns({ runs });
    await yard.quiet(worker);
    expect(worker.unread('runStep').map(({ runId }) => runId)).toEqual(runIds.slice(0, 3));
    await worker.work();
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toHaveLength(3);
  });

  it('an assignment that ended unaccepted makes the run not live', async () => {
    const [action, key] = [unique('unaccepted'), unique('dataset')];
    const worker = await yard.connect({ actions: [action], slots: 10 });
    const first = await yard.submit({ action }, keyed(key));
    const second = await yard.submit({ action }, keyed(key));
    const offer = await worker.next('runStep');
    expect(offer.runId).toBe(first);
    worker.giveBack(offer);
    const taken = await worker.take();
    expect(taken.runId).toBe(second);
    const other = await yard.connect({ actions: [action] });
    await yard.quiet(other);
    expect(other.unread('runStep')).toEqual([]);
    worker.succeed(taken);
    expect((await other.next('runStep')).runId).toBe(first);
  });

  it('a run of several steps is live between them too, and to its end', async () => {
    const [action, later, key] = [unique('steps'), unique('steps-later'), unique('dataset')];
    const worker = await yard.connect({ actions: [action], slots: 10 });
    const runId = await runFlow(yard, chain(['one', 'two'], { action }, { two: { action: later } }), {}, keyed(key));
    const held = await yard.submit({ action }, keyed(key));
    await worker.work();
    await becomes(yard, runId, 'two', 'PENDING');
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    expect(await yard.stepState(held)).toBe('BLOCKED');
    const second = await yard.connect({ actions: [later] });
    await second.work();
    expect((await worker.next('runStep')).runId).toBe(held);
  });

  it('the steps of one run do not hold each other', async () => {
    const [action, key] = [unique('roots'), unique('dataset')];
    const worker = await yard.connect({ actions: [action], slots: 10 });
    const roots = [
      { name: 'left', action },
      { name: 'right', action },
    ];
    const runId = await runFlow(yard, roots, {}, keyed(key));
    await worker.take();
    await worker.take();
    await worker.settled(worker.sequence);
    expect(await states(yard, runId)).toEqual({ left: 'RUNNING', right: 'RUNNING' });
  });

  it('a run that fails and backs off keeps its place', async () => {
    const [action, key] = [unique('retry'), unique('dataset')];
    const worker = await yard.connect({ actions: [action], slots: 10 });
    const retry = { maxAttempts: 2, initialBackoff: ms(400) };
    const first = await yard.submit({ action, retry }, keyed(key));
    const held = await yard.submit({ action }, keyed(key));
    await worker.settled(worker.fail(await worker.take()));
    expect(await yard.stepState(first)).toBe('BLOCKED');
    const again = await worker.take();
    expect(again).toMatchObject({ runId: first, attempt: 2 });
    worker.succeed(again);
    expect((await worker.next('runStep')).runId).toBe(held);
  });

  it('the schedule timeout does not run while a run is held', async () => {
    const [action, key] = [unique('held'), unique('dataset')];
    const worker = await yard.connect({ actions: [action] });
    const first = await yard.submit({ action }, keyed(key));
    const offer = await worker.take();
    const held = await yard.submit({ action, scheduleTimeout: ms(400) }, keyed(key));
    await timeGoesBy(yard, 600);
    expect(await yard.stepState(held)).toBe('BLOCKED');
    await worker.settled(worker.send({ case: 'slotsChanged', value: { slots: 0 } }));
    await worker.settled(worker.succeed(offer));
    const run = await ended(yard, held);
    expect(run).toMatchObject({ state: RunState.TIMED_OUT, error: { reason: 'SCHEDULE_TIMEOUT' } });
    const freed = (await yard.run(first)).endTime;
    const step = await stepNamed(yard, held, action);
    expect(present(step.endTime).seconds).toBeGreaterThanOrEqual(present(freed).seconds);
  });

  it('a held run can be cancelled', async () => {
    const [action, key] = [unique('cancel'), unique('dataset')];
    const worker = await yard.connect({ actions: [action], slots: 2 });
    await yard.submit({ action }, keyed(key));
    const offer = await worker.take();
    const held = await yard.submit({ action }, keyed(key));
    const after = await yard.submit({ action }, keyed(key));
    await yard.admin.cancelRun({ runId: held });
    expect(await yard.runState(held)).toBe('CANCELLED');
    worker.succeed(offer);
    expect((await worker.next('runStep')).runId).toBe(after);
  });

  it('a key means something within its namespace only', async () => {
    const [action, key] = [unique('space'), unique('dataset')];
    const { metadata } = await newNamespace(yard);
    const here = await yard.connect({ actions: [action], slots: 2 });
    const there = await connectIn(yard, metadata, { actions: [action], slots: 2 });
    const first = await yard.submit({ action }, keyed(key));
    const { run } = await yard.admin.scheduleRun(runOf({ action }, keyed(key)), metadata);
    expect((await here.next('runStep')).runId).toBe(first);
    expect((await there.next('runStep')).runId).toBe(present(run).runId);
  });
});
