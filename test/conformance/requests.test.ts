import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { present, type RunRest, runOf, unique, until, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';

const yard = useYard();
// Forgets what ended at once, so that a repeated request finds its run in the store only.
const forgetful = useYard({ times: { endedInMemoryMs: 0 } });

function request(action: string, requestId: string, rest: RunRest = {}) {
  return runOf({ action }, { requestId, inputJson: '{"file":"a.tar"}', ...rest });
}

const REUSED = { code: status.ALREADY_EXISTS, reason: 'REQUEST_ID_REUSED', domain: 'yardmaster' };

describe('a request that comes twice', () => {
  it('V9 request_id twice is one run, executed once; with another body it is refused', async () => {
    const [action, requestId] = [unique('v9'), unique('request')];
    const first = await yard.admin.scheduleRun(request(action, requestId));
    expect(first).toMatchObject({ alreadyScheduled: false, run: { requestId } });
    const runId = present(first.run).runId;
    const again = await yard.admin.scheduleRun(request(action, requestId));
    expect(again).toMatchObject({ alreadyScheduled: true, run: { runId, inputJson: '{"file":"a.tar"}' } });

    const otherBodies = [
      request(action, requestId, { inputJson: '{"file":"b.tar"}' }),
      request(action, requestId, { runsOn: ['gpu'] }),
      request(action, requestId, { metadata: { a: 'b' } }),
      request(action, requestId, { scheduleTimeout: { seconds: 1n } }),
      request(unique('v9'), requestId),
    ];
    for (const body of otherBodies) {
      const end = await failureOf(yard.admin.scheduleRun(body));
      expect(end).toMatchObject({ ...REUSED, metadata: { request_id: requestId, run_id: runId } });
    }

    const worker = await yard.connect({ actions: [action], slots: 10 });
    await worker.work('done');
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    // After its end as well.
    const late = await yard.admin.scheduleRun(request(action, requestId));
    expect(late).toMatchObject({ alreadyScheduled: true, run: { runId, outputJson: '"done"' } });
    const reused = await failureOf(yard.admin.scheduleRun(request(action, requestId, { inputJson: '1' })));
    expect(reused).toMatchObject(REUSED);
    expect((await yard.admin.listRuns({ action, anyState: true })).runs).toHaveLength(1);
  });

  it('a repeated request finds a run that has left memory', async () => {
    const [action, requestId] = [unique('v9'), unique('request')];
    const runId = present((await forgetful.admin.scheduleRun(request(action, requestId))).run).runId;
    const worker = await forgetful.connect({ actions: [action], slots: 10 });
    await worker.work('done');
    const late = await forgetful.admin.scheduleRun(request(action, requestId));
    expect(late).toMatchObject({ alreadyScheduled: true, run: { runId, outputJson: '"done"' } });
    expect(await failureOf(forgetful.admin.scheduleRun(request(action, requestId, { inputJson: '1' })))).toMatchObject(
      REUSED,
    );
    await forgetful.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
  });

  it('a repeated request within one batch, and across batches', async () => {
    const [action, requestId, otherId] = [unique('v9'), unique('request'), unique('request')];
    const batch = await yard.admin.scheduleRuns({
      runs: [request(action, requestId), request(action, otherId), request(action, requestId)],
    });
    expect(batch.runIds[0]).toBe(batch.runIds[2]);
    expect(batch.runIds[0]).not.toBe(batch.runIds[1]);
    expect(batch.alreadyScheduledCount).toBe(1);
    expect(await yard.pending(action)).toBe(2);

    const repeated = await yard.admin.scheduleRuns({ runs: [request(action, otherId), request(action, requestId)] });
    expect(repeated).toMatchObject({ runIds: [batch.runIds[1], batch.runIds[0]], alreadyScheduledCount: 2 });

    // All or nothing: the new one beside the reused id is not scheduled either.
    const fresh = unique('v9');
    const mixed = { runs: [request(fresh, unique('request')), request(action, requestId, { inputJson: '2' })] };
    expect(await failureOf(yard.admin.scheduleRuns(mixed))).toMatchObject(REUSED);
    const twice = { runs: [request(fresh, 'same'), request(fresh, 'same', { inputJson: '2' })] };
    expect(await failureOf(yard.admin.scheduleRuns(twice))).toMatchObject(REUSED);
    expect((await yard.admin.listRuns({ action: fresh, anyState: true })).runs).toEqual([]);
    expect(await yard.pending(action)).toBe(2);
  });

  it('a request repeated fifty times at once is one run', async () => {
    const [action, requestId] = [unique('v9'), unique('request')];
    const worker = await yard.connect({ actions: [action], slots: 100 });
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => yard.admin.scheduleRun(request(action, requestId))),
    );
    expect(new Set(answers.map(({ run }) => present(run).runId)).size).toBe(1);
    expect(answers.filter(({ alreadyScheduled }) => !alreadyScheduled)).toHaveLength(1);
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toHaveLength(1);
    expect((await yard.admin.listRuns({ action, anyState: true })).runs).toHaveLength(1);
  });

  it('without a request_id a repeat makes a second run', async () => {
    const action = unique('v9');
    expect(await yard.submit({ action })).not.toBe(await yard.submit({ action }));
    await until(async () => (await yard.pending(action)) === 2, 'both wait');
  });
});
