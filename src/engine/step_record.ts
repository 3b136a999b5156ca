/**
 * A step in memory. One that waits as it was submitted takes little more than its place in the queue; what has happened to
 * one gets a place when it happens.
 */
import type { Priority, QueuePlace } from '../domain/priority.ts';
import type { StepState } from '../domain/step.ts';
import { FIRST_GENERATION } from './generations.ts';
import type { AttemptRow } from './rows.ts';
import type { RunRecord } from './run_record.ts';
import type {
  AssignmentRecord,
  BlockedOn,
  DemandRecord,
  Due,
  Exclusion,
  InvalidInput,
  Progress,
  StepDefinition,
  StepFailure,
} from './state.ts';
import { NO_TIMER, NOWHERE, type Timed, type TimerHandle } from './timers.ts';
import type { StepTotals } from './totals.ts';

/** Which step of its run it is. The single steps of runs that were asked alike share it. */
export interface StepRole {
  readonly definition: StepDefinition;
  /** Place among the run's steps, in the order they were defined. */
  readonly index: number;
  /** Counts the steps that are like it. */
  readonly totals: StepTotals;
  /** null: it has its run's id, as every single step has. */
  readonly stepId: string | null;
  /** How long it waits for a worker; 0: for ever. */
  readonly scheduleTimeoutMs: number;
}

/** What has happened to one step. */
class Course {
  assignment: AssignmentRecord | null = null;
  generation = FIRST_GENERATION;
  invalidInput: InvalidInput | null = null;
  storedSuccess: AttemptRow | null = null;
  outputBytes = 0;
  failures = 0;
  losses = 0;
  attemptBase = 0;
  started = false;
  assignedOnce = false;
  readyMs: number | null = null;
  scheduleDeadlineMs: number | null = null;
  endMs: number | null = null;
  endSequence = 0;
  progress: Progress | null = null;
  failure: StepFailure | null = null;
  backoffTimer: TimerHandle = NO_TIMER;
  reofferTimer: TimerHandle = NO_TIMER;
  exclusions: Map<string, Exclusion> | null = null;
}

/** Of all steps to which nothing has happened. */
const NOTHING: Readonly<Course> = new Course();

const STATES: readonly StepState[] = [
  'BLOCKED',
  'PENDING',
  'ASSIGNED',
  'RUNNING',
  'SUCCEEDED',
  'FAILED',
  'CRASHED',
  'TIMED_OUT',
  'CANCELLED',
  'SKIPPED',
];
const BLOCKERS: readonly (BlockedOn | null)[] = [null, 'NEEDS', 'DEPENDS_ON_RUN', 'HELD', 'EQUAL', 'BACKING_OFF'];

/** Small numbers share one word: where each begins, and how much there is room for. */
const STATE = { shift: 0, mask: 0xf };
const BLOCKER = { shift: 4, mask: 0x7 };
const PRIORITY = { shift: 7, mask: 0x7 };
const QUEUED = { shift: 10, mask: 0x1 };
/** It waits since its run was made, for as long as its role says: ready time and deadline follow from that. */
const PLAIN_WAIT = { shift: 11, mask: 0x1 };
/** All that is left of the 31 bits that are no object of their own. */
const OPEN_NEEDS = { shift: 12, mask: 0x7ffff };

type Bits = typeof STATE;

export class StepRecord implements QueuePlace, Timed<Due> {
  readonly run: RunRecord;
  readonly role: StepRole;
  demand: DemandRecord;
  readySequence = 0;
  /** Of its schedule clock. */
  timerPlace = NOWHERE;
  private bits = 0;
  private course: Readonly<Course> = NOTHING;

  constructor(run: RunRecord, role: StepRole, demand: DemandRecord, openNeeds: number) {
    this.run = run;
    this.role = role;
    this.demand = demand;
    this.priority = run.priority;
    this.openNeeds = openNeeds;
  }

  /** Where something that happens is written down; the setters come here only with what is new. */
  private get own(): Course {
    if (this.course === NOTHING) this.course = new Course();
    return this.course;
  }

  private read({ shift, mask }: Bits): number {
    return (this.bits >> shift) & mask;
  }

  private write({ shift, mask }: Bits, value: number): void {
    this.bits = (this.bits & ~(mask << shift)) | (value << shift);
  }

  /** As a timer it is that of its schedule clock. */
  get due(): Due {
    return this;
  }

  get kind(): 'schedule' {
    return 'schedule';
  }

  get step(): StepRecord {
    return this;
  }

  get stepId(): string {
    return this.role.stepId ?? this.run.runId;
  }

  get definition(): StepDefinition {
    return this.role.definition;
  }

  get index(): number {
    return this.role.index;
  }

  get totals(): StepTotals {
    return this.role.totals;
  }

  get state(): StepState {
    return STATES[this.read(STATE)] as StepState;
  }

  set state(state: StepState) {
    this.write(STATE, STATES.indexOf(state));
  }

  get blockedOn(): BlockedOn | null {
    return BLOCKERS[this.read(BLOCKER)] as BlockedOn | null;
  }

  set blockedOn(blockedOn: BlockedOn | null) {
    this.write(BLOCKER, BLOCKERS.indexOf(blockedOn));
  }

  get priority(): Priority {
    return this.read(PRIORITY) as Priority;
  }

  set priority(priority: Priority) {
    this.write(PRIORITY, priority);
  }

  /** It waits in its demand's queue. */
  get queued(): boolean {
    return this.read(QUEUED) === 1;
  }

