/** Does the same to the engine and to the naive plane, and says where they differ. */
import type { LabelPatch } from '../../src/domain/labels.ts';
import type { Priority } from '../../src/domain/priority.ts';
import { isRefusal } from '../../src/domain/refusal.ts';
import { RETRY_DEFAULT } from '../../src/domain/retry.ts';
import type { RunState } from '../../src/domain/run.ts';
import type { Command, CommandOf, OpenSession } from '../../src/engine/commands.ts';
import { createYard, definitionOf, draftOf, type Yard } from './engine.ts';
import {
  EVENT_TIMES,
  type Event,
  type FactKind,
  isFact,
  namespaceOf,
  WORKER_NAMES,
  WORKFLOW_NAMES,
} from './engine_events.ts';
import type { Draft, FlowDraft } from './engine_orders.ts';
import type { RunOrder, StepOrder } from './engine_wishes.ts';
import { Oracle } from './oracle.ts';
import { addressOf, hasEnded, nameOf, type OracleRun, type OracleStep, type OracleWorker } from './oracle_records.ts';

export const DUEL_TIMES = {
  acceptTimeoutMs: EVENT_TIMES.acceptMs,
  missedAcceptPauseMsMax: EVENT_TIMES.missedPauseMs,
  reconnectGraceMs: EVENT_TIMES.graceMs,
  cancelCloseMs: EVENT_TIMES.cancelCloseMs,
  reofferPauseMs: EVENT_TIMES.pauseMs,
  reofferPauseMsMax: EVENT_TIMES.pauseMsMax,
  endedInMemoryMs: EVENT_TIMES.endedInMemoryMs,
};

export class Duel {
  readonly yard: Yard = createYard({ times: DUEL_TIMES });
  readonly oracle = new Oracle(EVENT_TIMES);
  /** Every command the engine was given, and when. */
  readonly commands: { readonly command: Command; readonly atMs: number }[] = [];
  /** What the engine sent, in order. */
  readonly sent: unknown[] = [];
  /** Streams that the last command gave work to. */
  offered: readonly number[] = [];
  readonly #look: (duel: Duel) => void;
  /** Engine's ids of the assignments, by the oracle's names for them. */
  readonly #assignmentIds = new Map<string, string>();
  readonly #connections = new Map<OracleWorker, number>();
  readonly #secrets = new Map<OracleWorker, string>();
  readonly #flows = new Map<string, FlowDraft>();
  #lastRun = 0;
  #lastConnection = 0;

