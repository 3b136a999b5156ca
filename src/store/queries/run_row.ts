/** A stored run as the picture that answers show. */
import type { Sql } from 'postgres';
import type { Device } from '../../domain/devices.ts';
import { placedOf } from '../../domain/placed_text.ts';
import type { RunState } from '../../domain/run.ts';
import type { StepState } from '../../domain/step.ts';
import type { Sticky } from '../../domain/sticky.ts';
import { FIRST_GENERATION, storedReports } from '../../engine/generations.ts';
import type { AttemptRow } from '../../engine/rows.ts';
import type { AttemptView, RunView, StepView } from '../../engine/views.ts';

/** What a step's picture shows; null in a run whose steps have rows of their own. */
interface StepFields {
  readonly step_state: StepState;
  readonly blocked_on: string | null;
  readonly invalid_input: string | null;
  readonly ready_ms: number | null;
  readonly end_ms: number | null;
  readonly progress: string | null;
  readonly failure: string | null;
  readonly assignment_id: string | null;
  readonly assignment_number: number | null;
  readonly worker_id: string | null;
  readonly worker_name: string | null;
  readonly device: string | null;
  readonly labels_revision: number | null;
  readonly assign_ms: number | null;
  readonly accept_ms: number | null;
  readonly why: string | null;
}

interface StepRow extends StepFields {
  readonly step_id: string;
  readonly name: string;
  readonly action: string;
  readonly generation: number;
}

export interface RunRow extends StepFields {
  readonly run_id: string;
  readonly namespace: string;
  readonly workflow: string | null;
  readonly workflow_version: number | null;
  readonly number: number | null;
  /** Of the single step; null when the run has several. */
  readonly action: string | null;
  readonly step_name: string | null;
  readonly sticky: Sticky;
  readonly pinned_worker_id: string | null;
  readonly concurrency: string | null;
  readonly depends_on: string | null;
  readonly runs_on: string;
  readonly metadata: string;
  readonly request_id: string | null;
  readonly content_hash: string | null;
  readonly executed_by_run_id: string | null;
  readonly revision: number;
  readonly priority: number;
  readonly state: RunState;
  readonly create_ms: number;
  readonly start_ms: number | null;
  /** In the order of definition; null when the run has only one. */
  readonly steps: readonly StepRow[] | null;
}

/** What a run's picture shows of an assignment that ended without success. */
export type StoredAttempt = Omit<AttemptRow, 'run_id'>;

/** What a list leaves out. `outputs` and `attempts` are by step name. */
export interface RunDetail {
  readonly inputJson: string;
  readonly outputJson: string;
  readonly outputs: ReadonlyMap<string, string>;
  readonly attempts: readonly StoredAttempt[];
}

/** Columns of RunRow. */
export function runColumns(sql: Sql) {
  return sql`run_id, namespace, workflow, workflow_version, number::float8 AS number, action, step_name, sticky, pinned_worker_id,
    concurrency, depends_on, runs_on, metadata, request_id, content_hash, executed_by_run_id, revision::float8 AS revision, priority, state,
    extract(epoch FROM create_time)::float8 * 1000 AS create_ms, extract(epoch FROM start_time)::float8 * 1000 AS start_ms,
    ${stepFields(sql)},
    CASE WHEN action IS NULL THEN (
      SELECT json_agg(s ORDER BY s.place)
      FROM (SELECT step_id, name, action, place, generation, ${stepFields(sql)} FROM steps WHERE steps.run_id = runs.run_id) s
    ) END AS steps`;
}

/** Columns of StepFields. Before `blocked_on` was written, nothing but a backoff blocked a step. */
function stepFields(sql: Sql) {
  return sql`step_state, coalesce(blocked_on, CASE WHEN step_state = 'BLOCKED' THEN 'BACKING_OFF' END) AS blocked_on,
    progress, failure, invalid_input, assignment_id, assignment_number, worker_id, worker_name, device, labels_revision::float8 AS labels_revision, why,
    extract(epoch FROM assign_time)::float8 * 1000 AS assign_ms, extract(epoch FROM accept_time)::float8 * 1000 AS accept_ms,
    extract(epoch FROM ready_time)::float8 * 1000 AS ready_ms, extract(epoch FROM end_time)::float8 * 1000 AS end_ms`;
}

