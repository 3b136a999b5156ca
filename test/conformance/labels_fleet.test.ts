import { describe, expect, it } from 'vitest';
import { Sticky } from '../../gen/yardmaster/v1/run_pb.ts';
import type { RunStep } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { present, unique, until, useYard } from '../support/conformance.ts';
import { desired } from '../support/conformance_labels.ts';
import { chain, putWorkflow, startFlow } from '../support/conformance_runs.ts';
import type { WorkerStream } from '../support/conformance_stream.ts';

const yard = useYard();

const KINDS = ['foo', 'bar', 'baz', 'qux'];
const RUNS = 50;
const STEPS = ['fetch', 'train', 'store'];

function pick<T>(values: readonly T[]): T {
  return present(values[Math.floor(Math.random() * values.length)]);
}

/** Does whatever the worker is given until so many steps were done by all of them; what each was given. */
async function workThrough(workers: readonly WorkerStream[], count: number): Promise<RunStep[][]> {
  let done = 0;
  const given: RunStep[][] = workers.map(() => []);
  const loops = workers.map(async (worker, index) => {
    for (;;) {
      const offer = await worker.take();
      given[index]?.push(offer);
      await worker.settled(worker.succeed(offer));
      done += 1;
    }
  });
  // Each ends when its worker has left.
  const ended = Promise.all(loops.map((loop) => loop.catch(() => {})));
  await until(async () => done >= count, `${count} steps are done`);
  await Promise.all(workers.map((worker) => worker.leave()));
  await ended;
  return given;
}

function connectFleet(action: string): Promise<WorkerStream[]> {
  return Promise.all(KINDS.map((kind) => yard.connect({ actions: [action], slots: 3, labels: { kind } })));
}

describe('a fleet of labelled workers', () => {
  it('L12 50 three-step runs, each requiring a random label: every step on the right worker', async () => {
    const action = unique('l12');
    const workers = await connectFleet(action);
    const { name } = await putWorkflow(yard, chain(STEPS, { action }));
    const kindOf = new Map<string, string>();
    for (let index = 0; index < RUNS; index++) {
      const kind = pick(KINDS);
      kindOf.set(await startFlow(yard, name, { desiredLabels: [desired('kind', 'EQUAL', kind)] }), kind);
    }
    const given = await workThrough(workers, RUNS * STEPS.length);
    given.forEach((offers, index) => {
      expect(new Set(offers.map(({ runId }) => kindOf.get(runId)))).toEqual(
        offers.length > 0 ? new Set([KINDS[index]]) : new Set(),
      );
    });
    const stepsOf = (runId: string) => given.flat().filter((offer) => offer.runId === runId);
    for (const runId of kindOf.keys()) {
      expect(stepsOf(runId).map(({ stepName }) => stepName)).toEqual(STEPS);
      expect(await yard.runState(runId)).toBe('SUCCEEDED');
    }
  });

  it('L12 each step requiring a random label of its own', async () => {
    const action = unique('l12');
    const workers = await connectFleet(action);
    const wanted = new Map<string, string[]>();
    for (let index = 0; index < RUNS; index++) {
      const kinds = STEPS.map(() => pick(KINDS));
      const steps = chain(STEPS, { action }).map((step, at) => ({
        ...step,
        desiredLabels: [desired('kind', 'EQUAL', present(kinds[at]))],
      }));
      // No mode of stickiness that leaves a choice switches a label off.
      const { name } = await putWorkflow(yard, steps, { sticky: pick([Sticky.NONE, Sticky.SOFT]) });
      wanted.set(await startFlow(yard, name), kinds);
    }
    const given = await workThrough(workers, RUNS * STEPS.length);
    for (const [runId, kinds] of wanted) {
      const takers = STEPS.map((stepName) =>
        given.flatMap((offers, index) =>
          offers.filter((offer) => offer.runId === runId && offer.stepName === stepName).map(() => KINDS[index]),
        ),
      );
      expect(takers).toEqual(kinds.map((kind) => [kind]));
    }
  });
});
