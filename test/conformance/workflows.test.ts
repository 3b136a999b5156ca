import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { Sticky } from '../../gen/yardmaster/v1/run_pb.ts';
import { present, type RunRest, runOf, type StepInit, unique, useYard } from '../support/conformance.ts';
import { type EndStatus, failureOf } from '../support/conformance_calls.ts';
import { desired } from '../support/conformance_labels.ts';
import { chain, connectIn, flowRun, newNamespace, putWorkflow, startFlow } from '../support/conformance_runs.ts';

const yard = useYard();
const { NONE, SOFT, HARD } = Sticky;

const INVALID = { code: status.INVALID_ARGUMENT, domain: 'yardmaster' };
const WORKFLOW_NOT_FOUND = { code: status.NOT_FOUND, reason: 'WORKFLOW_NOT_FOUND', domain: 'yardmaster' };

/** What PutWorkflow refuses these steps with; nothing of them is stored. */
async function refusalOf(steps: StepInit[]): Promise<EndStatus> {
  const name = unique('refused');
  const end = await failureOf(yard.admin.putWorkflow({ name, steps }));
  expect(end).toMatchObject(INVALID);
  expect(end.fields.length).toBeGreaterThan(0);
  expect(await failureOf(yard.admin.getWorkflow({ name }))).toMatchObject(WORKFLOW_NOT_FOUND);
  return end;
}

/** Reasons of the warnings, without the one that is about who is registered. */
function reasonsOf(warnings: readonly { reason: string }[]): string[] {
  return warnings.map(({ reason }) => reason).filter((reason) => reason !== 'NO_WORKER_SERVES_ACTION');
}

