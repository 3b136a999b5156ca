/** Everything that can be asked of the engine, as data: [what it takes, what it answers]. */
import type { Demand } from '../domain/demand.ts';
import type { Explanation, SeenReport, Standing } from '../domain/explain.ts';
import type { DesiredLabel, LabelPatch, Labels } from '../domain/labels.ts';
import type { Priority, QueuePlace } from '../domain/priority.ts';
import type { Reason } from '../domain/reasons.ts';
import type { RunState } from '../domain/run.ts';
import type { StepState } from '../domain/step.ts';
import type { Sticky } from '../domain/sticky.ts';
import type { MatchMode, TagSet } from '../domain/tags.ts';
import type { LiveRunRow, LiveStepRow, WorkflowRow } from './rows.ts';
import type { Concurrency, DeviceDeclaration, Progress, SdkInfo, StepDefinition, StepFailure } from './state.ts';
import type { Stats } from './stats.ts';
import type { NamespaceView, RunView, WorkerView, WorkflowView } from './views.ts';

export interface Warning {
  readonly reason: Reason;
  readonly message: string;
}

/** Which workflow a run is of. */
export interface WorkflowChoice {
  readonly name: string;
  /** null: the newest. */
  readonly version: number | null;
  /** That version from the store, when memory may not have it: memory keeps the newest and those in use. */
  readonly stored: WorkflowRow | null;
}

/** One run to be scheduled, checked and completed with its ids. */
export interface RunDraft {
  readonly namespace: string;
  readonly runId: string;
  /** One step without a workflow, or all steps of a workflow. */
  readonly what: { readonly step: StepDefinition } | { readonly workflow: WorkflowChoice };
  /** null: the workflow's, without one NONE. */
  readonly sticky: Sticky | null;
  /** Empty: none. */
  readonly pinToWorkerId: string;
  readonly concurrency: Concurrency | null;
  readonly dependsOn: readonly string[];
  /** States of those that the store holds; memory is asked first. */
  readonly storedDependencies: ReadonlyMap<string, RunState>;
  /** For steps that name none; null: the namespace's, or none. */
  readonly scheduleTimeoutMs: number | null;
  readonly executionTimeoutMs: number | null;
  readonly runsOn: TagSet;
  readonly desired: readonly DesiredLabel[];
  readonly priority: Priority;
  readonly inputJson: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Empty: none. */
  readonly requestId: string;
  /** Of everything in the request but its id: the same id with another digest is a mistake of the caller. */
  readonly requestDigest: string;
  /** A run kept in the store with this request id, when it has left memory. */
  readonly known: { readonly runId: string; readonly requestDigest: string } | null;
  /** What equal runs are found by, besides what carries them out. Empty: not asked for. */
  readonly contentHash: string;
  /** The success the store has for it; memory is asked first. */
  readonly storedSuccess: StoredSuccess | null;
}

/** The run that equal ones are answered with, of the newest version that there is one of. */
export interface StoredSuccess {
  readonly runId: string;
  /** Of the workflow; 0: an action. */
  readonly version: number;
}

/** A run and its steps as the store has them; a run of one step has none of its own. */
export interface StoredRun {
  readonly run: LiveRunRow;
  readonly steps: readonly LiveStepRow[];
  readonly workflow: WorkflowRow | null;
  /** Of an equal run. */
  readonly success: StoredSuccess | null;
}

/** What only memory knows of a step. */
export interface LiveStep {
  readonly progress: Progress | null;
  readonly blockedReason: string;
}

/** A step that somebody has, or one that is to be seen against every worker. */
export type ExplainedStep =
  | {
      readonly state: StepState;
      readonly placed: Explanation;
      /** False: memory does not know why any more, the store may. */
      readonly isRecorded: boolean;
    }
  | {
      readonly state: StepState;
      readonly standing: Standing;
      readonly demand: Demand;
      /** Equal for steps that see every worker alike; null: like no other. */
      readonly sharedKey: string | null;
    };

