/** The indexed engine against the naive plane: after every command both must say the same. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { DEFAULT_TIMES } from '../../src/domain/limits.ts';
import type { StepState } from '../../src/domain/step.ts';
import { createEngine } from '../../src/engine/engine.ts';
import { countingIds, createYard } from '../support/engine.ts';
import { DUEL_TIMES, Duel, pictureOfEngine, pictureOfOracle } from '../support/engine_duel.ts';
import { eventsOf } from '../support/engine_events.ts';
import { type Wish, wishHolds } from '../support/engine_wishes.ts';

const LIVES = 250;
const EVENTS_PER_LIFE = 60;
const COMMANDS_MIN = 2_000;

const ENDED: readonly StepState[] = ['SUCCEEDED', 'FAILED', 'CRASHED', 'TIMED_OUT', 'CANCELLED'];
/** Where a step may be after one command, by where it was before. Several moves may lie in between. */
const AFTER: Partial<Record<StepState, readonly StepState[]>> = {
  BLOCKED: ['BLOCKED', 'PENDING', 'ASSIGNED', 'CANCELLED'],
  PENDING: ['PENDING', 'ASSIGNED', 'TIMED_OUT', 'CANCELLED'],
  ASSIGNED: ['ASSIGNED', 'PENDING', 'RUNNING', 'TIMED_OUT', 'CANCELLED'],
  RUNNING: ['RUNNING', 'PENDING', 'ASSIGNED', 'BLOCKED', ...ENDED],
};

function expectSame({ yard, oracle }: Duel): void {
  const expected = pictureOfOracle(oracle);
  const found = pictureOfEngine(yard.engine.state, expected.waiting);
  // Comparing text first: a matcher costs a hundred times as much, and is needed only to show a difference.
  if (JSON.stringify(found) !== JSON.stringify(expected)) expect(found).toEqual(expected);
}

function expectNothingLeft({ yard, oracle }: Duel): void {
  for (const step of oracle.waiting()) {
    for (const worker of oracle.workers) {
      if (oracle.mayTake(worker, step, yard.nowMs))
        throw new Error(`${step.order.id} waits although ${worker.name} may take it`);
    }
  }
}

/** Whoever was given something has room for all that it holds. */
function expectRoom({ yard, offered }: Duel): void {
  for (const connection of offered) {
    const worker = yard.engine.state.workersByConnection.get(connection);
    if (worker === undefined || worker.slotsUsed > worker.slots) throw new Error(`${worker?.name} was given too much`);
  }
}

function legalMoves() {
  const before = new Map<string, StepState>();
  return ({ yard }: Duel) => {
    for (const run of yard.engine.state.runs.values()) {
      const state = run.steps[0]?.state as StepState;
      const was = before.get(run.runId) ?? 'PENDING';
      if (state !== was && !AFTER[was]?.includes(state)) throw new Error(`${run.runId} went from ${was} to ${state}`);
      before.set(run.runId, state);
    }
  };
}

function expectIndexes({ yard }: Duel): void {
  const { state } = yard.engine;
  for (const worker of state.workers.values()) {
    const room = worker.slots > worker.assignments.size + worker.reserved.size;
    const ready = worker.connection !== null && !worker.draining && !worker.acceptMissed && !worker.backPressured;
    const listed = [...worker.actions].map((action) => state.openWorkers.get(`${worker.namespace}\n${action}`));
    if (worker.open !== (room && ready) || listed.some((open) => (open?.has(worker) ?? false) !== worker.open)) {
      throw new Error(`${worker.name} is listed as ${worker.open ? 'open' : 'not open'}, and wrongly`);
    }
  }
  for (const demand of state.demands.values()) if (demand.queue.size === 0) throw new Error('an empty demand is kept');
}

/** What a server that is killed now leaves behind is what the next one goes on with. */
function expectRestored({ yard, oracle }: Duel): void {
  const next = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs, times: DUEL_TIMES });
  const { held, waiting, states } = pictureOfOracle(oracle);
  expect(pictureOfEngine(next.engine.state, waiting)).toMatchObject({ held, waiting, states });
}

function expectReplay({ commands, sent }: Duel): void {
  const engine = createEngine({ times: { ...DEFAULT_TIMES, ...DUEL_TIMES } });
  const ids = countingIds();
  const again = commands.flatMap(({ command, atMs }) => engine.apply(command as { kind: 'tick' }, atMs, ids).effects);
  expect(again).toEqual(sent);
}

describe('the engine and the naive plane', () => {
  it('agree after every command on who holds what and on what waits in which order', () => {
    const seen = {
      commands: 0,
      offers: 0,
      kinds: new Set<string>(),
      ends: new Set<string>(),
      outcomes: new Set<string>(),
    };
    const life = fc.property(eventsOf(EVENTS_PER_LIFE), (events) => {
      const expectLegal = legalMoves();
      const duel = new Duel((now) => {
        expectSame(now);
        expectNothingLeft(now);
        expectRoom(now);
        expectLegal(now);
        expectIndexes(now);
      });
      for (const event of events) duel.happen(event);
      expectRestored(duel);
      expectReplay(duel);
      seen.commands += duel.commands.length;
      seen.offers += duel.sent.filter((effect) => (effect as { kind: string }).kind === 'run_step').length;
      for (const { command } of duel.commands) seen.kinds.add(command.kind);
      for (const step of duel.oracle.steps) seen.ends.add(step.state);
      for (const { outcome } of duel.yard.store.attempts) seen.outcomes.add(outcome);
    });
    fc.assert(life, { numRuns: LIVES });
    // Otherwise the agreement would mean nothing.
    expect(seen.commands).toBeGreaterThanOrEqual(COMMANDS_MIN);
    expect(seen.offers).toBeGreaterThanOrEqual(COMMANDS_MIN / 4);
    expect(seen.kinds.size).toBe(19);
    expect([...seen.ends].sort()).toEqual([
      'ASSIGNED',
      'BLOCKED',
      'CANCELLED',
      'CRASHED',
      'FAILED',
      'PENDING',
      'RUNNING',
      'SUCCEEDED',
      'TIMED_OUT',
    ]);
    expect([...seen.outcomes]).toEqual(
      expect.arrayContaining(['ACCEPT_TIMEOUT', 'EXECUTION_TIMEOUT', 'NOT_READY', 'WORKER_LOST', 'SUPERSEDED']),
    );
  });
});

test.each<[Wish['comparator'], unknown, unknown[], unknown[]]>([
  ['EQUAL', 256, [256], [255, '256']],
  ['NOT_EQUAL', 256, [255], [256, '255']],
  ['GREATER_THAN', 256, [257], [256, '257']],
  ['LESS_THAN_OR_EQUAL', 256, [256], [257, '1']],
  ['IN', ['a', 'b'], ['a'], ['c', 1]],
  ['NOT_IN', ['a', 'b'], ['c'], ['a', 1]],
  ['EXISTS', null, ['', 0], []],
  ['NOT_EXISTS', null, [], ['', 0]],
])("the naive plane's own %s of %j holds for %j and not for %j", (comparator, needs, met, unmet) => {
  const operands = Array.isArray(needs)
    ? { value: null, values: needs }
    : { value: needs as Wish['value'], values: [] };
  const holds = (has: unknown) =>
    wishHolds(new Map([['key', has as string]]), { key: 'key', comparator, ...operands, required: true, weight: 1 });
  expect([met.every(holds), unmet.some(holds)]).toEqual([true, false]);
  expect(wishHolds(new Map(), { key: 'key', comparator, ...operands, required: true, weight: 1 })).toBe(
    comparator === 'NOT_EXISTS',
  );
});
