/** How often each thing that a duel is about really happened: an agreement on what never happens means nothing. */
import type { Duel } from './engine_duel.ts';
import { type OracleRun, type OracleStep, type OracleWorker, pinOf } from './oracle_records.ts';

export const SIGHTS = [
  'offer',
  'held for a place',
  'released from a place',
  'given back by a run that lost its place',
  'soft pin moved',
  'unpinned',
  'pin went back to another',
  'failed with its deleted worker',
  'skipped',
  'begun by a dependency',
  'failed by a dependency',
  'retried',
  'retried with its pin',
  'edited while it waited',
] as const;

export interface Sightings {
  commands: number;
  /** Of commands. */
  readonly kinds: Set<string>;
  /** Of steps, at the end of a life. */
  readonly ends: Set<string>;
  /** Of attempts. */
  readonly outcomes: Set<string>;
  readonly counts: Map<(typeof SIGHTS)[number], number>;
}

export function createSightings(): Sightings {
  return { commands: 0, kinds: new Set(), ends: new Set(), outcomes: new Set(), counts: new Map() };
}

interface Before {
  readonly pin: OracleWorker | null;
  readonly waited: boolean;
  readonly ended: boolean;
  readonly assignments: number;
  readonly place: string;
  readonly held: ReadonlySet<OracleStep>;
  readonly states: ReadonlyMap<OracleStep, string>;
}

/** To be called after every command of one life. */
export function sightingsOf({ counts }: Sightings): (duel: Duel) => void {
  const before = new Map<OracleRun, Before>();
  const see = (what: (typeof SIGHTS)[number], is: boolean) => {
    if (is) counts.set(what, (counts.get(what) ?? 0) + 1);
  };
  return ({ oracle, offered }) => {
    for (const _ of offered) see('offer', true);
    for (const run of oracle.runs) {
      const was = before.get(run);
      if (run.ended && was?.ended) continue;
      const is = snapshotOf(run);
      before.set(run, is);
      if (was === undefined) {
        see('failed by a dependency', run.doomed);
        for (const step of run.steps) see('held for a place', step.held);
        continue;
      }
      see('retried', was.ended);
      see('retried with its pin', was.ended && run.given !== null && run.order.sticky !== 'NONE');
      see('failed by a dependency', run.doomed && !was.ended && run.ended);
      see('begun by a dependency', was.waited && !is.waited && !run.doomed && !run.ended);
      see('edited while it waited', was.place !== is.place && oracle.waiting().some((step) => step.run === run));
      if (!was.ended) seePin(see, run, was, is);
      for (const step of run.steps) seeStep(see, step, was);
    }
  };
}

type See = (what: (typeof SIGHTS)[number], is: boolean) => void;

function seePin(see: See, run: OracleRun, was: Before, is: Before): void {
  if (was.pin === is.pin) return;
  const isMove = is.assignments > was.assignments;
  see('soft pin moved', run.order.sticky === 'SOFT' && isMove && was.pin !== null);
  see('unpinned', was.pin !== null && is.pin === null);
  see('pin went back to another', was.pin !== null && is.pin !== null && !isMove);
}

function seeStep(see: See, step: OracleStep, was: Before): void {
  const wasHeld = was.held.has(step);
  see('held for a place', step.held && !wasHeld);
  see('given back by a run that lost its place', step.held && was.states.get(step) === 'ASSIGNED');
  see('released from a place', wasHeld && (step.state === 'PENDING' || step.state === 'ASSIGNED'));
  see('skipped', step.state === 'SKIPPED' && was.states.get(step) !== 'SKIPPED');
  const gone = step.run.order.sticky === 'HARD' && pinOf(step.run)?.deleted === true;
  see('failed with its deleted worker', gone && step.state === 'FAILED' && was.states.get(step) !== 'FAILED');
}

function snapshotOf(run: OracleRun): Before {
  return {
    pin: pinOf(run),
    waited: run.waitsFor.size > 0,
    ended: run.ended,
    assignments: run.assignments.filter(({ is }) => is !== 'VOID').length,
    place: `${run.priority} ${run.runsOn}`,
    held: new Set(run.steps.filter((step) => step.held)),
    states: new Map(run.steps.map((step) => [step, step.state])),
  };
}

/** At the end of a life. */
export function sumUp(seen: Sightings, { commands, oracle, yard }: Duel): void {
  seen.commands += commands.length;
  for (const { command } of commands) seen.kinds.add(command.kind);
  for (const run of oracle.runs) for (const step of run.steps) seen.ends.add(step.state);
  for (const { outcome } of yard.store.attempts) seen.outcomes.add(outcome);
}
