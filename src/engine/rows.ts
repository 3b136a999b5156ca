/** Rows as the engine sees them: one final image each. Names are the columns'; times are milliseconds since the epoch. */

/** What never changes about a run. */
export interface RunInsertRow extends RunUpdateRow {
  readonly namespace: string;
  readonly action: string;
  readonly step_name: string;
  readonly definition: string;
  readonly runs_on: string;
  readonly metadata: string;
  readonly input: string;
  readonly request_id: string | null;
  readonly request_digest: string | null;
  readonly create_ms: number;
}

/** What does. The single step of a run shares its row. */
export interface RunUpdateRow {
  readonly run_id: string;
  readonly revision: number;
  readonly priority: number;
  readonly state: string;
  readonly step_state: string;
  readonly ready_sequence: number;
  readonly failures: number;
  readonly losses: number;
  readonly started: boolean;
  readonly assignment_id: string | null;
  readonly assignment_number: number | null;
  readonly worker_id: string | null;
  readonly worker_name: string | null;
  readonly labels_revision: number | null;
  readonly assign_ms: number | null;
  readonly accept_ms: number | null;
  readonly ready_ms: number | null;
  readonly schedule_deadline_ms: number | null;
  readonly start_ms: number | null;
  readonly end_ms: number | null;
  readonly cancel_reason: string | null;
  readonly progress: string | null;
  readonly failure: string | null;
  /** null leaves what is stored. */
  readonly output: string | null;
}

/** An assignment that ended without success. */
export interface AttemptRow {
  readonly assignment_id: string;
  readonly run_id: string;
  readonly step_name: string;
  readonly number: number;
  readonly worker_id: string;
  readonly worker_name: string;
  readonly labels_revision: number;
  readonly assign_ms: number;
  readonly accept_ms: number | null;
  readonly end_ms: number;
  readonly outcome: string;
  /** What the worker itself said that ended it; null when the server did. */
  readonly fact: string | null;
  readonly failure: string | null;
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
export interface LiveRunRow extends Omit<RunInsertRow, 'input' | 'output'> {}