/** An ended run in the store, older than its namespace keeps them. */
export interface ExpiredRun {
  readonly runId: string;
  readonly namespace: string;
  /** Empty: none. */
  readonly workflow: string;
  readonly endMs: number;
  readonly steps: readonly { readonly action: string; readonly state: StepState }[];
}

export interface ScheduledRun {
  readonly runId: string;
  readonly alreadyScheduled: boolean;
  /** null when the run is known but no longer in memory. */
  readonly view: RunView | null;
  readonly warnings: readonly Warning[];
}

export interface OpenSession {
  readonly connection: number;
  readonly namespace: string;
  readonly workerId: string;
  readonly name: string;
  readonly tags: TagSet;
  /** null: the stored set stays. */
  readonly labels: LabelPatch | null;
  readonly actions: readonly string[];
  readonly slots: number | null;
  readonly devices: DeviceDeclaration | null;
  readonly nickname: string;
  readonly sdk: SdkInfo | null;
  readonly resume: { readonly sessionHash: string; readonly heldAssignmentIds: readonly string[] } | null;
  /** Digest of the secret this stream gets, unless it resumes. */
  readonly newSessionHash: string;
}

export interface SessionOpened {
  readonly worker: WorkerView;
  /** True: the process goes on under the secret it has. */
  readonly resumed: boolean;
  readonly keptAssignmentIds: readonly string[];
  readonly droppedAssignmentIds: readonly string[];
  readonly warnings: readonly Warning[];
}

export type ReturnReason = 'STALE_LABELS' | 'NOT_READY' | 'SHUTTING_DOWN' | 'OTHER';

/** A fact about an assignment, from the stream that holds it. */
interface Fact {
  readonly connection: number;
  readonly assignmentId: string;
}

interface CommandTable {
  register_worker: [
    { readonly namespace: string; readonly name: string; readonly tags: TagSet; readonly nickname: string },
    { readonly worker: WorkerView; readonly alreadyRegistered: boolean; readonly warnings: readonly Warning[] },
  ];
  read_worker: [{ readonly namespace: string; readonly workerId: string; readonly name: string }, WorkerView];
  read_workers: [{ readonly namespace: string }, readonly WorkerView[]];
  drain_worker: [{ readonly namespace: string; readonly workerId: string; readonly reason: string }, WorkerView];
  resume_worker: [{ readonly namespace: string; readonly workerId: string }, WorkerView];
  delete_worker: [
    { readonly namespace: string; readonly workerId: string; readonly force: boolean },
    { readonly reopenedSteps: number },
  ];
  put_namespace: [
    {
      readonly name: string;
      readonly matchMode: MatchMode | null;
      readonly retentionMs: number | null;
      readonly scheduleTimeoutMs: number | null;
    },
    NamespaceView,
  ];
  read_namespaces: [object, readonly NamespaceView[]];
  put_workflow: [
    {
      readonly namespace: string;
      readonly name: string;
      readonly steps: readonly StepDefinition[];
      readonly sticky: Sticky;
      /** The steps as the caller gave them, to be given back; the engine does not look at it. */
      readonly source: string;
    },
    { readonly workflow: WorkflowView; readonly warnings: readonly Warning[] },
  ];

