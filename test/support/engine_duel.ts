/** Does the same to the engine and to the naive plane, and says where they differ. */
import type { LabelPatch } from '../../src/domain/labels.ts';
import type { Priority } from '../../src/domain/priority.ts';
import { isRefusal } from '../../src/domain/refusal.ts';
import type { Command, CommandOf, OpenSession } from '../../src/engine/commands.ts';
import type { EngineState } from '../../src/engine/state.ts';
import { createYard, draftOf, type Yard } from './engine.ts';
import {
  type Draft,
  EVENT_TIMES,
  type Event,
  type FactKind,
  isFact,
  namespaceOf,
  WORKER_NAMES,
} from './engine_events.ts';
import type { RunOrder } from './engine_wishes.ts';
import { Oracle, type OracleStep, type OracleWorker } from './oracle.ts';

export interface Picture {
  readonly held: string[];
  readonly waiting: string[];
  readonly states: string[];
  readonly slots: string[];
}

export const DUEL_TIMES = {
  acceptTimeoutMs: EVENT_TIMES.acceptMs,
  missedAcceptPauseMsMax: EVENT_TIMES.missedPauseMs,
  reconnectGraceMs: EVENT_TIMES.graceMs,
  cancelCloseMs: EVENT_TIMES.cancelCloseMs,
  reofferPauseMs: EVENT_TIMES.pauseMs,
  reofferPauseMsMax: EVENT_TIMES.pauseMsMax,
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
    for (const step of this.oracle.steps) {
      if (step.holder !== null)
        this.#assignmentIds.set(this.oracle.nameOf(step), this.yard.assignmentId(step.order.id));
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
    const all = [...this.oracle.held(worker).map((step) => this.oracle.nameOf(step)), ...worker.reserved];
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

  #aboutWorker(event: Extract<Event, { which: number }>): void {
    const connected = this.oracle.workers.filter((worker) => worker.connected);
    const any = pick(this.oracle.workers, event.which);
    const live = pick(connected, event.which);
    const connection = live === undefined ? 0 : (this.#connections.get(live) as number);
    const named = () => ({
      namespace: any?.namespace ?? '',
      workerId: this.yard.engine.state.workersByName.get(`${any?.namespace}\n${any?.name}`)?.workerId ?? '',
    });
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
      assignmentId: this.yard.assignmentId(step.order.id),
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
      this.oracle.succeed(step);
    } else if (kind === 'return') {
      this.#engine({ kind: 'return_step', ...about, reason: 'NOT_READY', detail: '' });
      this.oracle.giveBack(step, this.yard.nowMs);
    } else if (kind === 'succeed') {
      this.#engine({ kind: 'succeed_step', ...about, outputJson: '1' }, expected);
      if (running) this.oracle.succeed(step);
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
      if (step.cancelled) this.oracle.confirmCancel(step);
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
    if (name === undefined || this.oracle.held(worker).some((step) => this.oracle.nameOf(step) === name)) return;
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

  #submit(drafts: readonly Draft[]): void {
    const orders = drafts.map((draft): RunOrder => {
      this.#lastRun += 1;
      return { ...draft, id: `run-${this.#lastRun}` };
    });
    this.#engine({ kind: 'schedule_runs', runs: orders.map(runOf) });
    for (const order of orders) this.oracle.submit(order, this.yard.nowMs);
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
    } else if (event.kind === 'cancel') {
      const step = pick(
        this.oracle.steps.filter((one) => !this.oracle.ended(one)),
        event.which,
      );
      if (step) {
        this.#engine({
          kind: 'cancel_run',
          namespace: step.order.namespace,
          runId: step.order.id,
          mode: 'ANY',
          reason: '',
          stepName: '',
        });
        this.oracle.cancel(step, this.yard.nowMs);
      }
    } else if (isFact(event.kind)) {
      const step = pick(
        this.oracle.steps.filter((one) => one.holder?.connected),
        event.which,
      );
      if (step?.holder) this.#fact(event.kind, step, step.holder);
    } else this.#aboutWorker(event);
    this.#settle();
  }
}

function runOf(order: RunOrder) {
  const { id, namespace, action, runsOn, wishes, scheduleMs, executionMs, attemptsMax, backoffMs, lossesMax } = order;
  return draftOf(id, {
    namespace,
    action,
    runsOn: [...runsOn],
    // Half of them as the run's, half as the step's own: together they are asked for.
    desired: wishes.slice(0, 1),
    stepDesired: wishes.slice(1),
    priority: order.priority as Priority,
    scheduleTimeoutMs: scheduleMs,
    executionTimeoutMs: executionMs,
    retry: { attemptsMax, initialBackoffMs: backoffMs, workerLossesMax: lossesMax },
  });
}

function pick<T>(list: readonly T[], which: number): T | undefined {
  return list[which % list.length];
}

/** What the oracle thinks: who holds what, what waits in which order, the state of every live step, the slots in use. */
export function pictureOfOracle(oracle: Oracle): Picture {
  const live = oracle.steps.filter((step) => !oracle.ended(step));
  return {
    held: live.flatMap((step) => (step.holder === null ? [] : [`${step.order.id} ${step.holder.name}`])).sort(),
    waiting: oracle.waiting().map((step) => step.order.id),
    states: live.map((step) => `${step.order.id} ${step.state} failures ${step.failures} losses ${step.losses}`).sort(),
    slots: oracle.workers.map((worker) => `${worker.name} ${oracle.used(worker)}/${worker.slots}`).sort(),
  };
}

/** The same of the engine. `order` is the oracle's: the engine's queues have to be parts of it. */
export function pictureOfEngine(state: EngineState, order: readonly string[]): Picture {
  const live = [...state.runs.values()].flatMap((run) => run.steps).filter((step) => step.endMs === null);
  const rank = new Map(order.map((id, index) => [id, index]));
  const queues = [...state.demands.values()].map((demand) => [...demand.queue].map((step) => step.run.runId));
  return {
    held: live
      .flatMap((step) => (step.assignment === null ? [] : [`${step.run.runId} ${step.assignment.worker.name}`]))
      .sort(),
    waiting: merged(queues, rank),
    states: live
      .map((step) => `${step.run.runId} ${step.state} failures ${step.failures} losses ${step.losses}`)
      .sort(),
    slots: [...state.workers.values()].map((worker) => `${worker.name} ${worker.slotsUsed}/${worker.slots}`).sort(),
  };
}

/** The queues as one, each kept in its own order: only if all of them agree with `rank` is the result in its order. */
function merged(queues: readonly string[][], rank: ReadonlyMap<string, number>): string[] {
  const rest = queues.map((queue) => [...queue]);
  const all: string[] = [];
  for (;;) {
    let next: string[] | undefined;
    for (const queue of rest) {
      if (
        queue.length > 0 &&
        (next === undefined || (rank.get(queue[0] as string) ?? 0) < (rank.get(next[0] as string) ?? 0))
      )
        next = queue;
    }
    if (next === undefined) return all;
    all.push(next.shift() as string);
  }
}
