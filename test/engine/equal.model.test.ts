/** Random histories of equal requests, told to the engine and to a model that only knows the table. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Client, createYard, type Yard } from '../support/engine.ts';
import { EqualModel, type ModelRun } from '../support/equal_model.ts';

interface Wish {
  readonly kind: 'submit' | 'accept' | 'succeed' | 'fail' | 'cancel' | 'retry' | 'purge' | 'restart' | 'wait';
  /** Which of the runs that it could be about. */
  readonly pick: number;
  readonly hash: string;
  /** Of a submission: how far back the run is that it depends on; 0: on none. */
  readonly back: number;
}

const wishes: fc.Arbitrary<Wish[]> = fc.array(
  fc.record({
    kind: fc.oneof(
      { weight: 6, arbitrary: fc.constant('submit' as const) },
      { weight: 5, arbitrary: fc.constantFrom('accept' as const, 'succeed' as const, 'fail' as const) },
      { weight: 2, arbitrary: fc.constantFrom('cancel' as const, 'retry' as const) },
      { weight: 1, arbitrary: fc.constantFrom('purge' as const, 'restart' as const, 'wait' as const) },
    ),
    pick: fc.nat({ max: 1_000 }),
    hash: fc.constantFrom('x', 'x', 'y', ''),
    back: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 4 }) }),
  }),
  { minLength: 1, maxLength: 60 },
);

// Nothing is to happen by itself but the forgetting.
const TIMES = { acceptTimeoutMs: 1e9 };

class Duel {
  readonly model = new EqualModel();
  yard: Yard = createYard({ times: TIMES });
  worker: Client = this.yard.hello({ name: 'alpha', slots: 1_000 });
  #count = 0;
  #restarts = 0;

  fulfil(wish: Wish): void {
    if (wish.kind === 'submit') this.#submit(wish);
    else if (wish.kind === 'restart') this.#restart();
    else if (wish.kind === 'wait') this.yard.advance(61_000);
    else if (wish.kind === 'purge') this.#purge(wish.hash);
    else this.#move(wish.kind, wish.pick);
  }

  #submit({ hash, back }: Wish): void {
    this.#count += 1;
    const before = this.model.runs.at(-back);
    const dependsOn = back === 0 || before === undefined ? [] : [before.id];
    const runId = `run-${String(this.#count).padStart(3, '0')}`;
    const storedDependencies = Object.fromEntries(dependsOn.map((id) => [id, this.#storedState(id)]));
    // A store that a restart begins with has only what runs that go on need; the model knows the rest.
    const success = this.model.successOf(hash);
    const storedSuccess = success === undefined ? null : { runId: success, version: 0 };
    const options = { contentHash: hash, dependsOn, storedDependencies, storedSuccess, scheduleTimeoutMs: 0 };
    this.yard.take({ kind: 'schedule_runs', runs: [{ ...this.yard.draft(options), runId }] });
    this.model.submit(runId, hash, dependsOn);
  }

  #storedState(runId: string) {
    return this.model.run(runId).state as 'SUCCEEDED';
  }

  #purge(contentHash: string): void {
    this.yard.take({ kind: 'purge_results', namespace: 'default', contentHash });
    for (const hash of contentHash === '' ? ['x', 'y'] : [contentHash]) this.model.purge(hash);
  }

  #restart(): void {
    const { yard, worker } = this;
    const held = yard.worker(worker.workerId).assignments.keys();
    const resume = { sessionHash: worker.sessionHash, heldAssignmentIds: [...held] };
    this.#restarts += 1;
    const idsAfter = this.#restarts * 10_000;
    this.yard = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs, times: TIMES, idsAfter });
    this.worker = this.yard.hello({ name: 'alpha', slots: 1_000, resume });
  }

  #move(kind: 'accept' | 'succeed' | 'fail' | 'cancel' | 'retry', pick: number): void {
    const fitting = this.model.runs.filter((run) => this.#fits(kind, run));
    const run = fitting[pick % Math.max(1, fitting.length)];
    if (run === undefined) return;
    const { id } = run;
    if (kind === 'retry') {
      const stored = this.yard.store.readRun(id);
      const command = { kind: 'retry_run', namespace: 'default', runId: id, keepPin: false } as const;
      this.yard.take({ ...command, stored, storedDependencies: new Map() });
      this.model.retry(id);
    } else if (kind === 'accept') {
      this.worker.accept(id);
      this.model.accept(id);
    } else if (kind === 'cancel') {
      const command = { kind: 'cancel_run', namespace: 'default', runId: id, mode: 'ANY', reason: '' } as const;
      this.yard.take({ ...command, stepName: '' });
      this.model.end(id, 'CANCELLED');
    } else {
      this.worker[kind](id);
      this.model.end(id, kind === 'succeed' ? 'SUCCEEDED' : 'FAILED');
    }
  }

  #fits(kind: Wish['kind'], { id, state, dependsOn }: ModelRun): boolean {
    switch (kind) {
      case 'accept':
        return state === 'ASSIGNED';
      case 'succeed':
      case 'fail':
        return state === 'RUNNING';
      case 'cancel':
        // A running one is asked, and ends when its handler does: that is not what this is about.
        return state === 'WAITING' || state === 'FOLLOWS' || state === 'ASSIGNED';
      default:
        return (state === 'FAILED' || state === 'CANCELLED') && dependsOn.length === 0 && this.yard.store.runs.has(id);
    }
  }

  check(): void {
    for (const run of this.model.runs) {
      const record = this.yard.engine.state.runs.get(run.id);
      if (record === undefined) continue;
      const [step] = record.steps;
      const shown = {
        id: run.id,
        state: step?.blockedOn === 'EQUAL' ? 'FOLLOWS' : step?.blockedOn === 'DEPENDS_ON_RUN' ? 'WAITING' : step?.state,
        executedBy: record.executedBy,
        leader: record.follows?.record.leader?.runId,
        stored: this.yard.store.runs.get(run.id)?.executed_by_run_id,
      };
      const state = run.state === 'FAILED' && run.dependsOn.length > 0 ? shown.state : run.state;
      expect(shown).toEqual({
        id: run.id,
        state,
        executedBy: run.executedBy,
        leader: run.state === 'FOLLOWS' ? this.model.leaderOf(run.hash)?.id : undefined,
        stored: run.executedBy,
      });
      expect(record.state).toBe(runStateOf(run));
    }
  }
}

function runStateOf({ state }: ModelRun): string {
  if (state === 'WAITING' || state === 'FOLLOWS' || state === 'ASSIGNED') return 'PENDING';
  return state;
}

it('does what the table says, whatever happens in whichever order', () => {
  fc.assert(
    fc.property(wishes, (history) => {
      const duel = new Duel();
      for (const wish of history) {
        duel.fulfil(wish);
        duel.check();
      }
      // Nothing is remembered of what has ended, once memory has let it go.
      for (const { id, state } of duel.model.runs) {
        if (state === 'ASSIGNED' || state === 'RUNNING' || state === 'FOLLOWS' || state === 'WAITING') return;
        expect(duel.yard.engine.state.runs.get(id)?.follows ?? null).toBeNull();
      }
      duel.yard.advance(120_000);
      expect(duel.yard.engine.state.equals.size).toBe(0);
    }),
    { numRuns: 400 },
  );
});