  schedule_runs: [
    {
      readonly runs: readonly RunDraft[];
      /** The answer shows no runs and has no warnings. */
      readonly idsOnly?: boolean;
    },
    readonly ScheduledRun[],
  ];
  cancel_run: [
    {
      readonly namespace: string;
      readonly runId: string;
      readonly mode: 'ANY' | 'IF_PENDING';
      readonly reason: string;
      readonly stepName: string;
    },
    { readonly runId: string },
  ];
  /** Priority and runs_on while no step is assigned; null leaves what is. */
  update_run: [
    {
      readonly namespace: string;
      readonly runId: string;
      readonly priority: Priority | null;
      readonly runsOn: TagSet | null;
    },
    { readonly runId: string },
  ];
  retry_run: [
    {
      readonly namespace: string;
      readonly runId: string;
      readonly keepPin: boolean;
      /** The ended run from the store, when it has left memory. */
      readonly stored: StoredRun | null;
      readonly storedDependencies: ReadonlyMap<string, RunState>;
    },
    { readonly runId: string },
  ];
  /** Successes are forgotten: those of a content hash, or all (empty). */
  purge_results: [{ readonly namespace: string; readonly contentHash: string }, null];
  /** Waiting runs this worker may take, in its order; free slots and readiness are not looked at. */
  list_eligible_runs: [
    {
      readonly namespace: string;
      readonly workerId: string;
      /** The page begins after this place; null: the first page. */
      readonly after: QueuePlace | null;
      readonly limit: number;
    },
    { readonly runs: readonly RunView[]; readonly next: QueuePlace | null },
  ];
  /** The steps of a run that is in memory. */
  explain_run: [
    { readonly namespace: string; readonly runId: string },
    readonly { readonly name: string; readonly ended: boolean }[],
  ];
  /** null: the step has ended, and the store tells. */
  explain_step: [{ readonly runId: string; readonly stepName: string }, ExplainedStep | null];
  /** How the step sees the workers after the one of this number (0: from the first), at most so many at once. */
  explain_slice: [
    {
      readonly runId: string;
      readonly stepName: string;
      readonly demand: Demand;
      readonly after: number;
      readonly limit: number;
    },
    { readonly reports: readonly SeenReport[]; readonly next: number | null },
  ];
  read_progress: [{ readonly runId: string }, ReadonlyMap<string, LiveStep>];
  /** Per action, of one workflow or (empty) of the namespace. */
  read_stats: [{ readonly namespace: string; readonly workflow: string }, Stats];
  /** Namespaces that keep ended runs for a limited time, and have some. */
  read_expiry: [object, readonly { readonly namespace: string; readonly retentionMs: number }[]];
  /** Deletes ended runs that are no longer to be kept. */
  retire_runs: [{ readonly runs: readonly ExpiredRun[] }, { readonly retired: number }];
  /** Deletes default workers that were not seen for long. */
  expire_workers: [object, { readonly expired: number }];
  read_queue_depth: [{ readonly namespace: string; readonly actions: readonly string[] }, ReadonlyMap<string, number>];

  open_session: [OpenSession, SessionOpened];
  close_session: [{ readonly connection: number; readonly reason: 'CLOSED' | 'SILENT' }, null];
  goodbye: [{ readonly connection: number }, null];
  heartbeat: [{ readonly connection: number }, null];
  upsert_labels: [
    { readonly connection: number; readonly patch: LabelPatch },
    { readonly labels: Labels; readonly labelsRevision: number },
  ];
  change_slots: [{ readonly connection: number; readonly slots: number }, null];
  set_back_pressure: [{ readonly connection: number; readonly on: boolean }, null];
  /** The stream has not been read for a while: what has not left goes to somebody else. */
  withdraw_unsent: [{ readonly connection: number }, null];
  /** The transport has the assignment: its accept deadline counts from here. */
  handed_over: [Fact, null];
  accept_step: [Fact, null];
  return_step: [Fact & { readonly reason: ReturnReason; readonly detail: string }, null];
  progress_step: [Fact & { readonly progress: Progress }, null];
  /** Lines are stored elsewhere; here they are a sign of life, and must be of a current assignment. */
  log_step: [Fact, { readonly runId: string; readonly stepName: string; readonly attempt: number }];
  succeed_step: [Fact & { readonly outputJson: string }, null];
  fail_step: [Fact & { readonly failure: StepFailure }, null];
  confirm_cancel: [Fact, null];
  /** `stepName`: which of its needs produced the input; may be empty while there is only one. */
  report_input_invalid: [Fact & { readonly stepName: string; readonly reason: string }, null];

  /** The loop or the store was away: what is due now, or soon, is no fault of anybody's. */
  postpone_deadlines: [object, null];
  /** A timer is due. */
  tick: [object, null];
}

export type CommandKind = keyof CommandTable;
export type CommandOf<K extends CommandKind> = { readonly kind: K } & CommandTable[K][0];
export type Command = { [K in CommandKind]: CommandOf<K> }[CommandKind];
export type ResultOf<K extends CommandKind> = CommandTable[K][1];
