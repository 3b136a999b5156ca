/** What the engine remembers. Payloads (inputs, outputs, logs) are not here: the engine decides, it does not store. */
import type { Demand } from '../domain/demand.ts';
import type { Labels } from '../domain/labels.ts';
import type { Limits, Times } from '../domain/limits.ts';
import type { Priority, QueuePlace } from '../domain/priority.ts';
import type { RankedWorker } from '../domain/rank.ts';
import type { RetryPolicy } from '../domain/retry.ts';
import type { RunState } from '../domain/run.ts';
import type { StepState } from '../domain/step.ts';
import type { MatchMode, TagSet } from '../domain/tags.ts';
import { createSortedQueue, type SortedQueue } from './sorted_queue.ts';
import { createTimerHeap, NO_TIMER, type TimerHandle, type TimerHeap } from './timers.ts';

export interface NamespaceRecord {
  readonly name: string;
  matchMode: MatchMode;
  /** How long ended runs are kept; 0 = for ever. */
  retentionMs: number;
  scheduleTimeoutMs: number;
}

export interface DeviceDeclaration {
  readonly gpuIds: readonly string[];
  readonly cpuSlots: number | null;
}

export interface SdkInfo {
  readonly name: string;
  readonly version: string;
  readonly language: string;
}

export interface WorkerRecord extends RankedWorker {
  readonly workerId: string;
  readonly name: string;
  readonly displayName: string;
  readonly defaultWorker: boolean;
  readonly tagList: TagSet;
  readonly registerMs: number;
  nickname: string;
  labels: Labels;
  labelsRevision: number;
  actions: ReadonlySet<string>;
  slots: number;
  devices: DeviceDeclaration | null;
  sdk: SdkInfo | null;
  draining: boolean;
  /** The live stream, by the number the server gave it; null while there is none. */
  connection: number | null;
  /** Digest of the secret of the process that may resume; null when none may. */
  sessionHash: string | null;
  connectMs: number | null;
  lastSeenMs: number | null;
  crashed: boolean;
  completedCount: number;
  /** Held by this worker, by assignment id. */
  assignments: Map<string, StepRecord>;
  /** Ended by the server while the handler may still run: the place stays taken until the worker says it ended. */
  reserved: Set<string>;
  slotsUsed: number;
  backPressured: boolean;
  acceptMissed: boolean;
  notReadyReason: string | null;
  /** Grows with every change of labels, slots, devices or session. */
  changeCount: number;
  lastAssignSequence: number;
  graceTimer: TimerHandle;
  acceptMissedTimer: TimerHandle;
  /** Listed among the open workers of its actions. */
  open: boolean;
}

export interface StepDefinition {
  readonly name: string;
  readonly action: string;
  readonly runsOn: TagSet;
  readonly desired: Demand['desired'];
  /** 0 = for ever; null = the namespace's. */
  readonly scheduleTimeoutMs: number | null;
  readonly executionTimeoutMs: number | null;
  readonly progressTimeoutMs: number | null;
  readonly reconnectGraceMs: number | null;
  readonly retry: RetryPolicy;
}

export interface StepFailure {
  readonly reason: string;
  readonly type: string;
  readonly message: string;
  readonly stack: string;
  readonly retryable: boolean | null;
}

export interface Progress {
  readonly text: string;
  readonly phase: string;
  readonly fraction: number | null;
}

export interface AssignmentRecord {
  readonly assignmentId: string;
  readonly worker: WorkerRecord;
  readonly number: number;
  readonly labelsRevision: number;
  readonly assignMs: number;
  acceptMs: number | null;
  /** The transport has it: the worker may know of it. */
  handedOver: boolean;
  /** Set once cancel_step was pushed for it. */
  cancelReason: string | null;
  acceptTimer: TimerHandle;
  executionTimer: TimerHandle;
  progressTimer: TimerHandle;
  graceTimer: TimerHandle;
  cancelTimer: TimerHandle;
}

/** A worker this step is not offered to, until either side of it has changed. */
export interface Exclusion {
  readonly changeCount: number;
  readonly untilMs: number;
  readonly pauseMs: number;
}

