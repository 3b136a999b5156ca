/** The indexed engine against the naive plane: after every command both must say the same. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { DEFAULT_TIMES } from '../../src/domain/limits.ts';
import { createEngine } from '../../src/engine/engine.ts';
import { countingIds, createYard } from '../support/engine.ts';
import { expectIndexes, expectNothingLeft, expectRoom, expectSame, legalMoves } from '../support/engine_checks.ts';
import { DUEL_TIMES, Duel } from '../support/engine_duel.ts';
import { eventsOf } from '../support/engine_events.ts';
import { pictureOfEngine, pictureOfOracle } from '../support/engine_pictures.ts';
import { createSightings, SIGHTS, type Sightings, sightingsOf, sumUp } from '../support/engine_sightings.ts';
import { type Wish, wishHolds } from '../support/engine_wishes.ts';

const LIVES = 380;
const EVENTS_PER_LIFE = 50;
const COMMANDS_MIN = 20_000;
const DUEL_TIMEOUT_MS = 180_000;
/** Of everything a duel is about, in all its lives; nearly all of it happens hundreds of times. */
const SIGHTS_MIN = 10;

const KINDS = [
  'accept_step',
  'cancel_run',
  'change_slots',
  'close_session',
  'confirm_cancel',
  'delete_worker',
  'drain_worker',
  'fail_step',
  'goodbye',
  'handed_over',
  'open_session',
  'progress_step',
  'put_namespace',
  'put_workflow',
  'resume_worker',
  'retry_run',
  'return_step',
  'schedule_runs',
  'succeed_step',
  'tick',
  'update_run',
  'upsert_labels',
];
const STATES = [
  'ASSIGNED',
  'BLOCKED',
  'CANCELLED',
  'CRASHED',
  'FAILED',
  'PENDING',
  'RUNNING',
  'SKIPPED',
  'SUCCEEDED',
  'TIMED_OUT',
];

/** What a server that is killed now leaves behind is what the next one goes on with. */
function expectRestored({ yard, oracle }: Duel): void {
  const next = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs, times: DUEL_TIMES });
  const { state } = next.engine;
  const expected = pictureOfOracle(oracle, state.runs);
  expect(pictureOfEngine(state)).toEqual(expected);
  expectIndexes(state);
}

function expectReplay({ commands, sent }: Duel): void {
  const engine = createEngine({ times: { ...DEFAULT_TIMES, ...DUEL_TIMES } });
  const ids = countingIds();
  const again = commands.flatMap(({ command, atMs }) => engine.apply(command as { kind: 'tick' }, atMs, ids).effects);
  expect(again).toEqual(sent);
}

describe('the engine and the naive plane', () => {
  it(
    'agree after every command on who holds what and on what waits in which order',
    () => {
      const seen = createSightings();
      const life = fc.property(eventsOf(EVENTS_PER_LIFE), (events) => {
        const expectLegal = legalMoves();
        const sight = sightingsOf(seen);
        const duel = new Duel((now) => {
          expectSame(now);
          expectNothingLeft(now);
          expectRoom(now);
          expectLegal(now);
          expectIndexes(now.yard.engine.state);
          sight(now);
        });
        for (const event of events) duel.happen(event);
        expectRestored(duel);
        expectReplay(duel);
        sumUp(seen, duel);
      });
      fc.assert(life, { numRuns: LIVES });
      expectSeen(seen);
    },
    DUEL_TIMEOUT_MS,
  );
});

/** Otherwise the agreement would mean nothing. */
function expectSeen(seen: Sightings): void {
  expect(seen.commands).toBeGreaterThanOrEqual(COMMANDS_MIN);
  expect([...seen.kinds].sort()).toEqual(KINDS);
  expect([...seen.ends].sort()).toEqual(STATES);
  expect([...seen.outcomes]).toEqual(
    expect.arrayContaining(['ACCEPT_TIMEOUT', 'EXECUTION_TIMEOUT', 'NOT_READY', 'WORKER_LOST', 'SUPERSEDED']),
  );
  for (const sight of SIGHTS) expect([sight, seen.counts.get(sight) ?? 0]).toSatisfy(([, n]) => n >= SIGHTS_MIN);
}

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
