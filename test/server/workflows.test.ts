import { create, equals } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { Comparator, StepDefinitionSchema, Sticky } from '../../gen/yardmaster/v1/run_pb.ts';
import { present, unique, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';

const yard = useYard({ limits: { stepsPerRunMax: 20 } });

describe('PutWorkflow', () => {
  it('counts versions, and gives every one back as it was put', async () => {
    const name = unique('flow');
    const steps = [
      create(StepDefinitionSchema, {
        action: 'fetch',
        runsOn: ['b', 'a', 'b'],
        desiredLabels: [
          {
            key: 'zone',
            comparator: Comparator.IN,
            values: [{ kind: { case: 'stringValue', value: 'eu' } }],
            weight: -3,
          },
        ],
        scheduleTimeout: { seconds: 0n },
        retry: { maxAttempts: 3, initialBackoff: { seconds: 1n, nanos: 500 } },
      }),
      create(StepDefinitionSchema, { name: 'ä', action: 'fit', needs: ['fetch', 'fetch'] }),
    ];
    const first = await yard.admin.putWorkflow({ name, steps, sticky: Sticky.SOFT });
    expect(first.workflow).toMatchObject({ name, version: 1, sticky: Sticky.SOFT });
    const second = await yard.admin.putWorkflow({ name, steps: [{ action: 'other' }] });
    expect(second.workflow).toMatchObject({ version: 2, sticky: Sticky.NONE });

    const newest = await yard.admin.getWorkflow({ name });
    expect(newest.workflow).toMatchObject({ version: 2, steps: [{ action: 'other' }] });
    const { workflow } = await yard.admin.getWorkflow({ name, version: 1 });
    expect(workflow).toMatchObject({ name, version: 1, sticky: Sticky.SOFT });
    expect(present(workflow).createTime).toEqual(first.workflow?.createTime);
    steps.forEach((step, index) => {
      for (const given of [first.workflow, workflow])
        expect(equals(StepDefinitionSchema, present(given?.steps[index]), step), step.action).toBe(true);
    });
  });

  it('refuses what is no graph, naming the step', async () => {
    const cases: [steps: object[], field: string, reason: string, shown: string][] = [
      [
        [
          { name: 'a', action: 'x' },
          { name: 'a', action: 'y' },
        ],
        'steps[1].name',
        'INVALID_WORKFLOW',
        '"a"',
      ],
      [[{ action: 'x' }, { action: 'x' }], 'steps[1].name', 'INVALID_WORKFLOW', '"x"'],
      [[{ name: 'a', action: 'x', needs: ['b'] }], 'steps[0].needs', 'INVALID_WORKFLOW', '"b"'],
      [[{ name: 'a', action: 'x', needs: ['a'] }], 'steps[0].needs', 'INVALID_WORKFLOW', '"a"'],
      [
        [
          { name: 'a', action: 'x' },
          { name: 'b', action: 'x', needs: ['a', 'c'] },
          { name: 'c', action: 'x', needs: ['b'] },
        ],
        'steps[1].needs',
        'INVALID_WORKFLOW',
        '"b"',
      ],
      [Array.from({ length: 21 }, (_, index) => ({ name: `s${index}`, action: 'x' })), 'steps', 'LIMIT_EXCEEDED', '21'],
      [[], 'steps', 'INVALID_FIELD', ''],
    ];
    for (const [steps, field, reason, shown] of cases) {
      const end = await failureOf(yard.admin.putWorkflow({ name: 'refused', steps }));
      expect(end).toMatchObject({ code: status.INVALID_ARGUMENT, reason });
      expect(end.fields.map((violation) => violation.field)).toEqual([field]);
      expect(end.message).toContain(shown);
    }
    expect(await failureOf(yard.admin.getWorkflow({ name: 'refused' }))).toMatchObject({
      reason: 'WORKFLOW_NOT_FOUND',
    });
  });

  it('names the step of any other mistake as well', async () => {
    const bad = { key: 'memory', comparator: Comparator.GREATER_THAN, value: stringValue('much') };
    const steps = [{ action: 'x' }, { name: 'fit', action: 'x', desiredLabels: [bad] }];
    const end = await failureOf(yard.admin.putWorkflow({ name: 'refused', steps }));
    expect(end).toMatchObject({ reason: 'INVALID_LABEL', metadata: { step: 'fit' } });
    expect(end.message).toMatch(/^step "fit": steps\[1\]\.desired_labels\[0\] \(key "memory"\): /);
    for (const what of [{ name: 'a\u0000b' }, { name: 'x'.repeat(129) }]) {
      const refused = await failureOf(yard.admin.putWorkflow({ ...what, steps: [{ action: 'x' }] }));
      expect(refused).toMatchObject({ code: status.INVALID_ARGUMENT, fields: [{ field: 'name' }] });
    }
    const forever = { seconds: 10n ** 15n };
    const tooLong = await failureOf(
      yard.admin.putWorkflow({ name: 'refused', steps: [{ action: 'x', executionTimeout: forever }] }),
    );
    expect(tooLong).toMatchObject({ code: status.INVALID_ARGUMENT });
  });

  it('warns, and takes it all the same', async () => {
    const name = unique('flow');
    const steps = [{ action: 'nobody' }, { name: 'fit', action: 'nobody', needs: ['nobody'], runsOn: ['gpu'] }];
    const { workflow, warnings } = await yard.admin.putWorkflow({ name, steps, sticky: Sticky.HARD });
    expect(workflow?.version).toBe(1);
    expect(warnings.map(({ reason }) => reason)).toEqual(['STICKY_MISMATCH', 'NO_WORKER_SERVES_ACTION']);
    const scheduled = await yard.admin.scheduleRun({ what: { case: 'workflow', value: name } });
    expect(scheduled.warnings).toEqual(warnings);
    const soft = await yard.admin.scheduleRun({ what: { case: 'workflow', value: name }, sticky: Sticky.SOFT });
    expect(soft.warnings.map(({ reason }) => reason)).toEqual(['NO_WORKER_SERVES_ACTION']);
  });
});

describe('workflows', () => {
  it('what is not there is NOT_FOUND', async () => {
    const name = unique('flow');
    await yard.admin.putWorkflow({ name, steps: [{ action: 'x' }] });
    const missing = { code: status.NOT_FOUND, reason: 'WORKFLOW_NOT_FOUND' };
    expect(await failureOf(yard.admin.getWorkflow({ name: 'nowhere' }))).toMatchObject(missing);
    for (const version of [2, 2 ** 32 - 1]) {
      expect(await failureOf(yard.admin.getWorkflow({ name, version }))).toMatchObject(missing);
      const what = { case: 'workflow' as const, value: name };
      expect(await failureOf(yard.admin.scheduleRun({ what, workflowVersion: version }))).toMatchObject(missing);
    }
    const what = { case: 'workflow' as const, value: 'nowhere' };
    expect(await failureOf(yard.admin.scheduleRun({ what }))).toMatchObject(missing);
    expect(await failureOf(yard.admin.scheduleRun({ what, workflowVersion: 1 }))).toMatchObject(missing);
  });

  it('are listed by name, the newest version of each, page by page', async () => {
    const namespace = unique('listed');
    const here = { 'yardmaster-namespace': namespace };
    await yard.admin.putNamespace({ namespace: { name: namespace } });
    for (const name of ['b', 'a', 'B', 'ä', 'a'])
      await yard.admin.putWorkflow({ name, steps: [{ action: 'x' }] }, here);
    const read = async (pageToken: string) => yard.admin.listWorkflows({ pageSize: 2, pageToken }, here);
    const first = await read('');
    const second = await read(first.nextPageToken);
    const found = [...first.workflows, ...second.workflows].map(({ name, version }) => `${name} ${version}`);
    expect(found).toEqual(['B 1', 'a 2', 'b 1', 'ä 1']);
    expect(second.nextPageToken).toBe('');
    const end = await failureOf(yard.admin.listWorkers({ pageToken: first.nextPageToken }, here));
    expect(end).toMatchObject({ reason: 'INVALID_PAGE_TOKEN' });
  });

  it('runs are counted within each, found by number, and of the version asked for', async () => {
    const name = unique('flow');
    const what = { case: 'workflow' as const, value: name };
    await yard.admin.putWorkflow({
      name,
      steps: [{ action: 'first' }, { name: 'then', action: 'x', needs: ['first'] }],
    });
    await yard.admin.putWorkflow({ name, steps: [{ action: 'only' }] });
    const newest = present((await yard.admin.scheduleRun({ what })).run);
    const older = present((await yard.admin.scheduleRun({ what, workflowVersion: 1, sticky: Sticky.HARD })).run);
    expect(newest).toMatchObject({ workflow: name, workflowVersion: 2, number: 1n, sticky: Sticky.NONE });
    expect(older).toMatchObject({ workflow: name, workflowVersion: 1, number: 2n, sticky: Sticky.HARD });
    const found = await yard.admin.getRun({ workflow: name, number: 2n });
    expect(found.run).toMatchObject({
      runId: older.runId,
      workflowVersion: 1,
      steps: [{ name: 'first' }, { name: 'then', blockedReason: 'NEEDS first' }],
    });
    const missing = await failureOf(yard.admin.getRun({ workflow: name, number: 2n ** 60n }));
    expect(missing).toMatchObject({ code: status.NOT_FOUND, reason: 'RUN_NOT_FOUND' });
    const listed = await yard.admin.listRuns({ workflow: name, oldestFirst: true });
    expect(listed.runs.map(({ runId }) => runId)).toEqual([newest.runId, older.runId]);
    const byAction = await yard.admin.listRuns({ workflow: name, action: 'first' });
    expect(byAction.runs.map(({ runId }) => runId)).toEqual([older.runId]);
  });

  it('the same request id makes one run, though a newer version was put meanwhile', async () => {
    const name = unique('flow');
    const what = { case: 'workflow' as const, value: name };
    await yard.admin.putWorkflow({ name, steps: [{ action: 'x' }] });
    const request = { what, requestId: unique('request') };
    const { run } = await yard.admin.scheduleRun(request);
    await yard.admin.putWorkflow({ name, steps: [{ action: 'y' }] });
    const again = await yard.admin.scheduleRun(request);
    expect(again).toMatchObject({ alreadyScheduled: true, run: { runId: run?.runId, workflowVersion: 1 } });
    for (const other of [
      { workflowVersion: 1 },
      { sticky: Sticky.HARD },
      { dependsOnRunIds: [present(run).runId] },
      { concurrency: { key: 'k' } },
      { scheduleTimeout: { seconds: 1n } },
    ]) {
      const end = await failureOf(yard.admin.scheduleRun({ ...request, ...other }));
      expect(end).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
    }
  });
});

function stringValue(value: string) {
  return { kind: { case: 'stringValue' as const, value } };
}
