import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { unique, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';
import { type DesiredInit, desired, labelValue, optional } from '../support/conformance_labels.ts';
import type { WorkerStream } from '../support/conformance_stream.ts';

const yard = useYard();

type Case = [desired: DesiredInit, matches: boolean];

/** Asks for each of the conditions in a run of its own, and says which the worker was given. */
async function expectMatches(worker: WorkerStream, action: string, cases: readonly Case[]): Promise<void> {
  const runs = await Promise.all(
    cases.map(async ([condition, matches]) => ({
      shown: JSON.stringify(condition),
      matches,
      runId: await yard.submit({ action, desiredLabels: [condition] }),
    })),
  );
  await yard.quiet(worker);
  const given = new Set(worker.unread('runStep').map(({ runId }) => runId));
  const outcome = runs.map(({ shown, runId }) => ({ shown, matches: given.has(runId) }));
  expect(outcome).toEqual(runs.map(({ shown, matches }) => ({ shown, matches })));
}

describe('labels', () => {
  it('L1 each comparator at and around its boundary', async () => {
    const action = unique('l1');
    const worker = await yard.connect({ actions: [action], slots: 100, labels: { memory: 256, zone: 'b' } });
    await expectMatches(worker, action, [
      [desired('memory', 'EQUAL', 255), false],
      [desired('memory', 'EQUAL', 256), true],
      [desired('memory', 'EQUAL', 256.5), false],
      [desired('zone', 'EQUAL', 'b'), true],
      [desired('zone', 'EQUAL', 'B'), false],
      [desired('memory', 'NOT_EQUAL', 255), true],
      [desired('memory', 'NOT_EQUAL', 256), false],
      [desired('zone', 'NOT_EQUAL', 'a'), true],
      [desired('zone', 'NOT_EQUAL', 'b'), false],
      [desired('memory', 'GREATER_THAN', 255.999), true],
      [desired('memory', 'GREATER_THAN', 256), false],
      [desired('memory', 'GREATER_THAN', 256.001), false],
      [desired('memory', 'GREATER_THAN_OR_EQUAL', 255), true],
      [desired('memory', 'GREATER_THAN_OR_EQUAL', 256), true],
      [desired('memory', 'GREATER_THAN_OR_EQUAL', 257), false],
      [desired('memory', 'LESS_THAN', 255), false],
      [desired('memory', 'LESS_THAN', 256), false],
      [desired('memory', 'LESS_THAN', 257), true],
      [desired('memory', 'LESS_THAN_OR_EQUAL', 255), false],
      [desired('memory', 'LESS_THAN_OR_EQUAL', 256), true],
      [desired('memory', 'LESS_THAN_OR_EQUAL', 257), true],
      [desired('memory', 'IN', [255, 256]), true],
      [desired('memory', 'IN', [255, 257]), false],
      [desired('zone', 'IN', ['a', 'b']), true],
      [desired('zone', 'IN', ['a']), false],
      [desired('memory', 'NOT_IN', [255, 257]), true],
      [desired('memory', 'NOT_IN', [255, 256]), false],
      [desired('zone', 'NOT_IN', ['a', 'c']), true],
      [desired('zone', 'NOT_IN', ['b']), false],
      [desired('memory', 'EXISTS', null), true],
      [desired('disk', 'EXISTS', null), false],
      [desired('memory', 'NOT_EXISTS', null), false],
      [desired('disk', 'NOT_EXISTS', null), true],
    ]);
  });

  it('several conditions on one key must all hold', async () => {
    const action = unique('both');
    const window = { action, desiredLabels: [desired('memory', 'GREATER_THAN', 256)] };
    const runId = await yard.submit(window, { desiredLabels: [desired('memory', 'LESS_THAN', 1024)] });
    const small = await yard.connect({ actions: [action], labels: { memory: 256 } });
    const large = await yard.connect({ actions: [action], labels: { memory: 1024 } });
    await yard.quiet(small, large);
    expect([...small.unread('runStep'), ...large.unread('runStep')]).toEqual([]);
    const between = await yard.connect({ actions: [action], labels: { memory: 512 } });
    expect((await between.next('runStep')).runId).toBe(runId);
  });

  it('L2 a missing key and another type never match, but for NOT_EXISTS', async () => {
    const action = unique('l2');
    // Without tags: what the legacy rule forgives for runs_on it does not forgive for labels.
    const worker = await yard.connect({
      tags: [],
      actions: [action],
      slots: 100,
      labels: { number: 256, text: '256' },
    });
    const missing: Case[] = [
      [desired('absent', 'EQUAL', 1), false],
      [desired('absent', 'NOT_EQUAL', 1), false],
      [desired('absent', 'GREATER_THAN', 0), false],
      [desired('absent', 'GREATER_THAN_OR_EQUAL', 0), false],
      [desired('absent', 'LESS_THAN', 9), false],
      [desired('absent', 'LESS_THAN_OR_EQUAL', 9), false],
      [desired('absent', 'IN', [1]), false],
      [desired('absent', 'NOT_IN', [1]), false],
      [desired('absent', 'EXISTS', null), false],
      [desired('absent', 'NOT_EXISTS', null), true],
    ];
    const mismatch: Case[] = [
      [desired('number', 'EQUAL', '256'), false],
      [desired('number', 'NOT_EQUAL', 'x'), false],
      [desired('number', 'IN', ['256']), false],
      [desired('number', 'NOT_IN', ['x']), false],
      [desired('text', 'EQUAL', 256), false],
      [desired('text', 'NOT_EQUAL', 1), false],
      [desired('text', 'IN', [256]), false],
      [desired('text', 'NOT_IN', [1]), false],
      [desired('text', 'GREATER_THAN', 1), false],
      [desired('text', 'GREATER_THAN_OR_EQUAL', 256), false],
      [desired('text', 'LESS_THAN', 999), false],
      [desired('text', 'LESS_THAN_OR_EQUAL', 256), false],
    ];
    await expectMatches(worker, action, [...missing, ...mismatch]);
  });

  it('L3 an order comparator on a string is refused at submission, naming the key', async () => {
    const action = unique('l3');
    const refused: DesiredInit[] = [
      desired('memory', 'GREATER_THAN', '256'),
      desired('memory', 'GREATER_THAN_OR_EQUAL', '256'),
      desired('memory', 'LESS_THAN', '256'),
      desired('memory', 'LESS_THAN_OR_EQUAL', '256'),
      // The other shapes no worker could ever match.
      { key: 'memory', value: { kind: { case: 'boolValue', value: true } } },
      { key: 'memory', value: {} },
      desired('memory', 'EQUAL', null),
      desired('memory', 'EQUAL', Number.NaN),
      desired('memory', 'LESS_THAN', Number.POSITIVE_INFINITY),
      desired('memory', 'EQUAL', [256]),
      desired('memory', 'IN', 256),
      desired('memory', 'IN', []),
      desired('memory', 'NOT_IN', [256, 'a']),
      desired(
        'memory',
        'IN',
        Array.from({ length: 65 }, (_, index) => index),
      ),
      desired('memory', 'EXISTS', 256),
    ];
    for (const condition of refused) {
      const other = desired('zone', 'EQUAL', 'b');
      const end = await failureOf(yard.submit({ action, desiredLabels: [other, condition] }));
      expect(end, JSON.stringify(condition)).toMatchObject({ code: status.INVALID_ARGUMENT, domain: 'yardmaster' });
      expect(['INVALID_LABEL', 'LIMIT_EXCEEDED']).toContain(end.reason);
      expect(end.message).toContain('memory');
      expect(end.fields).toHaveLength(1);
      expect(end.fields[0]?.field).toMatch(/^step\.desired_labels\[1\]/);
    }
    const ofRun = await failureOf(yard.submit({ action }, { desiredLabels: [desired('memory', 'LESS_THAN', 'x')] }));
    expect(ofRun.fields[0]?.field).toMatch(/^desired_labels\[0\]/);
    expect((await yard.admin.listRuns({ action, anyState: true })).runs).toEqual([]);
  });

  it('L4 a condition is EQUAL, required and of weight 100 unless it says otherwise', async () => {
    const action = unique('l4');
    const other = await yard.connect({ actions: [action], labels: { gpu: 'h100' } });
    const runId = await yard.submit({ action, desiredLabels: [{ key: 'gpu', value: labelValue('a100') }] });
    await yard.quiet(other);
    expect(other.unread('runStep')).toEqual([]);
    const match = await yard.connect({ actions: [action], labels: { gpu: 'a100' } });
    expect((await match.next('runStep')).runId).toBe(runId);

    const ranked = unique('l4');
    const plain = await yard.connect({ actions: [ranked], slots: 10, labels: { plain: 1 } });
    const weighted = await yard.connect({ actions: [ranked], slots: 10, labels: { weighted: 1 } });
    const above = await yard.submit({ action: ranked, desiredLabels: [optional('plain'), optional('weighted', 99)] });
    const below = await yard.submit({ action: ranked, desiredLabels: [optional('plain'), optional('weighted', 101)] });
    await yard.quiet(plain, weighted);
    expect(plain.unread('runStep').map((offer) => offer.runId)).toEqual([above]);
    expect(weighted.unread('runStep').map((offer) => offer.runId)).toEqual([below]);
  });

  it('L5 the highest single weight beats a higher sum; the sum breaks its ties; negative weights only push down', async () => {
    const action = unique('l5');
    const single = await yard.connect({ actions: [action], slots: 10, labels: { heavy: 1 } });
    const many = await yard.connect({ actions: [action], slots: 10, labels: { light: 1, lighter: 1, heavyToo: 1 } });
    const bySingle = [optional('heavy', 60), optional('light', 50), optional('lighter', 50)];
    const bySum = [optional('heavy', 60), optional('heavyToo', 60), optional('lighter', 1)];
    const pushedDown = [optional('heavy', 60), optional('heavyToo', 60), optional('lighter', -1)];
    // In an order in which the weights alone lead where each of these goes: all other ranks lead to the other worker.
    const sum = await yard.submit({ action, desiredLabels: bySum });
    const bySingles = [
      await yard.submit({ action, desiredLabels: bySingle }),
      await yard.submit({ action, desiredLabels: bySingle }),
    ];
    const down = await yard.submit({ action, desiredLabels: pushedDown });
    await yard.quiet(single, many);
    expect(single.unread('runStep').map(({ runId }) => runId)).toEqual([...bySingles, down]);
    expect(many.unread('runStep').map(({ runId }) => runId)).toEqual([sum]);

    const disliked = unique('l5');
    const spot = await yard.connect({ actions: [disliked], slots: 1, labels: { spot: 1 } });
    const steady = await yard.connect({ actions: [disliked], slots: 1, labels: { steady: 1 } });
    const step = { action: disliked, desiredLabels: [optional('spot', -50)] };
    const [better, worse] = [await yard.submit(step), await yard.submit(step)];
    expect((await steady.next('runStep')).runId).toBe(better);
    // Never excluded: with nobody else free it is taken all the same.
    expect((await spot.next('runStep')).runId).toBe(worse);
  });

  it('tags that cover runs_on go before the worker without any', async () => {
    const action = unique('cover');
    const bare = await yard.connect({ tags: [], actions: [action] });
    const fitting = await yard.connect({ tags: ['gpu'], actions: [action] });
    const [first, second] = [
      await yard.submit({ action }, { runsOn: ['gpu'] }),
      await yard.submit({ action }, { runsOn: ['gpu'] }),
    ];
    expect((await fitting.next('runStep')).runId).toBe(first);
    expect((await bare.next('runStep')).runId).toBe(second);
  });
});
