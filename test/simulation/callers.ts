/** Those who submit and cancel runs. They repeat what was not answered, with the same request id, until it is. */
import type { DesiredLabel } from '../../src/domain/labels.ts';
import type { Priority } from '../../src/domain/priority.ts';
import { isRefusal } from '../../src/domain/refusal.ts';
import type { RunDraft } from '../../src/engine/commands.ts';
import type { IdSource } from '../../src/lib/random.ts';
import { desire, draftOf, type RunOptions } from '../support/engine.ts';
import type { Chance } from './chance.ts';
import { short } from './ids.ts';
import type { SimServer } from './server.ts';
import type { World } from './world.ts';

/** A caller gives up waiting for an answer after this. */
const ANSWER_MS_MAX = 4_000;
const RETRY_MS = 500;

interface Order {
  readonly requestId: string;
  readonly options: RunOptions;
  /** The run that the server said it has; null: not yet answered. */
  runId: string | null;
  /** A cancel IF_PENDING that was answered well: it must never have been executed. */
  cancelledPending: boolean;
  cancelled: boolean;
}

export interface Callers {
  readonly orders: readonly Order[];
  submit(): void;
  cancel(): void;
}

export interface CallersOptions {
  readonly world: World;
  readonly chance: Chance;
  readonly server: SimServer;
  readonly ids: IdSource;
  readonly isCalm: () => boolean;
  /** Most cancels are for what has not ended. */
  readonly isUnderWay: (runId: string) => boolean;
}

export function createCallers({ world, chance, server, ids, isCalm, isUnderWay }: CallersOptions): Callers {
  const orders: Order[] = [];

  function send(order: Order): void {
    let isOver = false;
    const again = () => {
      if (!isOver && order.runId === null) world.after(RETRY_MS * (0.5 + chance.fraction()), () => send(order));
      isOver = true;
    };
    const draft: RunDraft = {
      ...draftOf(ids.orderedId(), order.options),
      requestId: order.requestId,
      requestDigest: `digest of ${order.requestId}`,
    };
    world.after(chance.between(0.2, 10), () => {
      server.schedule(draft, (result) => {
        // The answer may be lost on its way back.
        if (!isCalm() && chance.happens(0.05)) return;
        world.after(chance.between(0.2, 10), () => {
          if (isRefusal(result)) again();
          else answered(order, result.runId);
        });
      });
    });
    world.after(ANSWER_MS_MAX, again);
  }

  function answered(order: Order, runId: string): void {
    if (order.runId === null) world.note('caller', `has run ${short(runId)} for ${order.requestId}`);
    else if (order.runId !== runId) world.broken(`${order.requestId} is two runs: ${order.runId} and ${runId}`);
    order.runId = runId;
  }

  return {
    orders,
    submit() {
      const order: Order = {
        requestId: `request-${orders.length + 1}`,
        options: wishes(chance),
        runId: null,
        cancelledPending: false,
        cancelled: false,
      };
      orders.push(order);
      send(order);
    },
    cancel() {
      const known = orders.filter(({ runId, cancelled }) => runId !== null && !cancelled);
      if (known.length === 0) return;
      const underWay = known.filter(({ runId }) => isUnderWay(runId ?? ''));
      const order = chance.pick(underWay.length > 0 ? underWay : known);
      const mode = chance.happens(0.5) ? 'ANY' : 'IF_PENDING';
      const runId = order.runId ?? '';
      world.note('caller', `cancels run ${short(runId)}, ${mode}`);
      server.call<'cancel_run'>(
        { kind: 'cancel_run', namespace: 'default', runId, mode, reason: 'not needed', stepName: '' },
        (result) => {
          if (isRefusal(result)) return;
          order.cancelled = true;
          if (mode === 'IF_PENDING') order.cancelledPending = true;
        },
      );
    },
  };
}

const ACTIONS = ['build', 'build', 'test', 'train'];
const PRIORITIES: readonly Priority[] = [1, 2, 2, 3, 4];

function wishes(chance: Chance): RunOptions {
  // Whoever waits for a place must be able to count on those before it: these ask for nothing that may never come.
  return chance.happens(0.15)
    ? { ...plainWishes(chance), concurrency: { key: chance.pick(['red', 'blue']), limit: chance.whole(1, 2) } }
    : { ...plainWishes(chance), ...pickyWishes(chance) };
}

function pickyWishes(chance: Chance): RunOptions {
  return {
    runsOn: chance.happens(0.25) ? [chance.pick(['gpu', 'cpu'])] : [],
    desired: labelsWished(chance),
    sticky: chance.pick(['NONE', 'NONE', 'NONE', 'SOFT', 'HARD']),
  };
}

function plainWishes(chance: Chance): RunOptions {
  const maybe = <T>(probability: number, value: () => T): T | null => (chance.happens(probability) ? value() : null);
  return {
    action: chance.pick(ACTIONS),
    priority: chance.pick(PRIORITIES),
    scheduleTimeoutMs: chance.happens(0.4) ? chance.whole(500, 40_000) : 0,
    executionTimeoutMs: maybe(0.2, () => chance.whole(1_000, 20_000)),
    progressTimeoutMs: maybe(0.1, () => chance.whole(2_000, 20_000)),
    reconnectGraceMs: maybe(0.1, () => chance.whole(0, 60_000)),
    retry: {
      attemptsMax: chance.whole(1, 3),
      initialBackoffMs: chance.happens(0.5) ? 0 : chance.whole(100, 5_000),
      workerLossesMax: chance.happens(0.7) ? -1 : chance.whole(0, 3),
    },
  };
}

function labelsWished(chance: Chance): DesiredLabel[] {
  const wished: DesiredLabel[] = [];
  if (chance.happens(0.25)) wished.push(desire('zone', chance.pick(['a', 'b'])));
  if (chance.happens(0.15)) wished.push(desire('memory', chance.pick([100, 300, 600]), { comparator: 'GREATER_THAN' }));
  if (chance.happens(0.1)) wished.push(desire('zone', 'a', { required: false, weight: chance.whole(-50, 200) }));
  return wished;
}
