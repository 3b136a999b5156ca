/** What a step is given to work on: from the cache, or from the store, byte for byte. */
import { beforeAll, describe, expect, it, vi } from 'vitest';
import type { Offer } from '../../src/engine/effects.ts';
import { definitionOf, draftOf } from '../support/engine.ts';
import { offerOf } from '../support/offers.ts';
import { openTestStore, type TestPlane, type TestStore, type TestWorker, WAIT } from '../support/store.ts';

let store: TestStore;
let plane: TestPlane;

beforeAll(async () => {
  store = await openTestStore();
  plane = await store.plane();
  return () => store.close();
});

/** Outputs with what a parser would not keep: order, blanks, large numbers, escapes. */
const OUTPUTS: Record<string, string> = {
  left: '{"b":1, "a":9007199254740993}',
  'right "side"': '[1.0, "\\u00e4"]',
};
const JOINED = '{"left":{"b":1, "a":9007199254740993},"right \\"side\\"":[1.0, "\\u00e4"]}';

/** A run of left and right, joined, and what follows; up to the step of this name, which is offered and left so. */
async function upTo(name: string): Promise<{ offer: Offer; runId: string; input: string }> {
  const steps = [
    definitionOf({ name: 'left' }),
    definitionOf({ name: 'right "side"' }),
    definitionOf({ name: 'join', needs: ['left', 'right "side"'] }),
    definitionOf({ name: 'last', needs: ['join'] }),
  ];
  await plane.take({
    kind: 'put_workflow',
    namespace: 'default',
    name: 'diamond',
    steps,
    sticky: 'NONE',
    source: '[]',
  });
  const worker = await plane.worker('alpha', { slots: 10 });
  const runId = plane.ids.orderedId();
  const draft = draftOf(runId, { workflow: 'diamond' });
  plane.payloads.put(runId, draft.inputJson);
  await plane.take({ kind: 'schedule_runs', runs: [draft] });
  for (const before of ['left', 'right "side"', 'join', 'last']) {
    const offer = await offered(worker, runId, before);
    if (before === name) {
      await plane.fact({ kind: 'goodbye', connection: worker.connection });
      return { offer, runId, input: draft.inputJson };
    }
    const { connection } = worker;
    const { assignmentId } = offer;
    await plane.fact({ kind: 'accept_step', connection, assignmentId });
    await plane.fact({ kind: 'succeed_step', connection, assignmentId, outputJson: OUTPUTS[before] ?? '"joined"' });
  }
  throw new Error(`there is no step ${name}`);
}

function offered(worker: TestWorker, runId: string, stepName: string): Promise<Offer> {
  return vi.waitFor(() => {
    const offers = worker.effects.flatMap((effect) => (effect.kind === 'run_step' ? [effect.offer] : []));
    const found = offers.find((offer) => offer.runId === runId && offer.stepName === stepName);
    if (found === undefined) throw new Error(`step ${stepName} was not offered`);
    return found;
  }, WAIT);
}

describe('the input of a step', () => {
  it('of a first step is that of the run, and nothing else', async () => {
    const { offer, input } = await upTo('left');
    expect(plane.inputs.held(offer)).toEqual({ inputJson: input, runInputJson: '' });
  });

  it('of one with several needs is an object of their outputs, at hand when they are committed', async () => {
    const { offer, input } = await upTo('join');
    expect(plane.inputs.held(offer)).toEqual({ inputJson: JOINED, runInputJson: input });
  });

  it('of one with a single need is its output as it is', async () => {
    const { offer, input } = await upTo('last');
    expect(plane.inputs.held(offer)).toEqual({ inputJson: '"joined"', runInputJson: input });
  });

  it('is the same from the store, whatever of it has left the cache', async () => {
    const { offer, runId, input } = await upTo('join');
    const keys = [runId, `${runId}\nleft`, `${runId}\nright "side"`];
    for (const gone of [...keys.map((key) => [key]), keys]) {
      for (const key of gone) plane.payloads.drop(key);
      expect(plane.inputs.held(offer)).toBeNull();
      expect(await plane.inputs.read(offer)).toEqual({ inputJson: JOINED, runInputJson: input });
      // Once read it is at hand again.
      expect(plane.inputs.held(offer)).not.toBeNull();
    }
  });

  it('that is the same as the run has is sent once', async () => {
    const runId = plane.ids.orderedId();
    plane.payloads.put(runId, '"joined"');
    plane.payloads.put(`${runId}\njoin`, '"joined"');
    const offer = offerOf(runId, { from: 'STEP', stepName: 'join' });
    expect(plane.inputs.held(offer)).toEqual({ inputJson: '"joined"', runInputJson: '' });
  });

  it('that is nowhere is an error, and no empty input', async () => {
    await expect(plane.inputs.read(offerOf(plane.ids.orderedId()))).rejects.toThrow('is not stored');
    const runId = await plane.run();
    const missing = plane.inputs.read(offerOf(runId, { from: 'STEP', stepName: 'never' }));
    await expect(missing).rejects.toThrow('are not stored');
  });
});
