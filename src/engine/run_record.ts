/**
 * A run in memory. Most of a million wait like each other, and nothing has happened to them yet: what they were asked with
 * is kept once for all that were asked alike, and what happens to one gets a place when it happens.
 */
import type { Demand } from '../domain/demand.ts';
import type { EqualKey } from '../domain/equal.ts';
import type { Priority } from '../domain/priority.ts';
import type { RunState } from '../domain/run.ts';
import type { Sticky } from '../domain/sticky.ts';
import type { TagSet } from '../domain/tags.ts';
import { packDigest, packId, unpackDigest, unpackId } from './packed_ids.ts';
import type { Concurrency, FollowerRecord, NamespaceRecord, StepFailure, WorkflowRecord } from './state.ts';
import { StepRecord } from './step_record.ts';

/** The worker that the latest assignment which was accepted pinned the run to, or that was given. */
interface KeptPin {
  readonly workerId: string;
  /** Of that assignment; 0: given at submission, kept by a retry, or from before a restart. */
  readonly sequence: number;
}

/** What a run was asked with, and keeps. Those that were asked alike share it; nobody may change it. */
export interface RunTerms {
  readonly namespace: NamespaceRecord;
  /** null: a single step without a workflow. */
  readonly workflow: WorkflowRecord | null;
  readonly sticky: Sticky;
  readonly concurrency: Concurrency | null;
  /** Runs that must succeed first. */
  readonly dependsOn: readonly string[];
  /** For steps that name none; null: the namespace's, or none. */
  readonly scheduleTimeoutMs: number | null;
  readonly executionTimeoutMs: number | null;
  readonly runsOn: TagSet;
  readonly desired: Demand['desired'];
  /** null: it executes whatever equal ones do. */
  readonly equal: EqualKey | null;
  readonly metadata: Readonly<Record<string, string>>;
  readonly priority: Priority;
}

/** What changes about a run. */
interface RunChanges {
  number: number;
  pinnedWorkerId: string | null;
  keptPin: KeptPin | null;
  executedBy: string | null;
  stepBacks: number;
  failure: StepFailure | null;
  state: RunState;
  revision: number;
  startMs: number | null;
  endMs: number | null;
  cancelReason: string | null;
}

/** A run as it is submitted, or was stored. */
export interface RunFields extends RunTerms, RunChanges {
  readonly runId: string;
  readonly requestId: string;
  readonly requestDigest: string;
  readonly createMs: number;
}

/** What has happened to one run. */
class Course implements RunChanges {
  /** The run's id as it is read, which it is often from now on; null: nothing has happened. */
  readonly runId: string | null;
  number = 0;
  pinnedWorkerId: string | null = null;
  keptPin: KeptPin | null = null;
  openDependencies = 0;
  live = false;
  follows: FollowerRecord | null = null;
  executedBy: string | null = null;
  failureState: RunState = 'FAILED';
  stepBacks = 0;
  editedRunsOn: TagSet | null = null;
  editedPriority: Priority | null = null;
  failure: StepFailure | null = null;
  state: RunState = 'PENDING';
  revision = 1;
  startMs: number | null = null;
  endMs: number | null = null;
  cancelReason: string | null = null;

  constructor(runId: string | null) {
    this.runId = runId;
  }
}

/** Of all runs to which nothing has happened. */
const NOTHING: Readonly<Course> = new Course(null);

export class RunRecord {
  readonly terms: RunTerms;
  readonly createMs: number;
  /** Its id, packed. */
  readonly key: string;
  /** Its request id, packed; empty: it has none. */
  readonly requestKey: string;
  private readonly digest: string;
  /** Most runs have one step, and a list of one takes more than that one's place. */
  private parts: StepRecord | readonly StepRecord[] = [];
  private course: Readonly<Course> = NOTHING;

  constructor(terms: RunTerms, fields: RunFields) {
    this.terms = terms;
    this.createMs = fields.createMs;
    this.key = packId(fields.runId);
    this.requestKey = packId(fields.requestId);
    this.digest = packDigest(fields.requestDigest);
    this.number = fields.number;
    this.pinnedWorkerId = fields.pinnedWorkerId;
    this.keptPin = fields.keptPin;
    this.executedBy = fields.executedBy;
    this.stepBacks = fields.stepBacks;
    this.failure = fields.failure;
    this.state = fields.state;
    this.revision = fields.revision;
    this.startMs = fields.startMs;
    this.endMs = fields.endMs;
    this.cancelReason = fields.cancelReason;
  }

  /** Where something that happens is written down; the setters come here only with what is new. */
  private get own(): Course {
    if (this.course === NOTHING) this.course = new Course(unpackId(this.key));
    return this.course;
  }

  get runId(): string {
    return this.course.runId ?? unpackId(this.key);
  }

  get requestId(): string {
    return unpackId(this.requestKey);
  }

  get requestDigest(): string {
    return unpackDigest(this.digest);
  }

  get steps(): readonly StepRecord[] {
    return this.parts instanceof StepRecord ? [this.parts] : this.parts;
  }

