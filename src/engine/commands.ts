/** Everything that can be asked of the engine, as data: [what it takes, what it answers]. */
import type { DesiredLabel, LabelPatch, Labels } from '../domain/labels.ts';
import type { Priority } from '../domain/priority.ts';
import type { Reason } from '../domain/reasons.ts';
import type { MatchMode, TagSet } from '../domain/tags.ts';
import type { DeviceDeclaration, Progress, SdkInfo, StepDefinition, StepFailure } from './state.ts';
import type { NamespaceView, RunView, WorkerView } from './views.ts';

export interface Warning {
  readonly reason: Reason;
  readonly message: string;
}

/** One run to be scheduled, checked and completed with its ids. */
export interface RunDraft {
  readonly namespace: string;
  readonly runId: string;
  readonly definition: StepDefinition;
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

  schedule_runs: [{ readonly runs: readonly RunDraft[] }, readonly ScheduledRun[]];
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
  read_progress: [{ readonly runId: string }, ReadonlyMap<string, Progress>];
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

  /** The loop or the store was away: what is due now, or soon, is no fault of anybody's. */
  postpone_deadlines: [object, null];
  /** A timer is due. */
  tick: [object, null];
}

export type CommandKind = keyof CommandTable;
export type CommandOf<K extends CommandKind> = { readonly kind: K } & CommandTable[K][0];
export type Command = { [K in CommandKind]: CommandOf<K> }[CommandKind];
export type ResultOf<K extends CommandKind> = CommandTable[K][1];