  /** `look` is called after every command that the two have taken; it throws where they differ. */
  constructor(look: (duel: Duel) => void) {
    this.#look = look;
    this.#engine({
      kind: 'put_namespace',
      name: 'other',
      matchMode: 'LEGACY',
      retentionMs: null,
      scheduleTimeoutMs: null,
    });
  }

  /** Gives the engine a command; `expected` says whether it is to be taken. */
  #engine(command: Command, expected: 'taken' | 'refused' | 'either' = 'taken'): unknown {
    this.commands.push({ command, atMs: this.yard.nowMs });
    const { result, effects } = this.yard.apply(command as CommandOf<'tick'>);
    this.sent.push(...effects);
    if (expected !== 'either' && isRefusal(result) !== (expected === 'refused')) {
      throw new Error(`${command.kind} was not ${expected}: ${JSON.stringify(result)}`);
    }
    const offered = effects.flatMap((effect) => (effect.kind === 'run_step' ? [effect] : []));
    this.offered = offered.map(({ connection }) => connection);
    for (const { connection, offer } of offered) {
      this.yard.apply({ kind: 'handed_over', connection, assignmentId: offer.assignmentId });
      this.commands.push({
        command: { kind: 'handed_over', connection, assignmentId: offer.assignmentId },
        atMs: this.yard.nowMs,
      });
    }
    return result;
  }

  #settle(): void {
    this.oracle.place(this.yard.nowMs);
    this.#look(this);
    for (const step of this.oracle.steps()) {
      if (step.holder !== null) this.#assignmentIds.set(nameOf(step), this.yard.assignmentId(addressOf(step)));
    }
  }

  #pass(byMs: number): void {
    const untilMs = this.yard.nowMs + byMs;
    for (;;) {
      const dueMs = Math.min(
        this.yard.engine.nextDueMs() ?? Number.POSITIVE_INFINITY,
        this.oracle.nextDueMs(this.yard.nowMs),
      );
      if (dueMs > untilMs) break;
      this.yard.nowMs = Math.max(dueMs, this.yard.nowMs);
      this.#engine({ kind: 'tick' });
      this.oracle.tick(this.yard.nowMs);
      this.#settle();
    }
    this.yard.nowMs = untilMs;
  }

  #openSession(facts: Partial<OpenSession> & Pick<OpenSession, 'name' | 'namespace' | 'actions' | 'slots'>): number {
    this.#lastConnection += 1;
    const none = { workerId: '', tags: [], labels: null, devices: null, nickname: '', sdk: null, resume: null };
    this.#engine({
      kind: 'open_session',
      ...none,
      connection: this.#lastConnection,
      newSessionHash: `secret-${this.#lastConnection}`,
      ...facts,
    });
    return this.#lastConnection;
  }

  #hello(event: Extract<Event, { kind: 'hello' }>): void {
    const name = pick(WORKER_NAMES, event.name) as string;
    const namespace = namespaceOf(name);
    const known = this.oracle.workers.find((worker) => worker.name === name);
    const facts = { name, namespace, tags: known?.tags ?? event.tags, actions: event.actions, slots: event.slots };
    const labels = new Map(event.labels);
    const connection = this.#openSession({ ...facts, labels });
    this.oracle.hello(facts, labels, this.yard.nowMs);
    const worker = this.oracle.workers.find((one) => one.name === name) as OracleWorker;
    this.#connections.set(worker, connection);
    this.#secrets.set(worker, `secret-${connection}`);
  }

  #resume(worker: OracleWorker, forgets: number): void {
    // Each bit makes the process forget one of the assignments it held.
    const all = [...this.oracle.held(worker).map((step) => nameOf(step)), ...worker.reserved];
    const named = new Set(all.filter((_name, index) => ((forgets >> (index % 3)) & 1) === 0));
    const heldAssignmentIds = [...named].map((name) => this.#assignmentIds.get(name) as string);
    const { name, namespace, actions, slots } = worker;
    const connection = this.#openSession({
      name,
      namespace,
      actions,
      slots,
      resume: { sessionHash: this.#secrets.get(worker) as string, heldAssignmentIds },
    });
    this.oracle.resume(worker, named, this.yard.nowMs);
    this.#connections.set(worker, connection);
  }

  /** The engine's id of the worker. */
  #idOf(worker: OracleWorker | undefined): string {
    return this.yard.engine.state.workersByName.get(`${worker?.namespace}\n${worker?.name}`)?.workerId ?? '';
  }

  #aboutWorker(event: Extract<Event, { which: number }>): void {
    const connected = this.oracle.workers.filter((worker) => worker.connected);
    const any = pick(this.oracle.workers, event.which);
    const live = pick(connected, event.which);
    const connection = live === undefined ? 0 : (this.#connections.get(live) as number);
    const named = () => ({ namespace: any?.namespace ?? '', workerId: this.#idOf(any) });
    if (event.kind === 'resume') {
      const worker = pick(
        this.oracle.workers.filter((one) => one.process),
        event.which,
      );
      if (worker) this.#resume(worker, event.forgets);
    } else if (event.kind === 'upsert' && live) {
      const patch: LabelPatch = new Map(event.patch);
      this.#engine({ kind: 'upsert_labels', connection, patch });
      this.oracle.upsert(live, patch);
    } else if (event.kind === 'slots' && live) {
      this.#engine({ kind: 'change_slots', connection, slots: event.slots });
      this.oracle.changeSlots(live, event.slots);
    } else if (event.kind === 'disconnect' && live) {
      this.#engine({ kind: 'close_session', connection, reason: 'CLOSED' });
      this.oracle.disconnect(live, this.yard.nowMs);
    } else if (event.kind === 'goodbye' && live) {
      this.#engine({ kind: 'goodbye', connection });
      this.oracle.goodbye(live, this.yard.nowMs);
    } else if (event.kind === 'remove' && any) {
      this.#engine({ kind: 'delete_worker', ...named(), force: true });
      this.oracle.remove(any, this.yard.nowMs);
    } else if (event.kind === 'drain' && any) {
      this.#engine({ kind: 'drain_worker', ...named(), reason: '' });
      any.draining = true;
    } else if (event.kind === 'undrain' && any) {
      this.#engine({ kind: 'resume_worker', ...named() });
      any.draining = false;
    }
  }

  /** A word of a worker about something it holds. */
  #fact(kind: FactKind, step: OracleStep, worker: OracleWorker): void {
    const about = {
      connection: this.#connections.get(worker) as number,
      assignmentId: this.yard.assignmentId(addressOf(step)),
    };
    const running = step.state === 'RUNNING';
    const expected = running ? 'taken' : 'refused';
    this.oracle.heard(worker);
    if (kind === 'accept') {
      this.#engine({ kind: 'accept_step', ...about });
      this.oracle.accept(step, this.yard.nowMs);
    } else if (kind === 'finish') {
      this.#engine({ kind: 'accept_step', ...about });
      this.oracle.accept(step, this.yard.nowMs);
      this.#settle();
      this.#engine({ kind: 'succeed_step', ...about, outputJson: '1' });
      this.oracle.succeed(step, this.yard.nowMs);
    } else if (kind === 'return') {
      this.#engine({ kind: 'return_step', ...about, reason: 'NOT_READY', detail: '' });
      this.oracle.giveBack(step, this.yard.nowMs);
    } else if (kind === 'succeed') {
      this.#engine({ kind: 'succeed_step', ...about, outputJson: '1' }, expected);
      if (running) this.oracle.succeed(step, this.yard.nowMs);
    } else if (kind === 'fail') {
      this.#engine(
        {
          kind: 'fail_step',
          ...about,
          failure: { reason: 'APPLICATION', type: '', message: '', stack: '', retryable: null },
        },
        expected,
      );
      if (running) this.oracle.fail(step, this.yard.nowMs);
    } else if (kind === 'progress') {
      this.#engine({ kind: 'progress_step', ...about, progress: { text: '', phase: '', fraction: null } }, expected);
    } else if (kind === 'confirm_cancel') {
      this.#engine({ kind: 'confirm_cancel', ...about }, step.cancelled ? 'taken' : 'refused');
      if (step.cancelled) this.oracle.confirmCancel(step, this.yard.nowMs);
    }
  }

  /** A word about an assignment that is over, or another worker's. */
  #late(event: Extract<Event, { kind: 'late' }>): void {
    const worker = pick(
      this.oracle.workers.filter((one) => one.connected),
      event.which,
    );
    if (worker === undefined) return;
    const names = worker.reserved.size > 0 ? [...worker.reserved] : [...this.#assignmentIds.keys()];
    const name = pick(names, event.about);
    if (name === undefined || this.oracle.held(worker).some((step) => nameOf(step) === name)) return;
    const about = {
      connection: this.#connections.get(worker) as number,
      assignmentId: this.#assignmentIds.get(name) as string,
    };
    this.oracle.heard(worker);
    const kind = pick(['accept_step', 'succeed_step', 'confirm_cancel'] as const, event.fact);
    if (kind === 'accept_step') this.#engine({ kind, ...about }, 'refused');
    else if (kind === 'succeed_step') this.#engine({ kind, ...about, outputJson: '1' }, 'either');
    else this.#engine({ kind: 'confirm_cancel', ...about }, 'either');
    if (kind !== 'accept_step') this.oracle.overAtLast(worker, name);
  }

  #put(event: Extract<Event, { kind: 'workflow' }>): void {
    const name = pick(WORKFLOW_NAMES, event.which) as string;
    const { steps, sticky } = event.flow;
    this.#engine({
      kind: 'put_workflow',
      namespace: 'default',
      name,
      steps: steps.map((step) => ({ ...definition(step), name: step.name, needs: step.needs, runsOn: step.runsOn })),
      sticky,
      source: '[]',
    });
    this.#flows.set(name, event.flow);
  }

  #submit(drafts: readonly Draft[]): void {
    const known = [...this.oracle.runs];
    const all = drafts.map((draft) => this.#completed(draft, known));
    this.#engine({ kind: 'schedule_runs', runs: all.map((one) => this.#draftOf(one)) });
    for (const { order, pin, dependsOn } of all) this.oracle.submit(order, pin, dependsOn, this.yard.nowMs);
  }

  /** What the draft comes to: its workflow's steps, the worker and the runs that it names. */
  #completed(draft: Draft, known: readonly OracleRun[]): Submission {
    this.#lastRun += 1;
    const { namespace, wishes, priority, key } = draft;
    const [name, flow] = (namespace === 'default' && draft.workflow !== null
      ? pick([...this.#flows], draft.workflow)
      : undefined) ?? [null, null];
    const steps = flow?.steps ?? [{ ...draft.step, name: 'step', needs: [], runsOn: [] }];
    // A step without a workflow has no runs_on of its own.
    const runsOn = flow === null ? union(draft.runsOn, draft.step.runsOn) : [...draft.runsOn];
    const sticky = draft.sticky ?? flow?.sticky ?? 'NONE';
    const order = { id: `run-${this.#lastRun}`, namespace, steps, runsOn, wishes, priority, key, sticky };
    const near = this.oracle.workers.filter((worker) => worker.namespace === namespace);
    const pin = draft.pin === null ? null : (pick(near, draft.pin) ?? null);
    const earlier = known.filter((run) => run.order.namespace === namespace).reverse();
    const dependsOn = new Set(draft.dependsOn.flatMap((back) => earlier[back] ?? []));
    return { order, name, sticky: draft.sticky, pin, dependsOn: [...dependsOn] };
  }

  #draftOf({ order, name, sticky, pin, dependsOn }: Submission) {
    const [only] = order.steps as readonly [StepOrder];
    const { desired, retry, ...step } = definition(only);
    return draftOf(order.id, {
      namespace: order.namespace,
      priority: order.priority as Priority,
      desired: [...order.wishes],
      ...(name === null ? { ...step, stepDesired: [...desired], retry } : { workflow: name }),
      runsOn: [...order.runsOn],
      ...(sticky === null ? {} : { sticky }),
      pinToWorkerId: pin === null ? '' : this.#idOf(pin),
      ...(order.key === null ? {} : { concurrency: order.key }),
      dependsOn: dependsOn.map((run) => run.order.id),
      storedDependencies: Object.fromEntries(this.#storedStates(dependsOn)),
    });
  }

  #storedStates(runs: readonly OracleRun[]): ReadonlyMap<string, RunState> {
    return new Map(runs.map(({ order }) => [order.id, this.yard.store.runs.get(order.id)?.state as RunState]));
  }

  #cancel(event: Extract<Event, { kind: 'cancel' }>): void {
    const live = this.oracle.runs.filter((run) => !run.ended);
    const run = pick(live, event.which);
    if (run === undefined) return;
    const { namespace, id: runId } = run.order;
    const only = event.step === null ? null : (pick(run.steps, event.step) ?? null);
    const stepName = only?.order.name ?? '';
    // A step that has ended otherwise is not to be cancelled any more; once more is nothing new.
    const may = only === null || !hasEnded(only) || only.state === 'CANCELLED';
    this.#engine(
      { kind: 'cancel_run', namespace, runId, mode: 'ANY', reason: '', stepName },
      may ? 'taken' : 'refused',
    );
    if (may) this.oracle.cancel(run, only, this.yard.nowMs);
  }

  #retry(event: Extract<Event, { kind: 'retry' }>): void {
    // Most of the time one that may be.
    const good = this.oracle.runs.filter((one) => this.oracle.mayRetry(one));
    const run = pick(event.which % 5 === 0 ? this.oracle.runs : good.slice(-5), event.which);
    if (run === undefined) return;
    const { namespace, id: runId } = run.order;
    const { keepPin } = event;
    const stored = this.yard.engine.state.runs.has(runId) ? null : this.yard.store.readRun(runId);
    const may = this.oracle.mayRetry(run);
    this.#engine(
      { kind: 'retry_run', namespace, runId, keepPin, stored, storedDependencies: this.#storedStates(run.dependsOn) },
      may ? 'taken' : 'refused',
    );
    if (may) this.oracle.retry(run, keepPin, this.yard.nowMs);
  }

  #edit(event: Extract<Event, { kind: 'edit' }>): void {
    const live = this.oracle.runs.filter((one) => !one.ended);
    const good = live.filter((one) => this.oracle.mayEdit(one));
    const run = pick(event.which % 5 === 0 ? live : good, event.which);
    if (run === undefined) return;
    const { namespace, id: runId } = run.order;
    const priority = event.priority as Priority | null;
    const may = this.oracle.mayEdit(run);
    this.#engine({ kind: 'update_run', namespace, runId, priority, runsOn: event.runsOn }, may ? 'taken' : 'refused');
    if (may) this.oracle.edit(run, priority, event.runsOn);
  }

  /** One event, to both; then both are looked at. */
  happen(event: Event): void {
    if (event.kind === 'pass') this.#pass(event.byMs);
    else if (event.kind === 'submit') this.#submit(event.runs);
    else if (event.kind === 'hello') this.#hello(event);
    else if (event.kind === 'late') this.#late(event);
    else if (event.kind === 'mode') {
      this.#engine({
        kind: 'put_namespace',
        name: 'default',
        matchMode: event.strict ? 'STRICT' : 'LEGACY',
        retentionMs: null,
        scheduleTimeoutMs: null,
      });
      this.oracle.setStrict('default', event.strict);
    } else if (event.kind === 'workflow') this.#put(event);
    else if (event.kind === 'cancel') this.#cancel(event);
    else if (event.kind === 'retry') this.#retry(event);
    else if (event.kind === 'edit') this.#edit(event);
    else if (isFact(event.kind)) {
      const step = pick(
        this.oracle.steps().filter((one) => one.holder?.connected),
        event.which,
      );
      if (step?.holder) this.#fact(event.kind, step, step.holder);
    } else this.#aboutWorker(event);
    this.#settle();
  }
}

interface Submission {
  readonly order: RunOrder;
  /** Of the workflow. */
  readonly name: string | null;
  /** As it was asked for; null: the workflow's. */
  readonly sticky: Draft['sticky'];
  readonly pin: OracleWorker | null;
  readonly dependsOn: readonly OracleRun[];
}

function definition(order: StepOrder) {
  const { action, wishes, scheduleMs, executionMs, attemptsMax, backoffMs, lossesMax } = order;
  return definitionOf({
    action,
    desired: [...wishes],
    scheduleTimeoutMs: scheduleMs,
    executionTimeoutMs: executionMs,
    retry: { ...RETRY_DEFAULT, attemptsMax, initialBackoffMs: backoffMs, workerLossesMax: lossesMax },
  });
}

function union(a: readonly string[], b: readonly string[]): string[] {
  return [...new Set([...a, ...b])].sort();
}

function pick<T>(list: readonly T[], which: number): T | undefined {
  return list[which % list.length];
}