  set steps(steps: readonly StepRecord[]) {
    const [only] = steps;
    this.parts = steps.length === 1 && only !== undefined ? only : steps;
  }

  /** Its step, when it has only one. */
  get onlyStep(): StepRecord | null {
    return this.parts instanceof StepRecord ? this.parts : null;
  }

  get namespace(): NamespaceRecord {
    return this.terms.namespace;
  }

  get workflow(): WorkflowRecord | null {
    return this.terms.workflow;
  }

  get sticky(): Sticky {
    return this.terms.sticky;
  }

  get concurrency(): Concurrency | null {
    return this.terms.concurrency;
  }

  get dependsOn(): readonly string[] {
    return this.terms.dependsOn;
  }

  get scheduleTimeoutMs(): number | null {
    return this.terms.scheduleTimeoutMs;
  }

  get executionTimeoutMs(): number | null {
    return this.terms.executionTimeoutMs;
  }

  get desired(): Demand['desired'] {
    return this.terms.desired;
  }

  get equal(): EqualKey | null {
    return this.terms.equal;
  }

  get metadata(): Readonly<Record<string, string>> {
    return this.terms.metadata;
  }

  /** Its runs_on is no longer what was submitted. */
  get edited(): boolean {
    return this.course.editedRunsOn !== null;
  }

  get runsOn(): TagSet {
    return this.course.editedRunsOn ?? this.terms.runsOn;
  }

  set runsOn(runsOn: TagSet) {
    this.own.editedRunsOn = runsOn;
  }

  get priority(): Priority {
    return this.course.editedPriority ?? this.terms.priority;
  }

  set priority(priority: Priority) {
    if (this.priority !== priority) this.own.editedPriority = priority;
  }

  /** Within its workflow, from 1; 0 without one. */
  get number(): number {
    return this.course.number;
  }

  set number(value: number) {
    if (this.course.number !== value) this.own.number = value;
  }

  /** Where it is pinned now; tentative while it is not `keptPin`'s worker. */
  get pinnedWorkerId(): string | null {
    return this.course.pinnedWorkerId;
  }

  set pinnedWorkerId(value: string | null) {
    if (this.course.pinnedWorkerId !== value) this.own.pinnedWorkerId = value;
  }

  get keptPin(): KeptPin | null {
    return this.course.keptPin;
  }

  set keptPin(value: KeptPin | null) {
    if (this.course.keptPin !== value) this.own.keptPin = value;
  }

  /** Runs of `dependsOn` that have not succeeded yet. */
  get openDependencies(): number {
    return this.course.openDependencies;
  }

  set openDependencies(value: number) {
    if (this.course.openDependencies !== value) this.own.openDependencies = value;
  }

  /** It counts for its concurrency key. */
  get live(): boolean {
    return this.course.live;
  }

  set live(value: boolean) {
    if (this.course.live !== value) this.own.live = value;
  }

  /** Its place behind an equal run; null: it follows none. */
  get follows(): FollowerRecord | null {
    return this.course.follows;
  }

  set follows(value: FollowerRecord | null) {
    if (this.course.follows !== value) this.own.follows = value;
  }

  /** The equal run whose work is its own: the one it adopted, or ended like. */
  get executedBy(): string | null {
    return this.course.executedBy;
  }

  set executedBy(value: string | null) {
    if (this.course.executedBy !== value) this.own.executedBy = value;
  }

  /** With `failure`, what it becomes although each of its steps was skipped or succeeded. */
  get failureState(): RunState {
    return this.course.failureState;
  }

  set failureState(value: RunState) {
    if (this.course.failureState !== value) this.own.failureState = value;
  }

  /** Times that a step of it ran again because its output was reported invalid. */
  get stepBacks(): number {
    return this.course.stepBacks;
  }

  set stepBacks(value: number) {
    if (this.course.stepBacks !== value) this.own.stepBacks = value;
  }

  /** Why it did not succeed. */
  get failure(): StepFailure | null {
    return this.course.failure;
  }

  set failure(value: StepFailure | null) {
    if (this.course.failure !== value) this.own.failure = value;
  }

  get state(): RunState {
    return this.course.state;
  }

  set state(value: RunState) {
    if (this.course.state !== value) this.own.state = value;
  }

  get revision(): number {
    return this.course.revision;
  }

  set revision(value: number) {
    if (this.course.revision !== value) this.own.revision = value;
  }

  get startMs(): number | null {
    return this.course.startMs;
  }

  set startMs(value: number | null) {
    if (this.course.startMs !== value) this.own.startMs = value;
  }

  get endMs(): number | null {
    return this.course.endMs;
  }

  set endMs(value: number | null) {
    if (this.course.endMs !== value) this.own.endMs = value;
  }

  get cancelReason(): string | null {
    return this.course.cancelReason;
  }

  set cancelReason(value: string | null) {
    if (this.course.cancelReason !== value) this.own.cancelReason = value;
  }
}
