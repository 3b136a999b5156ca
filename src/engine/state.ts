/** What the engine remembers. Payloads (inputs, outputs, logs) are not here: the engine decides, it does not store. */
import type { Demand } from '../domain/demand.ts';
import type { Device, DeviceDemand, DevicePools, DevicesInUse } from '../domain/devices.ts';
import type { EqualKey } from '../domain/equal.ts';
import type { Explanation } from '../domain/explain.ts';
import type { Graph } from '../domain/graph.ts';
import type { Labels } from '../domain/labels.ts';
import type { Limits, Times } from '../domain/limits.ts';
import { PRIORITY_DEFAULT, type Priority, type QueuePlace } from '../domain/priority.ts';
import type { RankedWorker } from '../domain/rank.ts';
import type { RetryPolicy } from '../domain/retry.ts';
import type { Sticky } from '../domain/sticky.ts';
import type { MatchMode, TagSet } from '../domain/tags.ts';
import type { DemandIndex } from './demand_index.ts';
import type { OpenWorkers } from './open_workers.ts';
import type { RunRecord } from './run_record.ts';
import { RequestTable, RunTable } from './run_tables.ts';
import type { KnownTerms } from './run_terms.ts';
import { createSortedQueue, type SortedQueue } from './sorted_queue.ts';
import type { StepRecord } from './step_record.ts';
import { createTimerHeap, NO_TIMER, type TimerHandle, type TimerHeap } from './timers.ts';
import type { LeaderboardLine, RunTotals, StepTotals } from './totals.ts';

export type { RunRecord, StepRecord };

export interface NamespaceRecord {
  readonly name: string;
  matchMode: MatchMode;
  /** How long ended runs are kept; 0 = for ever. */
  retentionMs: number;
  scheduleTimeoutMs: number;
}

export type DeviceDeclaration = DevicePools;

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
  /** Of the actions: what they are found by. */
  actionKeys: readonly string[];
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
  /** Devices of assignments and reserved places, by assignment id. */
  readonly leases: Map<string, Device>;
  devicesInUse: DevicesInUse;
  slotsUsed: number;
  backPressured: boolean;
  acceptMissed: boolean;
  notReadyReason: string | null;
  /** Grows with every change of labels, slots, devices or session. */
  changeCount: number;
  lastAssignSequence: number;
  lastAssignMs: number | null;
  graceTimer: TimerHandle;
  acceptMissedTimer: TimerHandle;
  /** It could take something now. */
  open: boolean;
  /** Listed among the open workers of its actions, as it soon is when it is open. */
  listed: boolean;
}

export interface StepDefinition {
  readonly name: string;
  readonly action: string;
  /** Names of the steps whose outputs it takes; empty: a root. */
  readonly needs: readonly string[];
  readonly runsOn: TagSet;
  readonly desired: Demand['desired'];
  /** 0 = for ever; null = the namespace's. */
  readonly scheduleTimeoutMs: number | null;
  readonly executionTimeoutMs: number | null;
  readonly progressTimeoutMs: number | null;
  readonly reconnectGraceMs: number | null;
  readonly retry: RetryPolicy;
  /** null: a slot is enough. */
  readonly device: DeviceDemand | null;
  /** Reports of an invalid input before the step that produced it runs again. */
  readonly maxInvalidReports: number;
}

/** One version of a workflow. Versions do not change, so the runs of one share its record. */
export interface WorkflowRecord {
  readonly namespace: string;
  readonly name: string;
  readonly version: number;
  readonly steps: readonly StepDefinition[];
  readonly graph: Graph;
  readonly sticky: Sticky;
  readonly createMs: number;
}

/** What stays of a workflow's name, whatever becomes of its versions and runs. */
export interface WorkflowName {
  readonly namespace: string;
  readonly name: string;
  latest: WorkflowRecord;
  /** Number of the last run; runs count 1, 2, 3 … */
  lastNumber: number;
}