describe('PutWorkflow', () => {
  it('refuses a cycle, naming a step of it', async () => {
    const action = 'train';
    const itself = await refusalOf([
      { name: 'fetch', action },
      { name: 'narcissus', action, needs: ['narcissus'] },
    ]);
    expect(itself.message).toContain('narcissus');
    expect(itself.fields[0]?.field).toMatch(/^steps/);
    const pair = await refusalOf([
      { name: 'hen', action, needs: ['egg'] },
      { name: 'egg', action, needs: ['hen'] },
    ]);
    expect(pair.message).toMatch(/hen|egg/);
    // Behind a root, and not the whole of the graph.
    const long = await refusalOf([
      { name: 'start', action },
      { name: 'paper', action, needs: ['start', 'rock'] },
      { name: 'scissors', action, needs: ['paper'] },
      { name: 'rock', action, needs: ['scissors'] },
      { name: 'finish', action, needs: ['start'] },
    ]);
    expect(long.message).toMatch(/paper|scissors|rock/);
    expect(long.message).not.toContain('finish');
  });

  it('refuses an unknown need and a duplicate name, naming them', async () => {
    const action = 'train';
    const unknown = await refusalOf([
      { name: 'fetch', action },
      { name: 'train-it', action, needs: ['fetch', 'fetsh'] },
    ]);
    expect(unknown.message).toContain('train-it');
    expect(unknown.message).toContain('fetsh');
    expect(unknown.fields[0]?.field).toMatch(/^steps\[1\]/);
    const twice = await refusalOf([
      { name: 'fetch', action },
      { name: 'twin', action },
      { name: 'twin', action },
    ]);
    expect(twice.message).toContain('twin');
    expect(twice.fields[0]?.field).toMatch(/^steps\[[12]\]/);
    // Names are compared exactly.
    await putWorkflow(yard, [
      { name: 'twin', action },
      { name: 'Twin', action },
    ]);
  });

  it('refuses what is over a limit, naming the step, the limit and the value', async () => {
    const action = 'train';
    const fine = { name: 'fine', action };
    const tags = (count: number) => Array.from({ length: count }, (_, index) => `tag-${index}`);
    const runsOn = await refusalOf([fine, { name: 'wide', action, runsOn: tags(33) }]);
    expect(runsOn).toMatchObject({ reason: 'LIMIT_EXCEEDED' });
    for (const said of ['wide', '32', '33']) expect(runsOn.message).toContain(said);
    expect(runsOn.fields[0]?.field).toMatch(/^steps\[1\]\.runs_on/);
    const key = 'k'.repeat(129);
    const longKey = await refusalOf([
      fine,
      { name: 'labelled', action, desiredLabels: [desired(key, 'EXISTS', null)] },
    ]);
    expect(longKey.message).toContain('labelled');
    const label = await refusalOf([
      fine,
      { name: 'odd', action, desiredLabels: [desired('memory', 'LESS_THAN', 'x')] },
    ]);
    for (const said of ['odd', 'memory']) expect(label.message).toContain(said);
    expect(label.fields[0]?.field).toMatch(/^steps\[1\]\.desired_labels\[0\]/);

    const many = Array.from({ length: 1_001 }, (_, index) => ({ name: `step-${index}`, action }));
    const tooMany = await refusalOf(many);
    expect(tooMany).toMatchObject({ reason: 'LIMIT_EXCEEDED' });
    for (const said of ['1000', '1001']) expect(tooMany.message).toContain(said);
    expect((await putWorkflow(yard, many.slice(1))).steps).toHaveLength(1_000);
  });

  it('refuses no steps at all, a step without an action, and a workflow without a name', async () => {
    await refusalOf([]);
    const idle = await refusalOf([
      { name: 'fine', action: 'train' },
      { name: 'idle', action: '' },
    ]);
    expect(idle.fields[0]?.field).toMatch(/^steps\[1\]\.action/);
    expect(await failureOf(yard.admin.putWorkflow({ name: '', steps: [{ name: 'a', action: 'a' }] }))).toMatchObject(
      INVALID,
    );
  });

  it('a run without a workflow has one step, which can need no other', async () => {
    const end = await failureOf(yard.submit({ name: 'lone', action: 'train', needs: ['other'] }));
    expect(end).toMatchObject(INVALID);
    expect(end.message).toContain('other');
  });

  it('the tags of run and step together keep the limit', async () => {
    const action = 'train';
    const tags = (stem: string, count: number) => Array.from({ length: count }, (_, index) => `${stem}-${index}`);
    const { name } = await putWorkflow(yard, [
      { name: 'fetch', action },
      { name: 'wide', action, runsOn: tags('step', 30) },
    ]);
    const end = await failureOf(startFlow(yard, name, { runsOn: tags('run', 3) }));
    expect(end).toMatchObject({ ...INVALID, reason: 'LIMIT_EXCEEDED' });
    await startFlow(yard, name, { runsOn: tags('run', 2) });
    const lone = await failureOf(yard.submit({ action, runsOn: tags('step', 30) }, { runsOn: tags('run', 3) }));
    expect(lone).toMatchObject({ ...INVALID, reason: 'LIMIT_EXCEEDED' });
    // What both name counts once.
    await yard.submit({ action, runsOn: tags('step', 30) }, { runsOn: [...tags('run', 2), ...tags('step', 20)] });
  });

  it('stores versions that do not change; the newest is the default', async () => {
    const name = unique('flow');
    const first = await putWorkflow(yard, [{ name: 'one', action: 'train' }], { name, sticky: SOFT });
    expect(first).toMatchObject({ name, version: 1, sticky: SOFT, steps: [{ name: 'one', action: 'train' }] });
    const steps: StepInit[] = [
      { name: 'one', action: 'train', runsOn: ['gpu'] },
      {
        name: 'two',
        action: 'store',
        needs: ['one'],
        desiredLabels: [desired('memory', 'GREATER_THAN', 256)],
        retry: { maxAttempts: 3, initialBackoff: { seconds: 1n } },
        scheduleTimeout: { seconds: 60n },
        executionTimeout: { seconds: 30n },
      },
    ];
    const second = await putWorkflow(yard, steps, { name });
    expect(second).toMatchObject({ name, version: 2, sticky: NONE, steps });
    expect(second.createTime).toBeDefined();
    expect((await yard.admin.getWorkflow({ name })).workflow).toEqual(second);
    expect((await yard.admin.getWorkflow({ name, version: 2 })).workflow).toEqual(second);
    expect((await yard.admin.getWorkflow({ name, version: 1 })).workflow).toEqual(first);
    for (const request of [{ name, version: 3 }, { name: unique('unknown') }])
      expect(await failureOf(yard.admin.getWorkflow(request))).toMatchObject(WORKFLOW_NOT_FOUND);
  });

  it('many at once get versions without gaps', async () => {
    const name = unique('flow');
    const put = () => putWorkflow(yard, [{ name: 'one', action: 'train' }], { name });
    const versions = (await Promise.all(Array.from({ length: 10 }, put))).map(({ version }) => version);
    expect(versions.sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('lists the newest version of each, by name', async () => {
    const { metadata } = await newNamespace(yard);
    const steps = [{ name: 'one', action: 'train' }];
    for (const name of ['b-flow', 'a-flow', 'c-flow', 'a-flow'])
      await yard.admin.putWorkflow({ name, steps }, metadata);
    const { workflows, nextPageToken } = await yard.admin.listWorkflows({}, metadata);
    const expected = [
      ['a-flow', 2],
      ['b-flow', 1],
      ['c-flow', 1],
    ];
    expect(workflows.map(({ name, version }) => [name, version])).toEqual(expected);
    expect(nextPageToken).toBe('');
    const first = await yard.admin.listWorkflows({ pageSize: 2 }, metadata);
    // A later insert before the page's end moves nothing.
    await yard.admin.putWorkflow({ name: 'a-a-flow', steps }, metadata);
    const second = await yard.admin.listWorkflows({ pageSize: 2, pageToken: first.nextPageToken }, metadata);
    expect([...first.workflows, ...second.workflows].map(({ name, version }) => [name, version])).toEqual(expected);
  });
});

describe('warnings', () => {
  const action = 'train';
  const PutAndRun: [what: string, steps: StepInit[], says: string][] = [
    [
      'labels',
      chain(['one', 'two'], { action }, { two: { desiredLabels: [desired('memory', 'GREATER_THAN', 256)] } }),
      'memory',
    ],
    ['tags', chain(['one', 'two'], { action }, { two: { runsOn: ['a100'] } }), 'a100'],
    [
      'labels, far behind',
      chain(['one', 'two', 'three'], { action }, { three: { desiredLabels: [desired('zone', 'EQUAL', 'b')] } }),
      'zone',
    ],
  ];

  it.each(PutAndRun)(
    'a HARD workflow whose later steps ask for %s its first does not: STICKY_MISMATCH',
    async (_what, steps, says) => {
      const name = unique('flow');
      const put = await yard.admin.putWorkflow({ name, steps, sticky: HARD });
      expect(put.workflow).toMatchObject({ version: 1 });
      expect(reasonsOf(put.warnings)).toEqual(['STICKY_MISMATCH']);
      const ran = await yard.admin.scheduleRun(flowRun(name));
      expect(reasonsOf(ran.warnings)).toEqual(['STICKY_MISMATCH']);
      for (const { warnings } of [put, ran]) {
        const { message } = present(warnings.find(({ reason }) => reason === 'STICKY_MISMATCH'));
        expect(message).toContain(says);
        expect(message).toContain(present(steps.at(-1)).name);
      }
      // Where the run may go elsewhere it is no mismatch; where the run makes it HARD it is one.
      const soft = unique('flow');
      expect(reasonsOf((await yard.admin.putWorkflow({ name: soft, steps, sticky: SOFT })).warnings)).toEqual([]);
      expect(reasonsOf((await yard.admin.scheduleRun(flowRun(soft))).warnings)).toEqual([]);
      const made = await yard.admin.scheduleRun(flowRun(soft, { sticky: HARD }));
      expect(reasonsOf(made.warnings)).toEqual(['STICKY_MISMATCH']);
      expect(reasonsOf((await yard.admin.scheduleRun(flowRun(name, { sticky: NONE }))).warnings)).toEqual([]);
    },
  );

  it('what the first step asks for as well, or only prefers, is no mismatch', async () => {
    const asks = { desiredLabels: [desired('memory', 'GREATER_THAN', 256)], runsOn: ['gpu'] };
    const same = chain(['one', 'two'], { action, ...asks });
    const prefers = chain(
      ['one', 'two'],
      { action },
      { two: { desiredLabels: [{ ...desired('memory', 'GREATER_THAN', 256), required: false }] } },
    );
    const onlyFirst = chain(['one', 'two'], { action }, { one: asks });
    for (const steps of [same, prefers, onlyFirst]) {
      const { warnings } = await yard.admin.putWorkflow({ name: unique('flow'), steps, sticky: HARD });
      expect(reasonsOf(warnings)).toEqual([]);
    }
    // What the run asks for it asks for in every step.
    const { name } = await putWorkflow(yard, chain(['one', 'two'], { action }), { sticky: HARD });
    expect(reasonsOf((await yard.admin.scheduleRun(flowRun(name, asks as RunRest))).warnings)).toEqual([]);
  });

  it('required labels that contradict each other: CONTRADICTORY_LABELS', async () => {
    const contradictions = [
      [desired('memory', 'GREATER_THAN', 256), desired('memory', 'LESS_THAN', 128)],
      [desired('memory', 'GREATER_THAN', 256), desired('memory', 'LESS_THAN', 256)],
      [desired('zone', 'EQUAL', 'a'), desired('zone', 'EQUAL', 'b')],
      [desired('zone', 'EXISTS', null), desired('zone', 'NOT_EXISTS', null)],
      [desired('zone', 'IN', ['a', 'b']), desired('zone', 'IN', ['c'])],
    ] as const;
    for (const [one, other] of contradictions) {
      const shown = JSON.stringify([one, other]);
      const step = { name: 'picky', action, desiredLabels: [one, other] };
      const put = await yard.admin.putWorkflow({ name: unique('flow'), steps: [step] });
      expect(reasonsOf(put.warnings), shown).toEqual(['CONTRADICTORY_LABELS']);
      const { message } = present(put.warnings.find(({ reason }) => reason === 'CONTRADICTORY_LABELS'));
      expect(message).toContain(one.key);
      const split = runOf({ action, desiredLabels: [one] }, { desiredLabels: [other] });
      expect(reasonsOf((await yard.admin.scheduleRun(split)).warnings), shown).toEqual(['CONTRADICTORY_LABELS']);
    }
    const possible = [
      [desired('memory', 'GREATER_THAN', 256), desired('memory', 'LESS_THAN', 1024)],
      [desired('zone', 'IN', ['a', 'b']), desired('zone', 'IN', ['b', 'c'])],
      [desired('zone', 'EQUAL', 'a'), { ...desired('zone', 'EQUAL', 'b'), required: false }],
      [desired('zone', 'EQUAL', 'a'), desired('model', 'EQUAL', 'b')],
    ];
    for (const desiredLabels of possible) {
      const { warnings } = await yard.admin.scheduleRun(runOf({ action, desiredLabels }));
      expect(reasonsOf(warnings), JSON.stringify(desiredLabels)).toEqual([]);
    }
  });

  it('no registered worker serves an action: NO_WORKER_SERVES_ACTION, as long as that is so', async () => {
    const { metadata } = await newNamespace(yard);
    const [served, unserved] = [unique('served'), unique('unserved')];
    const worker = await connectIn(yard, metadata, { actions: [served] });
    await worker.leave();
    const name = unique('flow');
    const steps = chain(['one', 'two'], { action: served }, { two: { action: unserved } });
    const put = await yard.admin.putWorkflow({ name, steps }, metadata);
    expect(put.warnings).toMatchObject([{ reason: 'NO_WORKER_SERVES_ACTION' }]);
    expect(put.warnings[0]?.message).toContain(unserved);
    expect((await yard.admin.scheduleRun(flowRun(name), metadata)).warnings).toHaveLength(1);
    await connectIn(yard, metadata, { actions: [unserved] });
    expect((await yard.admin.scheduleRun(flowRun(name), metadata)).warnings).toEqual([]);
  });

  it('a pin that no mode gives a meaning: PIN_WITHOUT_STICKY', async () => {
    const { worker } = await yard.admin.registerWorker({ name: unique('worker') });
    const pinToWorkerId = present(worker).workerId;
    const { warnings } = await yard.admin.scheduleRun(runOf({ action }, { pinToWorkerId }));
    expect(reasonsOf(warnings)).toEqual(['PIN_WITHOUT_STICKY']);
    for (const sticky of [SOFT, HARD]) {
      const scheduled = await yard.admin.scheduleRun(runOf({ action }, { pinToWorkerId, sticky }));
      expect(reasonsOf(scheduled.warnings)).toEqual([]);
    }
  });
});
