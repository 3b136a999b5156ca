/** Watches what is committed: ends are for good, and each success is that of the one assignment that was current. */
import type { AttemptRow, RunInsertRow, WorkerRow } from '../../src/engine/rows.ts';
import { short } from './ids.ts';
import type { Scene } from './scene.ts';

export interface CommitWatch {
  /** Assignments that a committed row has named. */
  readonly assigned: ReadonlySet<string>;
  readonly accepted: ReadonlySet<string>;
  /** Attempts that ended without success. */
  readonly ended: ReadonlyMap<string, AttemptRow>;
  /** The worker that each assignment was given to. */
  workerIdOf(assignmentId: string): string | undefined;
  /** Its row was there once; it may have been deleted since. */
  hasStored(workerId: string): boolean;
  readonly successes: number;
}

export function watchCommits(scene: Scene): CommitWatch {
  const { world, store, journal } = scene;
  const assigned = new Set<string>();
  const accepted = new Set<string>();
  const ended = new Map<string, AttemptRow>();
  const workerIds = new Map<string, string>();
  const revisions = new Map<string, number>();
  let successes = 0;

  function checkRun(before: RunInsertRow | null, after: RunInsertRow): void {
    const run = `run ${short(after.run_id)}`;
    const { assignment_id: assignmentId } = after;
    world.note('store', `${run} is ${after.step_state}${assignmentId === null ? '' : ` by ${short(assignmentId)}`}`);
    if (before !== null && before.end_ms !== null) checkUnchanged(run, before, after);
    if (before !== null && before.ready_sequence !== after.ready_sequence) world.broken(`${run} lost its place`);
    if (assignmentId !== null) noteAssignment(after, assignmentId);
    if (after.state === 'SUCCEEDED' && before?.state !== 'SUCCEEDED') checkSuccess(run, after, assignmentId ?? '');
  }

  function checkUnchanged(run: string, before: RunInsertRow, after: RunInsertRow): void {
    const facts = ({ state, step_state, output, assignment_id, end_ms, failure }: RunInsertRow) =>
      JSON.stringify({ state, step_state, output, assignment_id, end_ms, failure });
    if (facts(before) !== facts(after))
      world.broken(`${run} changed after its end: ${facts(before)} → ${facts(after)}`);
  }

  function noteAssignment(row: RunInsertRow, assignmentId: string): void {
    assigned.add(assignmentId);
    workerIds.set(assignmentId, row.worker_id ?? '');
    if (row.accept_ms !== null) noteAccepted(assignmentId, row.run_id);
  }

  function noteAccepted(assignmentId: string, runId: string): void {
    accepted.add(assignmentId);
    const execution = journal.of(assignmentId);
    if (execution?.runId === runId) return;
    world.broken(`${short(assignmentId)} of run ${short(runId)} counts as accepted, and no handler was entered`);
  }

  function checkSuccess(run: string, row: RunInsertRow, assignmentId: string): void {
    successes += 1;
    const execution = journal.of(assignmentId);
    const { by } = JSON.parse(row.output ?? '{}') as { by?: string };
    if (by !== assignmentId)
      world.broken(`${run}, held as ${short(assignmentId)}, took the result of ${short(by ?? '')}`);
    if (execution?.outcome !== 'succeeded')
      world.broken(`${run} succeeded, its handler did not: ${execution?.outcome}`);
    if (ended.has(assignmentId)) world.broken(`${run} succeeded by ${short(assignmentId)}, which had ended`);
  }

  function checkAttempt(attempt: AttemptRow): void {
    const { assignment_id: assignmentId, outcome } = attempt;
    world.note('store', `attempt ${short(assignmentId)} of run ${short(attempt.run_id)} ended: ${outcome}`);
    if (ended.has(assignmentId)) world.broken(`attempt ${short(assignmentId)} ended twice`);
    if (store.runs.get(attempt.run_id)?.assignment_id === assignmentId) {
      world.broken(`attempt ${short(assignmentId)} ended, and is still the current one of its run`);
    }
    ended.set(assignmentId, attempt);
    assigned.add(assignmentId);
    workerIds.set(assignmentId, attempt.worker_id);
    if (attempt.accept_ms !== null) noteAccepted(assignmentId, attempt.run_id);
    if (outcome === 'APPLICATION') checkFailure(attempt);
    if (outcome === 'SESSION_DROPPED' && attempt.accept_ms !== null) checkDropped(attempt);
  }

  function checkFailure({ assignment_id: assignmentId, failure }: AttemptRow): void {
    const { message } = JSON.parse(failure ?? '{}') as { message?: string };
    if (message !== `failed: ${assignmentId}`) {
      world.broken(`attempt ${short(assignmentId)} ended by the failure of another: ${message}`);
    }
  }

  /** A process that goes on never forgets what it accepted, unless it is on its way out. */
  function checkDropped({ assignment_id: assignmentId }: AttemptRow): void {
    const execution = journal.of(assignmentId);
    if (execution !== undefined && scene.isStopping(execution.process)) return;
    world.broken(`${short(assignmentId)} was accepted, and its process came back without naming it`);
  }

  function checkWorker(row: WorkerRow): void {
    const before = revisions.get(row.worker_id) ?? 0;
    if (row.labels_revision < before)
      world.broken(`labels of ${row.name} went back to revision ${row.labels_revision}`);
    revisions.set(row.worker_id, row.labels_revision);
  }

  store.onWritten(({ runs, attempts, workers }) => {
    for (const { before, after } of runs) checkRun(before, after);
    for (const attempt of attempts) checkAttempt(attempt);
    for (const worker of workers) checkWorker(worker);
  });
  return {
    assigned,
    accepted,
    ended,
    workerIdOf: (assignmentId) => workerIds.get(assignmentId),
    hasStored: (workerId) => revisions.has(workerId),
    get successes() {
      return successes;
    },
  };
}
