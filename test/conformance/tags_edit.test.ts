import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { MatchMode } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { Priority, StepState } from '../../gen/yardmaster/v1/run_pb.ts';
import { present, runOf, unique, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';
import { desired } from '../support/conformance_labels.ts';
import { becomes, chain, connectIn, newNamespace, runFlow, workOn } from '../support/conformance_runs.ts';

// A returner gets the step again after a pause; here that pause outlasts every test, so that time decides nothing.
const yard = useYard({ times: { reofferPauseMs: 600_000, reofferPauseMsMax: 600_000 } });

const REFUSED = { code: status.FAILED_PRECONDITION, domain: 'yardmaster' };

async function submitIn(metadata: Record<string, string>, action: string, runsOn: string[]): Promise<string> {
  return present((await yard.admin.scheduleRun(runOf({ action }, { runsOn }), metadata)).run).runId;
}

describe('match mode', () => {
  it('T1 STRICT: a worker without tags takes only what asks for none', async () => {
    const { metadata } = await newNamespace(yard, { matchMode: MatchMode.STRICT });
    const runsOn = [[], ['gpu'], ['gpu', 'a100']];
    const matrix: [tags: string[], takes: boolean[]][] = [
      [[], [true, false, false]],
      [['gpu'], [true, true, false]],
      [
        ['gpu', 'a100', 'bob'],
        [true, true, true],
      ],
      [['cpu'], [true, false, false]],
    ];
    for (const [tags, takes] of matrix) {
      const action = unique('t1');
      const worker = await connectIn(yard, metadata, { tags, actions: [action], slots: 10 });
      const runIds = await Promise.all(runsOn.map((needed) => submitIn(metadata, action, needed)));
      await yard.workers.getQueueDepth({ actions: [] }, metadata);
      await worker.heartbeat();
      const given = worker.unread('runStep').map(({ runId }) => runId);
      expect(
        runIds.map((runId) => given.includes(runId)),
        `tags {${tags}}`,
      ).toEqual(takes);
      const { pendingByAction } = await yard.workers.getQueueDepth({ actions: [action] }, metadata);
      expect(Number(pendingByAction[action])).toBe(takes.filter((taken) => !taken).length);
    }
  });

  it('T1 STRICT is of one namespace; the change re-matches at once, and leaves what runs', async () => {
    const { name, metadata } = await newNamespace(yard, { matchMode: MatchMode.STRICT });
    const action = unique('t1');
    const bare = await connectIn(yard, metadata, { tags: [], actions: [action], slots: 4 });
    const elsewhere = await yard.connect({ tags: [], actions: [action], slots: 4 });
    const waiting = await submitIn(metadata, action, ['gpu']);
    const inDefault = await yard.submit({ action }, { runsOn: ['gpu'] });
    expect((await elsewhere.next('runStep')).runId).toBe(inDefault);
    await yard.quiet(bare);
    expect(bare.unread('runStep')).toEqual([]);

    await yard.admin.putNamespace({ namespace: { name, matchMode: MatchMode.LEGACY } });
    const offer = await bare.take();
    expect(offer.runId).toBe(waiting);
    await yard.admin.putNamespace({ namespace: { name, matchMode: MatchMode.STRICT } });
    const late = await submitIn(metadata, action, ['gpu']);
    await bare.settled(bare.succeed(offer));
    await yard.quiet(bare);
    expect([...bare.unread('runStep'), ...bare.unread('cancelStep'), ...bare.unread('refused')]).toEqual([]);
    const { run } = await yard.admin.getRun({ runId: late }, metadata);
    expect(run?.steps[0]?.state).toBe(StepState.PENDING);
  });
});

describe('namespaces', () => {
  it('are put with their defaults, keep what is not set, and are listed by name', async () => {
    const name = unique('a-space');
    const day = 24n * 3600n;
    const defaults = {
      name,
      matchMode: MatchMode.LEGACY,
      retention: { seconds: 30n * day },
      defaultScheduleTimeout: { seconds: 300n },
    };
    expect((await yard.admin.putNamespace({ namespace: { name } })).namespace).toMatchObject(defaults);
    const changed = await yard.admin.putNamespace({ namespace: { name, retention: { seconds: 0n } } });
    expect(changed.namespace).toMatchObject({ ...defaults, retention: { seconds: 0n, nanos: 0 } });
    const again = await yard.admin.putNamespace({
      namespace: { name, matchMode: MatchMode.STRICT, defaultScheduleTimeout: { seconds: 5n } },
    });
    const final = {
      name,
      matchMode: MatchMode.STRICT,
      retention: { seconds: 0n },
      defaultScheduleTimeout: { seconds: 5n },
    };
    expect(again.namespace).toMatchObject(final);

    const { namespaces } = await yard.admin.listNamespaces({});
    const names = namespaces.map((namespace) => namespace.name);
    expect(names).toContain('default');
    expect(names).toEqual([...names].sort());
    expect(namespaces.find((namespace) => namespace.name === name)).toMatchObject(final);

    const paged: string[] = [];
    let pageToken = '';
    do {
      const page = await yard.admin.listNamespaces({ pageSize: 1, pageToken });
      expect(page.namespaces.length).toBeLessThanOrEqual(1);
      paged.push(...page.namespaces.map((namespace) => namespace.name));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(paged).toEqual(names);
  });

  it('with a bad name are refused, and an unknown one is NOT_FOUND', async () => {
    for (const name of ['', ' ', 'a\u0000b', 'x'.repeat(129)]) {
      const end = await failureOf(yard.admin.putNamespace({ namespace: { name } }));
      expect(end, JSON.stringify(name)).toMatchObject({ code: status.INVALID_ARGUMENT, domain: 'yardmaster' });
    }
    const metadata = { 'yardmaster-namespace': 'nowhere' };
    const notFound = { code: status.NOT_FOUND, reason: 'NAMESPACE_NOT_FOUND' };
    expect(await failureOf(yard.admin.listRuns({}, metadata))).toMatchObject(notFound);
    expect(
      await failureOf(yard.admin.putWorkflow({ name: 'x', steps: [{ name: 'a', action: 'a' }] }, metadata)),
    ).toMatchObject(notFound);
    const stream = yard.open(metadata);
    stream.send({ case: 'hello', value: { name: unique('worker') } });
    expect(await stream.ended).toMatchObject(notFound);
  });

  it('keep apart what has the same name', async () => {
    const { metadata } = await newNamespace(yard);
    const [action, name] = [unique('apart'), unique('flow')];
    const steps = [{ name: 'one', action }];
    await yard.admin.putWorkflow({ name, steps });
    expect(await failureOf(yard.admin.getWorkflow({ name }, metadata))).toMatchObject({
      code: status.NOT_FOUND,
      reason: 'WORKFLOW_NOT_FOUND',
    });
    expect((await yard.admin.putWorkflow({ name, steps }, metadata)).workflow).toMatchObject({ version: 1 });
    const runId = await yard.submit({ action });
    expect(await failureOf(yard.admin.getRun({ runId }, metadata))).toMatchObject({ code: status.NOT_FOUND });
    const foreign = await failureOf(yard.admin.updateRun({ runId, priority: Priority.LOW }, metadata));
    expect(foreign).toMatchObject({ code: status.NOT_FOUND, reason: 'RUN_NOT_FOUND' });
    const stranger = await connectIn(yard, metadata, { actions: [action] });
    await yard.quiet(stranger);
    expect(stranger.unread('runStep')).toEqual([]);
  });
});

describe('a run edited while it waits', () => {
  it('T7 runs_on edited while pending re-matches at once', async () => {
    const action = unique('t7');
    const worker = await yard.connect({ tags: ['cpu'], actions: [action], slots: 4 });
    const runId = await yard.submit({ action }, { runsOn: ['gpu'] });
    const { run } = await yard.admin.updateRun({ runId, runsOn: { tags: ['fpga', 'cpu', 'fpga'] } });
    expect(run).toMatchObject({ runId, runsOn: ['cpu', 'fpga'] });
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    await yard.admin.updateRun({ runId, runsOn: { tags: ['cpu'] } });
    expect((await worker.next('runStep')).runId).toBe(runId);

    // No tags at all: any worker, as far as tags go; unset: unchanged.
    const other = await yard.submit({ action }, { runsOn: ['gpu'] });
    await yard.admin.updateRun({ runId: other, priority: Priority.HIGH });
    expect(await yard.run(other)).toMatchObject({ runsOn: ['gpu'], priority: Priority.HIGH });
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    await yard.admin.updateRun({ runId: other, runsOn: { tags: [] } });
    expect((await worker.next('runStep')).runId).toBe(other);
    expect(await yard.run(other)).toMatchObject({ runsOn: [], priority: Priority.HIGH });
  });

  it('T7 an edit can take the match away, and does not touch the labels asked for', async () => {
    const action = unique('t7');
    const runId = await yard.submit({ action }, { desiredLabels: [desired('memory', 'GREATER_THAN', 256)] });
    await yard.admin.updateRun({ runId, runsOn: { tags: ['gpu'] } });
    const untagged = await yard.connect({ tags: ['cpu'], actions: [action], labels: { memory: 512 } });
    const small = await yard.connect({ tags: ['gpu'], actions: [action], labels: { memory: 128 } });
    await yard.quiet(untagged, small);
    expect([...untagged.unread('runStep'), ...small.unread('runStep')]).toEqual([]);
    small.upsert({ memory: 512 });
    expect((await small.next('runStep')).runId).toBe(runId);
  });

  it('T7 edited after assignment is refused', async () => {
    const action = unique('t7');
    const worker = await yard.connect({ tags: ['cpu'], actions: [action] });
    const runId = await yard.submit({ action });
    const edit = () => failureOf(yard.admin.updateRun({ runId, runsOn: { tags: ['gpu'] } }));
    const offer = await worker.next('runStep');
    expect(await edit()).toMatchObject(REFUSED);
    await worker.settled(worker.accept(offer));
    expect(await edit()).toMatchObject(REFUSED);
    await worker.settled(worker.succeed(offer));
    expect(await edit()).toMatchObject(REFUSED);
    expect((await yard.run(runId)).runsOn).toEqual([]);
  });

  it('T7 what was returned, and the steps after one that is done, can be edited again', async () => {
    const action = unique('t7');
    const worker = await yard.connect({ tags: ['cpu'], actions: [action] });
    const runId = await yard.submit({ action });
    await worker.settled(worker.giveBack(await worker.next('runStep')));
    await yard.admin.updateRun({ runId, runsOn: { tags: ['gpu'] } });
    expect((await yard.run(runId)).runsOn).toEqual(['gpu']);

    const later = unique('t7');
    const flow = await runFlow(yard, chain(['one', 'two'], { action }, { two: { action: later } }));
    await workOn(worker, 'one');
    await becomes(yard, flow, 'two', 'PENDING');
    await yard.admin.updateRun({ runId: flow, runsOn: { tags: ['gpu'] } });
    const other = await yard.connect({ tags: ['cpu'], actions: [later] });
    await yard.quiet(other);
    expect(other.unread('runStep')).toEqual([]);
    const gpu = await yard.connect({ tags: ['gpu'], actions: [later] });
    expect((await gpu.next('runStep')).runId).toBe(flow);
  });

  it('T7 the tags of its steps stay', async () => {
    const action = unique('t7');
    const runId = await yard.submit({ action, runsOn: ['a100'] }, { runsOn: ['gpu'] });
    await yard.admin.updateRun({ runId, runsOn: { tags: ['cpu'] } });
    const partly = await yard.connect({ tags: ['cpu'], actions: [action] });
    await yard.quiet(partly);
    expect(partly.unread('runStep')).toEqual([]);
    const fully = await yard.connect({ tags: ['cpu', 'a100'], actions: [action] });
    expect((await fully.next('runStep')).runId).toBe(runId);
  });

  it('its priority moves it in the queue; among equals it keeps its place', async () => {
    const action = unique('priority');
    const runIds = [];
    for (let index = 0; index < 4; index++) runIds.push(await yard.submit({ action }));
    const [first, second, third, fourth] = runIds as [string, string, string, string];
    await yard.admin.updateRun({ runId: fourth, priority: Priority.CRITICAL });
    await yard.admin.updateRun({ runId: third, priority: Priority.CRITICAL });
    await yard.admin.updateRun({ runId: first, priority: Priority.LOW });
    const worker = await yard.connect({ actions: [action] });
    const order = [];
    for (let index = 0; index < 4; index++) order.push((await worker.work()).runId);
    expect(order).toEqual([third, fourth, second, first]);
  });

  it('an unknown run and too many tags are refused', async () => {
    const unknown = await failureOf(
      yard.admin.updateRun({ runId: '00000000-0000-4000-8000-000000000000', priority: Priority.LOW }),
    );
    expect(unknown).toMatchObject({ code: status.NOT_FOUND, reason: 'RUN_NOT_FOUND' });
    const runId = await yard.submit({ action: unique('limit') });
    const tags = Array.from({ length: 33 }, (_, index) => `tag-${index}`);
    const end = await failureOf(yard.admin.updateRun({ runId, runsOn: { tags } }));
    expect(end).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'LIMIT_EXCEEDED' });
    expect(end.message).toMatch(/32/);
    expect(end.message).toMatch(/33/);
    expect((await yard.run(runId)).runsOn).toEqual([]);
    // Together with those of a step.
    const tagged = await yard.submit({ action: unique('limit'), runsOn: ['of-step'] });
    const together = await failureOf(yard.admin.updateRun({ runId: tagged, runsOn: { tags: tags.slice(1) } }));
    expect(together).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'LIMIT_EXCEEDED' });
    expect((await yard.run(tagged)).runsOn).toEqual([]);
  });
});