  set queued(queued: boolean) {
    this.write(QUEUED, queued ? 1 : 0);
  }

  /** Needs that have not succeeded yet. */
  get openNeeds(): number {
    return this.read(OPEN_NEEDS);
  }

  set openNeeds(openNeeds: number) {
    this.write(OPEN_NEEDS, openNeeds);
  }

  get readyMs(): number | null {
    return this.waitsPlainly ? this.run.createMs : this.course.readyMs;
  }

  set readyMs(readyMs: number | null) {
    this.setWait(readyMs, this.scheduleDeadlineMs);
  }

  get scheduleDeadlineMs(): number | null {
    return this.waitsPlainly ? this.plainDeadlineMs : this.course.scheduleDeadlineMs;
  }

  set scheduleDeadlineMs(deadlineMs: number | null) {
    this.setWait(this.readyMs, deadlineMs);
  }

  private get waitsPlainly(): boolean {
    return this.read(PLAIN_WAIT) === 1;
  }

  private get plainDeadlineMs(): number | null {
    const { scheduleTimeoutMs } = this.role;
    return scheduleTimeoutMs === 0 ? null : this.run.createMs + scheduleTimeoutMs;
  }

  /** When it became ready, or is to be, and until when it waits for a worker; null: not yet, and for ever. */
  setWait(readyMs: number | null, deadlineMs: number | null): void {
    const isPlain = readyMs === this.run.createMs && deadlineMs === this.plainDeadlineMs;
    this.write(PLAIN_WAIT, isPlain ? 1 : 0);
    if (isPlain || (this.course.readyMs === readyMs && this.course.scheduleDeadlineMs === deadlineMs)) return;
    this.own.readyMs = readyMs;
    this.own.scheduleDeadlineMs = deadlineMs;
  }

  get assignment(): AssignmentRecord | null {
    return this.course.assignment;
  }

  set assignment(value: AssignmentRecord | null) {
    if (this.course.assignment !== value) this.own.assignment = value;
  }

  /** Grows each time it runs again because its output was reported invalid. */
  get generation(): number {
    return this.course.generation;
  }

  set generation(value: number) {
    if (this.course.generation !== value) this.own.generation = value;
  }

  /** null: no report concerned it. */
  get invalidInput(): InvalidInput | null {
    return this.course.invalidInput;
  }

  set invalidInput(value: InvalidInput | null) {
    if (this.course.invalidInput !== value) this.own.invalidInput = value;
  }

  /** The assignment that succeeded, as it was stored, when this is from before a restart. */
  get storedSuccess(): AttemptRow | null {
    return this.course.storedSuccess;
  }

  set storedSuccess(value: AttemptRow | null) {
    if (this.course.storedSuccess !== value) this.own.storedSuccess = value;
  }

  /** UTF-8 bytes of its first output, for the limit on joined inputs; 0: none, or not known to be needed. */
  get outputBytes(): number {
    return this.course.outputBytes;
  }

  set outputBytes(value: number) {
    if (this.course.outputBytes !== value) this.own.outputBytes = value;
  }

  get failures(): number {
    return this.course.failures;
  }

  set failures(value: number) {
    if (this.course.failures !== value) this.own.failures = value;
  }

  get losses(): number {
    return this.course.losses;
  }

  set losses(value: number) {
    if (this.course.losses !== value) this.own.losses = value;
  }

  /** Attempts before the last RetryRun: numbers go on, budgets start anew. */
  get attemptBase(): number {
    return this.course.attemptBase;
  }

  set attemptBase(value: number) {
    if (this.course.attemptBase !== value) this.own.attemptBase = value;
  }

  /** A worker accepted it at least once. */
  get started(): boolean {
    return this.course.started;
  }

  set started(value: boolean) {
    if (this.course.started !== value) this.own.started = value;
  }

  /** It was given to a worker at least once, accepted or not. */
  get assignedOnce(): boolean {
    return this.course.assignedOnce;
  }

  set assignedOnce(value: boolean) {
    if (this.course.assignedOnce !== value) this.own.assignedOnce = value;
  }

  get endMs(): number | null {
    return this.course.endMs;
  }

  set endMs(value: number | null) {
    if (this.course.endMs !== value) this.own.endMs = value;
  }

  get endSequence(): number {
    return this.course.endSequence;
  }

  set endSequence(value: number) {
    if (this.course.endSequence !== value) this.own.endSequence = value;
  }

  get progress(): Progress | null {
    return this.course.progress;
  }

  set progress(value: Progress | null) {
    if (this.course.progress !== value) this.own.progress = value;
  }

  get failure(): StepFailure | null {
    return this.course.failure;
  }

  set failure(value: StepFailure | null) {
    if (this.course.failure !== value) this.own.failure = value;
  }

  get backoffTimer(): TimerHandle {
    return this.course.backoffTimer;
  }

  set backoffTimer(value: TimerHandle) {
    if (this.course.backoffTimer !== value) this.own.backoffTimer = value;
  }

  get reofferTimer(): TimerHandle {
    return this.course.reofferTimer;
  }

  set reofferTimer(value: TimerHandle) {
    if (this.course.reofferTimer !== value) this.own.reofferTimer = value;
  }

  get exclusions(): Map<string, Exclusion> | null {
    return this.course.exclusions;
  }

  set exclusions(value: Map<string, Exclusion> | null) {
    if (this.course.exclusions !== value) this.own.exclusions = value;
  }
}