/** With `detail` null, as a list shows it: without payloads and attempts. */
export function viewOfRow(row: RunRow, detail: RunDetail | null): RunView {
  return {
    runId: row.run_id,
    namespace: row.namespace,
    workflow: row.workflow ?? '',
    workflowVersion: row.workflow_version ?? 0,
    number: row.number ?? 0,
    state: row.state,
    priority: row.priority,
    sticky: row.sticky,
    pinnedWorkerId: row.pinned_worker_id ?? '',
    concurrency: parsed(row.concurrency),
    dependsOn: parsed(row.depends_on) ?? [],
    runsOn: JSON.parse(row.runs_on),
    inputJson: detail?.inputJson ?? '',
    outputJson: detail?.outputJson ?? '',
    failure: parsed(row.failure),
    contentHash: row.content_hash ?? '',
    executedByRunId: row.executed_by_run_id ?? '',
    metadata: JSON.parse(row.metadata),
    requestId: row.request_id ?? '',
    revision: row.revision,
    createMs: row.create_ms,
    startMs: row.start_ms,
    endMs: row.end_ms,
    steps: stepsOf(row).map((step) => stepView(step, detail)),
  };
}

function stepsOf(row: RunRow): readonly StepRow[] {
  return (
    row.steps ?? [
      {
        ...row,
        step_id: row.run_id,
        name: row.step_name ?? '',
        action: row.action ?? '',
        generation: FIRST_GENERATION,
      },
    ]
  );
}

function stepView(row: StepRow, detail: RunDetail | null): StepView {
  const ended = detail?.attempts.filter((attempt) => attempt.step_name === row.name) ?? [];
  return {
    stepId: row.step_id,
    name: row.name,
    action: row.action,
    state: row.step_state,
    // What it is blocked on in particular, only memory knows.
    blockedReason: row.blocked_on === 'EQUAL' ? 'HELD equal run' : (row.blocked_on ?? ''),
    attempts: detail === null ? [] : [...ended.map(endedAttempt), ...currentAttempt(row)],
    generation: row.generation,
    invalidReports: storedReports(row.invalid_input),
    progress: parsed(row.progress),
    readyMs: row.ready_ms,
    endMs: row.end_ms,
    outputJson: detail?.outputs.get(row.name) ?? '',
    failure: parsed(row.failure),
  };
}

export function endedAttempt(row: StoredAttempt): AttemptView {
  return {
    number: row.number,
    assignmentId: row.assignment_id,
    workerId: row.worker_id,
    workerName: row.worker_name,
    device: parsedDevice(row.device),
    labelsRevision: row.labels_revision,
    assignMs: row.assign_ms,
    acceptMs: row.accept_ms,
    endMs: row.end_ms,
    outcome: row.outcome,
    failure: parsed(row.failure),
    why: placed(row.why),
  };
}

/** The assignment that goes on, or the one that succeeded. */
function currentAttempt(row: StepRow): AttemptView[] {
  if (row.assignment_id === null) return [];
  return [
    {
      number: row.assignment_number ?? 1,
      assignmentId: row.assignment_id,
      workerId: row.worker_id ?? '',
      workerName: row.worker_name ?? '',
      device: parsedDevice(row.device),
      labelsRevision: row.labels_revision ?? 0,
      assignMs: row.assign_ms ?? 0,
      acceptMs: row.accept_ms,
      endMs: row.end_ms,
      outcome: row.step_state === 'SUCCEEDED' ? 'SUCCEEDED' : '',
      failure: null,
      why: placed(row.why),
    },
  ];
}

function placed(text: string | null) {
  return text === null ? null : placedOf(text);
}

function parsed(json: string | null) {
  return json === null ? null : JSON.parse(json);
}

function parsedDevice(json: string | null): Device | null {
  return json === null ? null : JSON.parse(json);
}