export interface StepFailure {
  readonly reason: string;
  readonly type: string;
  readonly message: string;
  readonly stack: string;
  readonly retryable: boolean | null;
  /** With CAUSED_BY: the step or run whose end caused this one. */
  readonly causedById?: string;
  /** With SCHEDULE_TIMEOUT: why nobody took it, as of that moment. */
  readonly explanation?: RecordedExplanation;
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
  /** Place in the order of all assignments. */
  readonly sequence: number;
  /** Why this worker: its rank and the runners-up; null: it was the only one, or this was before a restart. */
  readonly why: RecordedExplanation | null;
  /** null: a slot only. */
  readonly device: Device | null;
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

/** What keeps a step BLOCKED; null: it is not. */
export type BlockedOn =
  | 'NEEDS'
  | 'DEPENDS_ON_RUN'
  /** By its concurrency key. */
  | 'HELD'
  /** By an equal run that it follows. */
  | 'EQUAL'
  | 'BACKING_OFF';

/** What came of reports that an input is invalid. */
export interface InvalidInput {
  /** Since the input last changed. */
  reports: number;
  /** Ids of the workers that made them. */
  readonly reporters: Set<string>;
  /** Generation of the output it takes of a need, by the need's place; not there: the first. */
  readonly takes: Map<number, number>;
  /** UTF-8 bytes of its own outputs after the first, by generation. */
  readonly outputBytes: Map<number, number>;
}

export interface Concurrency {
  readonly key: string;
  readonly limit: number;
}

/** Runs that are equal: one of them executes at a time, the others follow it. */
export interface EqualRecord {
  readonly key: string;
  readonly equal: EqualKey;
  readonly namespace: NamespaceRecord;
  /** The run that executes, or is to; null: there is none. */
  leader: RunRecord | null;
  /** The last that succeeded, as long as it is in memory or some run of `awaiting` may ask for it; else the store knows. */
  successRunId: string | null;
  /** Came while the leader ran: they end as it ends. */
  readonly adopters: SortedQueue<FollowerRecord>;
  /** Came before the leader began: each is a leader to be. */
  readonly held: SortedQueue<FollowerRecord>;
  /** Runs that wait for other runs, and are judged by their equals after that. */
  readonly awaiting: Set<RunRecord>;
}

/** A run behind an equal one, in the order in which they became ready. */
export interface FollowerRecord extends QueuePlace {
  readonly run: RunRecord;
  readonly record: EqualRecord;
}

/** The runs of one concurrency key. */
export interface ConcurrencyRecord {
  readonly key: string;
  live: number;
  /** Ready steps of the runs that are held, in queue order. */
  readonly held: SortedQueue<StepRecord>;
  /** Runs of the key that wait for a worker, and are not live. */
  readonly waiting: Set<RunRecord>;
}

/** What was recorded at a moment about where a step could go, bounded to 8 KiB. See `domain/explain.ts`. */
type RecordedExplanation = Explanation;

/** Steps that ask for the same wait here, in queue order. Exists in the index while any waits. */
export interface DemandRecord extends QueuePlace {
  /** Where its first step stands: looking at that among a million would be a miss of the cache for each demand. */
  priority: Priority;
  readySequence: number;
  readonly key: string;
  readonly spec: Demand;
  readonly namespace: NamespaceRecord;
  /** Where freed workers look for it: its action, and for a HARD pin the worker besides. */
  readonly lookupKey: string;
  readonly actionKey: string;
  readonly queue: SortedQueue<StepRecord>;
}

export type Due =
  /** A step's own clock is the step itself: a timer less for each that waits. */
  | { readonly kind: 'schedule'; readonly step: StepRecord }
  | { readonly kind: 'backoff' | 'reoffer'; readonly step: StepRecord }
  | { readonly kind: 'accept' | 'execution' | 'progress' | 'grace' | 'cancel'; readonly step: StepRecord }
  | { readonly kind: 'worker_grace' | 'accept_missed'; readonly worker: WorkerRecord }
  | { readonly kind: 'forget' };

/** The fact that ended an assignment: the same one sent again is welcome, another is refused. */
interface EndedAssignment {
  readonly fact: FactKind | null;
  readonly untilMs: number;
}

export type FactKind = 'returned' | 'succeeded' | 'failed' | 'cancelled' | 'input_invalid';

export interface EngineState {
  readonly limits: Limits;
  readonly times: Times;
  /** When this engine began to count what it only counts in memory. */
  readonly startMs: number;
  readonly namespaces: Map<string, NamespaceRecord>;
  readonly workers: Map<string, WorkerRecord>;
  /** By namespace and name (`nameKey`). */
  readonly workersByName: Map<string, WorkerRecord>;
  readonly displayNames: Set<string>;
  readonly workersByConnection: Map<number, WorkerRecord>;
  /** Workers that could take something now, by namespace and action. */
  readonly openWorkers: Map<string, OpenWorkers>;
  /** How many workers list an action, connected or not. */
  readonly workersListing: Map<string, number>;
  readonly runs: RunTable;
  readonly runsByRequest: RequestTable;
  readonly knownTerms: KnownTerms;
  readonly assignments: Map<string, StepRecord>;
  /** Ended lately, oldest first: late facts find their answer here. */
  readonly endedAssignments: Map<string, EndedAssignment>;
  /** Run id → until when it stays in memory, oldest first. */
  readonly endedRuns: Map<string, number>;
  readonly demands: Map<string, DemandRecord>;
  /** By `lookupKey`. */
  readonly demandsByLookup: Map<string, DemandIndex>;
  /** By namespace and name. */
  readonly workflows: Map<string, WorkflowName>;
  /** By namespace and key, while any run of the key has not ended. */
  readonly concurrency: Map<string, ConcurrencyRecord>;
  /** Run id → the runs that wait for its end. */
  readonly dependents: Map<string, Set<RunRecord>>;
  /** By `equalKeyText`, while a run of the key has not ended or its success is remembered. */
  readonly equals: Map<string, EqualRecord>;
  /** By `totalsKey`. */
  readonly stepTotals: Map<string, StepTotals>;
  /** By namespace and workflow. */
  readonly runTotals: Map<string, RunTotals>;
  /** By namespace and nickname. */
  readonly leaderboard: Map<string, LeaderboardLine>;
  /** Runs deleted lately, oldest first: what was read of them before must not bring them back. */
  readonly retiredRuns: Map<string, number>;
  /** Worker id → runs pinned to it that have not ended. */
  readonly pinnedRuns: Map<string, Set<RunRecord>>;
  readonly timers: TimerHeap<Due>;
  /** Armed while anything that has ended is still in memory. */
  forgetTimer: TimerHandle;
  readySequence: number;
  assignSequence: number;
  endSequence: number;
  workerNumber: number;
}

export function createState(limits: Limits, times: Times, startMs: number): EngineState {
  return {
    limits,
    times,
    startMs,
    namespaces: new Map(),
    workers: new Map(),
    workersByName: new Map(),
    displayNames: new Set(),
    workersByConnection: new Map(),
    openWorkers: new Map(),
    workersListing: new Map(),
    runs: new RunTable(),
    runsByRequest: new RequestTable(),
    knownTerms: { byWhat: new Map(), count: 0 },
    assignments: new Map(),
    endedAssignments: new Map(),
    endedRuns: new Map(),
    demands: new Map(),
    demandsByLookup: new Map(),
    workflows: new Map(),
    concurrency: new Map(),
    dependents: new Map(),
    equals: new Map(),
    stepTotals: new Map(),
    runTotals: new Map(),
    leaderboard: new Map(),
    retiredRuns: new Map(),
    pinnedRuns: new Map(),
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
  const actionKey = nameKey(spec.namespace, spec.action);
  const lookupKey = spec.pin?.hard ? pinnedKey(actionKey, spec.pin.workerId) : actionKey;
  const place = { priority: PRIORITY_DEFAULT, readySequence: 0 };
  return { ...place, key, spec, namespace, actionKey, lookupKey, queue: createSortedQueue() };
}

/** Where the demands of an action wait that only one worker can meet. */
export function pinnedKey(actionKey: string, workerId: string): string {
  return `${actionKey}\n${workerId}`;
}