export interface StepRecord extends QueuePlace {
  readonly run: RunRecord;
  readonly stepId: string;
  readonly definition: StepDefinition;
  state: StepState;
  priority: Priority;
  readySequence: number;
  demand: DemandRecord;
  /** It waits in its demand's queue. */
  queued: boolean;
  assignment: AssignmentRecord | null;
  failures: number;
  losses: number;
  /** A worker accepted it at least once. */
  started: boolean;
  readyMs: number | null;
  scheduleDeadlineMs: number | null;
  endMs: number | null;
  endSequence: number;
  progress: Progress | null;
  failure: StepFailure | null;
  scheduleTimer: TimerHandle;
  backoffTimer: TimerHandle;
  reofferTimer: TimerHandle;
  exclusions: Map<string, Exclusion> | null;
}

export interface RunRecord {
  readonly runId: string;
  readonly namespace: NamespaceRecord;
  readonly steps: StepRecord[];
  readonly runsOn: TagSet;
  readonly desired: Demand['desired'];
  readonly metadata: Readonly<Record<string, string>>;
  readonly requestId: string;
  readonly requestDigest: string;
  readonly createMs: number;
  priority: Priority;
  state: RunState;
  revision: number;
  startMs: number | null;
  endMs: number | null;
  cancelReason: string | null;
}

/** Steps that ask for the same wait here, in queue order. Exists in the index while any waits. */
export interface DemandRecord {
  readonly key: string;
  readonly spec: Demand;
  readonly namespace: NamespaceRecord;
  readonly actionKey: string;
  readonly queue: SortedQueue<StepRecord>;
}

export type Due =
  | { readonly kind: 'schedule' | 'backoff' | 'reoffer'; readonly step: StepRecord }
  | { readonly kind: 'accept' | 'execution' | 'progress' | 'grace' | 'cancel'; readonly step: StepRecord }
  | { readonly kind: 'worker_grace' | 'accept_missed'; readonly worker: WorkerRecord }
  | { readonly kind: 'forget' };

/** The fact that ended an assignment: the same one sent again is welcome, another is refused. */
interface EndedAssignment {
  readonly fact: FactKind | null;
  readonly untilMs: number;
}

export type FactKind = 'returned' | 'succeeded' | 'failed' | 'cancelled';

export interface EngineState {
  readonly limits: Limits;
  readonly times: Times;
  readonly namespaces: Map<string, NamespaceRecord>;
  readonly workers: Map<string, WorkerRecord>;
  /** By namespace and name (`nameKey`). */
  readonly workersByName: Map<string, WorkerRecord>;
  readonly displayNames: Set<string>;
  readonly workersByConnection: Map<number, WorkerRecord>;
  /** Workers that could take something now, by namespace and action. */
  readonly openWorkers: Map<string, Set<WorkerRecord>>;
  /** How many workers list an action, connected or not. */
  readonly workersListing: Map<string, number>;
  readonly runs: Map<string, RunRecord>;
  readonly runsByRequest: Map<string, RunRecord>;
  readonly assignments: Map<string, StepRecord>;
  /** Ended lately, oldest first: late facts find their answer here. */
  readonly endedAssignments: Map<string, EndedAssignment>;
  /** Run id → until when it stays in memory, oldest first. */
  readonly endedRuns: Map<string, number>;
  readonly demands: Map<string, DemandRecord>;
  readonly demandsByAction: Map<string, Set<DemandRecord>>;
  readonly timers: TimerHeap<Due>;
  /** Armed while anything that has ended is still in memory. */
  forgetTimer: TimerHandle;
  readySequence: number;
  assignSequence: number;
  endSequence: number;
  workerNumber: number;
}

export function createState(limits: Limits, times: Times): EngineState {
  return {
    limits,
    times,
    namespaces: new Map(),
    workers: new Map(),
    workersByName: new Map(),
    displayNames: new Set(),
    workersByConnection: new Map(),
    openWorkers: new Map(),
    workersListing: new Map(),
    runs: new Map(),
    runsByRequest: new Map(),
    assignments: new Map(),
    endedAssignments: new Map(),
    endedRuns: new Map(),
    demands: new Map(),
    demandsByAction: new Map(),
    timers: createTimerHeap(),
    forgetTimer: NO_TIMER,
    readySequence: 0,
    assignSequence: 0,
    endSequence: 0,
    workerNumber: 0,
  };
}

/** Key of something named within a namespace. Neither part can hold a line feed. */
export function nameKey(namespace: string, name: string): string {
  return `${namespace}\n${name}`;
}

export function createDemand(namespace: NamespaceRecord, spec: Demand, key: string): DemandRecord {
  return { key, spec, namespace, actionKey: nameKey(spec.namespace, spec.action), queue: createSortedQueue() };
}
