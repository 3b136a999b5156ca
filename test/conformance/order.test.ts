import { describe, expect, it } from 'vitest';
import { Priority } from '../../gen/yardmaster/v1/run_pb.ts';
import { runOf, unique, useYard } from '../support/conformance.ts';
import { desired } from '../support/conformance_labels.ts';
import type { WorkerStream } from '../support/conformance_stream.ts';

// A returner gets the step again after a pause; here that pause outlasts every test, so that time decides nothing.
const yard = useYard({ times: { reofferPauseMs: 600_000, reofferPauseMsMax: 600_000 } });

/** The runs in the order the worker is given them, each done before the next. */
async function orderOf(worker: WorkerStream, count: number): Promise<string[]> {
  const order: string[] = [];
  for (let index = 0; index < count; index++) order.push((await worker.work()).runId);
  return order;
}

describe('order', () => {
  it('O1 priorities first, then first ready first', async () => {
    const action = unique('o1');
    const { LOW, MID, HIGH, CRITICAL, UNSPECIFIED } = Priority;
    const submitted: { priority: Priority; runId: string }[] = [];
    for (const priority of [LOW, MID, CRITICAL, UNSPECIFIED, HIGH, LOW, CRITICAL, MID, HIGH]) {
      submitted.push({ priority, runId: await yard.submit({ action }, { priority }) });
    }
    // UNSPECIFIED is MID.
    const levels: Priority[][] = [[CRITICAL], [HIGH], [MID, UNSPECIFIED], [LOW]];
    const expected = levels.flatMap((priorities) => submitted.filter(({ priority }) => priorities.includes(priority)));
    const worker = await yard.connect({ actions: [action], slots: 1 });
    expect(await orderOf(worker, submitted.length)).toEqual(expected.map(({ runId }) => runId));
  });

  it('other tags and labels are no other queue', async () => {
    const [action, second] = [unique('o1'), unique('o1')];
    const runIds = [
      await yard.submit({ action }, { runsOn: ['gpu'] }),
      await yard.submit({ action: second }),
      await yard.submit({ action, desiredLabels: [desired('zone', 'EQUAL', 'b')] }),
      await yard.submit({ action }, { runsOn: ['gpu'] }),
      await yard.submit({ action }),
    ];
    const hello = { tags: ['gpu'], actions: [action, second], labels: { zone: 'b' }, slots: 1 };
    expect(await orderOf(await yard.connect(hello), runIds.length)).toEqual(runIds);
  });

  it('O2 500 steps nobody can take do not delay one that somebody can', async () => {
    const action = unique('o2');
    const worker = await yard.connect({ tags: ['cpu'], actions: [action], labels: { memory: 1 }, slots: 1 });
    // All of them go first in the queue; half of them each ask for something of their own.
    const priority = Priority.CRITICAL;
    const tooBig = { action, desiredLabels: [desired('memory', 'GREATER_THAN', 256)] };
    await yard.submitMany(250, tooBig, { priority });
    const others = Array.from({ length: 250 }, (_, index) => runOf({ action }, { priority, runsOn: [`gpu-${index}`] }));
    await yard.admin.scheduleRuns({ runs: others });
    expect(await yard.pending(action)).toBe(500);

    // Pushed to a free worker, and found by a worker that becomes free.
    const pushed = await yard.submit({ action });
    const offer = await worker.take();
    expect(offer.runId).toBe(pushed);
    const waited = await yard.submit({ action }, { priority: Priority.LOW });
    worker.succeed(offer);
    expect((await worker.next('runStep')).runId).toBe(waited);
    expect(await yard.pending(action)).toBe(500);
  });

  it('O3 a slot freed by action A serves waiting action B', async () => {
    const [a, b] = [unique('o3-a'), unique('o3-b')];
    const worker = await yard.connect({ actions: [a, b], slots: 1 });
    await yard.submit({ action: a });
    const offer = await worker.take();
    const waiting = await yard.submit({ action: b });
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    worker.succeed(offer);
    expect(await worker.next('runStep')).toMatchObject({ runId: waiting, action: b });
  });

  it('O4 fresh work does not overtake waiting work', async () => {
    const action = unique('o4');
    const worker = await yard.connect({ tags: ['gpu'], actions: [action], slots: 1 });
    await yard.submit({ action });
    let offer = await worker.take();
    for (let round = 0; round < 20; round++) {
      // One waits; then the slot is freed and another arrives, both on their way at once.
      const waiting = await yard.submit({ action }, { runsOn: round % 2 === 0 ? ['gpu'] : [] });
      worker.succeed(offer);
      const fresh = yard.submit({ action });
      offer = await worker.take();
      expect(offer.runId).toBe(waiting);
      worker.succeed(offer);
      offer = await worker.take();
      expect(offer.runId).toBe(await fresh);
    }
  });

  it('what failed and is tried again keeps its place before other work', async () => {
    const action = unique('o4');
    const worker = await yard.connect({ actions: [action], slots: 1 });
    const first = await yard.submit({ action, retry: { maxAttempts: 2 } });
    const second = await yard.submit({ action });
    const attempt = await worker.take();
    worker.fail(attempt);
    const retried = await worker.take();
    expect(retried).toMatchObject({ runId: first, attempt: 2 });
    worker.succeed(retried);
    expect((await worker.take()).runId).toBe(second);
  });

  it('O6 a returned step is not offered to its returner again at once, and goes to another worker at once', async () => {
    const action = unique('o6');
    const first = await yard.connect({ actions: [action], slots: 4 });
    const second = await yard.connect({ actions: [action], slots: 4 });
    const runId = await yard.submit({ action });
    await yard.quiet(first, second);
    const [returner, other] = first.unread('runStep').length > 0 ? [first, second] : [second, first];
    const returned = await returner.next('runStep');
    returner.giveBack(returned);
    const moved = await other.next('runStep');
    // No attempt was used up, and the fence is another one.
    expect(moved).toMatchObject({ runId, attempt: 1 });
    expect(moved.assignmentId).not.toBe(returned.assignmentId);

    await other.settled(other.giveBack(moved));
    await yard.quiet(first, second);
    expect([...returner.unread('runStep'), ...other.unread('runStep')]).toEqual([]);
    expect(await yard.stepState(runId)).toBe('PENDING');

    // Only this step is kept from it; and a change of its own makes it eligible again.
    const fresh = await yard.submit({ action });
    expect((await returner.next('runStep')).runId).toBe(fresh);
    returner.upsert({ ready: 1 });
    expect(await returner.next('runStep', (offer) => offer.runId === runId)).toMatchObject({ attempt: 1 });
  });
});
