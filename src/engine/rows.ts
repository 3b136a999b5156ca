/** Rows as the engine sees them: one final image each. Names are the columns'; times are milliseconds since the epoch. */

/** What never changes about a run. `definition` is `RunDefinition` as JSON. */
export interface RunInsertRow extends RunUpdateRow {
  readonly namespace: string;
  readonly workflow: string | null;
  readonly workflow_version: number | null;
  readonly number: number | null;
  /** Of the single step; null when the run's steps have rows of their own. */
  readonly action: string | null;
  readonly step_name: string | null;
  readonly sticky: string;
  readonly concurrency: string | null;
  readonly depends_on: string | null;
  readonly definition: string;
  readonly metadata: string;
  readonly input: string;
  readonly request_id: string | null;
  readonly request_digest: string | null;
  /** What equal runs are found by, besides what carries them out. */
  readonly content_hash: string | null;
  readonly create_ms: number;
}

/** What a step has that changes. */
export interface StepColumns {
  readonly step_state: string;
  readonly blocked_on: string | null;
  readonly ready_sequence: number;
  readonly failures: number;
  readonly losses: number;
  /** Reports of its input as invalid, and what came of them, as JSON; null: none. */
  readonly invalid_input: string | null;
  /** Attempts before the last RetryRun: numbers go on, budgets start anew. */
  readonly attempt_base: number;
  readonly started: boolean;
  /** It was given to a worker at least once, accepted or not. */
  readonly assigned_once: boolean;
  readonly assignment_id: string | null;
  readonly assignment_number: number | null;
  readonly worker_id: string | null;
  readonly worker_name: string | null;
  /** Leased with the assignment, as JSON. */
  readonly device: string | null;
  readonly labels_revision: number | null;
  readonly assign_ms: number | null;
  readonly accept_ms: number | null;
  readonly ready_ms: number | null;
  readonly schedule_deadline_ms: number | null;
  readonly end_ms: number | null;
  /** Of the assignment, told to stop. */
  readonly cancel_reason: string | null;
  readonly progress: string | null;
  readonly failure: string | null;
  /** Of the current assignment; null leaves what is stored. */
  readonly why: string | null;
  /** null leaves what is stored. */
  readonly output: string | null;
}

/** What changes about a run. A run of one step shares its row with that step; of several, the step's columns are null. */
export interface RunUpdateRow extends Nullable<StepColumns> {
  readonly run_id: string;
  readonly revision: number;
  readonly priority: number;
  readonly state: string;
  readonly start_ms: number | null;
  /** null leaves what is stored: only an edit changes it. */
  readonly runs_on: string | null;
  readonly pinned_worker_id: string | null;
  readonly kept_pin_worker_id: string | null;
  readonly executed_by_run_id: string | null;
  readonly step_backs: number;
}

/** Of a run of one step: what an assignment changes. */
export type RunAssignRow = Pick<
  RunUpdateRow,
  | 'run_id'
  | 'revision'
  | 'step_state'
  | 'assigned_once'
  | 'assignment_id'
  | 'assignment_number'
  | 'worker_id'
  | 'worker_name'
  | 'device'
  | 'labels_revision'
  | 'assign_ms'
  | 'pinned_worker_id'
  | 'why'
>;

/** Of a run of one step: what an acceptance and a success change. */
export type RunExecuteRow = Pick<
  RunUpdateRow,
  | 'run_id'
  | 'revision'
  | 'state'
  | 'start_ms'
  | 'kept_pin_worker_id'
  | 'step_state'
  | 'started'
  | 'accept_ms'
  | 'end_ms'
  | 'progress'
  | 'output'
>;

type Nullable<T> = { readonly [K in keyof T]: T[K] | null };

/** A step of a run that has several. */
export interface StepUpdateRow extends StepColumns {
  readonly run_id: string;
  readonly name: string;
  readonly generation: number;
  readonly end_sequence: number;
}

export interface StepInsertRow extends StepUpdateRow {
  readonly step_id: string;
  /** Place in the order of definition, from 0. */
  readonly place: number;
  readonly action: string;
}

/** The success that equal runs are answered with. */
export interface ResultRow {
  readonly namespace: string;
  readonly content_hash: string;
  /** As in EqualKey. */
  readonly target: string;
  readonly version: number;
  readonly run_id: string;
}

/** `definition` is `WorkflowDefinition` as JSON; `source` the steps as they were put. */
export interface WorkflowRow {
  readonly namespace: string;
  readonly name: string;
  readonly version: number;
  readonly definition: string;
  readonly source: string;
  readonly create_ms: number;
}

/** What stays of a workflow's name when its runs are gone. */
export interface WorkflowNameRow {
  readonly namespace: string;
  readonly name: string;
  readonly latest_version: number;
  readonly last_number: number;
}

/** An output after a step's first. */
export interface StepOutputRow {
  readonly run_id: string;
  readonly step_name: string;
  readonly generation: number;
  readonly output: string;
}

/** Steps of one action in the runs of one workflow (empty: of none) that have ended, and whose runs are kept. */
export interface StepTotalsRow {
  readonly namespace: string;
  readonly workflow: string;
  readonly action: string;
  readonly succeeded: number;
  readonly failed: number;
}

export interface RunTotalsRow {
  readonly namespace: string;
  readonly workflow: string;
  readonly ended: number;
}

export interface LeaderboardRow {
  readonly namespace: string;
  readonly nickname: string;
  readonly completed_count: number;
}

/** An assignment that ended: without success, or with one whose step ran again since. */
export interface AttemptRow {
  readonly assignment_id: string;
  readonly run_id: string;
  readonly step_name: string;
  readonly number: number;
  readonly worker_id: string;
  readonly worker_name: string;
  readonly device: string | null;
  readonly labels_revision: number;
  readonly assign_ms: number;
  readonly accept_ms: number | null;
  readonly end_ms: number;
  readonly outcome: string;
  /** What the worker itself said that ended it; null when the server did. */
  readonly fact: string | null;
  readonly failure: string | null;
  readonly why: string | null;
}

export interface WorkerRow {
  readonly worker_id: string;
  readonly worker_number: number;
  readonly namespace: string;
  readonly name: string;
  readonly display_name: string;
  readonly nickname: string;
  readonly default_worker: boolean;
  readonly tags: string;
  readonly labels: string;
  readonly labels_revision: number;
  readonly actions: string;
  readonly slots: number;
  readonly devices: string | null;
  readonly sdk: string | null;
  readonly draining: boolean;
  readonly crashed: boolean;
  readonly session_hash: string | null;
  /** Assignments whose places are kept for handlers that may still run, as a JSON list; null: none. */
  readonly reserved: string | null;
  readonly completed_count: number;
  readonly register_ms: number;
  readonly connect_ms: number | null;
  readonly last_seen_ms: number | null;
}

export interface NamespaceRow {
  readonly name: string;
  readonly match_mode: string;
  readonly retention_ms: number;
  readonly schedule_timeout_ms: number;
}

/** A run that has not ended, as recovery reads it. */
export type LiveRunRow = Omit<RunInsertRow, 'input' | 'output' | 'why' | 'runs_on'> & {
  readonly runs_on: string;
  /** UTF-8 bytes of the step's output. */
  readonly output_bytes: number;
};

/** One of its steps, when it has several. */
export type LiveStepRow = Omit<StepInsertRow, 'output' | 'why' | 'action'> & { readonly output_bytes: number };
