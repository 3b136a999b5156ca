/** A stored run as the picture that answers show. */
import type { Sql } from 'postgres';
import type { RunState } from '../../domain/run.ts';
import type { StepState } from '../../domain/step.ts';
import type { AttemptRow } from '../../engine/rows.ts';
import { type AttemptView, blockedReason, type RunView } from '../../engine/views.ts';

export interface RunRow {
  readonly run_id: string;
  readonly namespace: string;
  readonly action: string;
  readonly step_name: string;
  readonly runs_on: string;
  readonly metadata: string;
  readonly input: string;
  readonly output: string | null;
  readonly request_id: string | null;
  readonly revision: number;
  readonly priority: number;
  readonly state: RunState;
  readonly step_state: StepState;
  readonly assignment_id: string | null;
  readonly assignment_number: number | null;
  readonly worker_id: string | null;
  readonly worker_name: string | null;
  readonly labels_revision: number | null;
  readonly progress: string | null;
  readonly failure: string | null;
  readonly create_ms: number;
  readonly assign_ms: number | null;
  readonly accept_ms: number | null;
  readonly ready_ms: number | null;
  readonly start_ms: number | null;
  readonly end_ms: number | null;
}

/** What a run's picture shows of an assignment that ended without success. */
export type StoredAttempt = Omit<AttemptRow, 'run_id' | 'step_name'>;

/** Columns of RunRow; payloads only when they are asked for, since a list does not show them. */
export function runColumns(sql: Sql, payloads: boolean) {
  return sql`run_id, namespace, action, step_name, runs_on, metadata, request_id, revision::float8 AS revision, priority, state,
    step_state, assignment_id, assignment_number, worker_id, worker_name, labels_revision::float8 AS labels_revision, progress,
    failure, ${payloads ? sql`input, output` : sql`'' AS input, NULL::text AS output`},
    extract(epoch FROM create_time)::float8 * 1000 AS create_ms, extract(epoch FROM assign_time)::float8 * 1000 AS assign_ms,
    extract(epoch FROM accept_time)::float8 * 1000 AS accept_ms, extract(epoch FROM ready_time)::float8 * 1000 AS ready_ms,
    extract(epoch FROM start_time)::float8 * 1000 AS start_ms, extract(epoch FROM end_time)::float8 * 1000 AS end_ms`;
}

export function viewOfRow(row: RunRow, attempts: readonly StoredAttempt[]): RunView {
  const failure = row.failure === null ? null : JSON.parse(row.failure);
  return {
    runId: row.run_id,
    namespace: row.namespace,
    state: row.state,
    priority: row.priority,
    runsOn: JSON.parse(row.runs_on),
    inputJson: row.input,
    outputJson: row.output ?? '',
    failure,
    metadata: JSON.parse(row.metadata),
    requestId: row.request_id ?? '',
    revision: row.revision,
    createMs: row.create_ms,
    startMs: row.start_ms,
    endMs: row.end_ms,
    steps: [
      {
        stepId: row.run_id,
        name: row.step_name,
        action: row.action,
        state: row.step_state,
        blockedReason: blockedReason(row.step_state),
        attempts: [...attempts.map(endedAttempt), ...currentAttempt(row)],
        progress: row.progress === null ? null : JSON.parse(row.progress),
        readyMs: row.ready_ms,
        endMs: row.end_ms,
        outputJson: row.output ?? '',
        failure,
      },
    ],
  };
}

export function endedAttempt(row: StoredAttempt): AttemptView {
  return {
    number: row.number,
    assignmentId: row.assignment_id,
    workerId: row.worker_id,
    workerName: row.worker_name,
    labelsRevision: row.labels_revision,
    assignMs: row.assign_ms,
    acceptMs: row.accept_ms,
    endMs: row.end_ms,
    outcome: row.outcome,
    failure: row.failure === null ? null : JSON.parse(row.failure),
  };
}

/** The assignment that goes on, or the one that succeeded. */
function currentAttempt(row: RunRow): AttemptView[] {
  if (row.assignment_id === null) return [];
  return [
    {
      number: row.assignment_number ?? 1,
      assignmentId: row.assignment_id,
      workerId: row.worker_id ?? '',
      workerName: row.worker_name ?? '',
      labelsRevision: row.labels_revision ?? 0,
      assignMs: row.assign_ms ?? 0,
      acceptMs: row.accept_ms,
      endMs: row.end_ms,
      outcome: row.step_state === 'SUCCEEDED' ? 'SUCCEEDED' : '',
      failure: null,
    },
  ];
}
