/** Worker processes: the real SDK, handlers that behave badly, and a supervisor that starts a process anew when it ends. */

import type { StepContext } from '../../src/worker/context.ts';
import type { Worker, WorkerEvent } from '../../src/worker/index.ts';
import type { Labels } from '../../src/worker/labels.ts';
import type { StepOffer, WorkerOptions } from '../../src/worker/options.ts';
import { createWorkerOn } from '../../src/worker/worker.ts';
import type { Chance } from './chance.ts';
import { short } from './ids.ts';
import type { Execution, ExecutionJournal } from './journal.ts';
import type { Network } from './network.ts';
import { createProcess, type SimProcess } from './process.ts';
import type { World } from './world.ts';

export interface WorkerSpec {
  /** Its supervisor's name; a default worker has another one at the server. */
  readonly host: string;
  /** Empty: a default worker. */
  readonly name: string;
  readonly tags: readonly string[];
  readonly labels: Labels;
  readonly slots: number;
  readonly actions: readonly string[];
}

/** One process of a worker. */
export interface Incarnation {
  readonly process: SimProcess;
  readonly worker: Worker;
  /** Slots from now on. */
  setSlots(slots: number): void;
  /** Tells it to stop in good order. */
  stop(graceMs: number): void;
}

export interface Host {
  readonly spec: WorkerSpec;
  /** The processes that live; more than one while a new one takes the place of the old. */
  readonly incarnations: readonly Incarnation[];
  /** Starts one more. */
  start(): void;
  /** Starts one, unless one lives. */
  ensure(): void;
  /** It was told to stop: what it aborts itself it does not name any more. */
  isStopping(process: SimProcess): boolean;
}

export interface FleetOptions {
  readonly world: World;
  readonly chance: Chance;
  readonly network: Network;
  readonly journal: ExecutionJournal;
  readonly isCalm: () => boolean;
}

export function createHost(options: FleetOptions, spec: WorkerSpec): Host {
  const { world, chance, network, isCalm } = options;
  const incarnations = new Set<Incarnation>();
  const stopping = new Set<SimProcess>();
  let count = 0;

  function start(): void {
    count += 1;
    const process = createProcess(world, `${spec.host}-${count}`);
    const slots = { count: spec.slots };
    const worker = createWorkerOn(
      {
        ...(spec.name === '' ? {} : { name: spec.name, tags: spec.tags }),
        labels: spec.labels,
        slots: spec.slots,
        actions: Object.fromEntries(spec.actions.map((action) => [action, handlerOf(options, spec, process, slots)])),
        accept: acceptOf(options),
        onEvent: (event) => tell(world, process, event),
      },
      { clock: process, fraction: chance.fork().fraction, openStream: network.openStreamFrom(process) },
    );
    const incarnation: Incarnation = {
      process,
      worker,
      setSlots(count) {
        process.enter(() => {
          slots.count = count;
          worker.setSlots(count);
        });
      },
      stop(graceMs) {
        stopping.add(process);
        process.enter(() => void worker.stop({ graceMs }));
      },
    };
    incarnations.add(incarnation);
    process.onDeath(() => {
      incarnations.delete(incarnation);
      world.after(isCalm() ? 100 : chance.between(100, 40_000), ensure);
    });
    worker.start().catch(() => {});
    // Its main program ends with it, and takes along what its handlers still do.
    void worker.closed.then((end) => {
      if (end.kind === 'failed') world.broken(`${process.name} was refused: ${end.error.message}`);
      world.note(process.name, `ends: ${end.kind}`);
      process.after(chance.between(1, 2_000), () => process.kill());
    });
  }

  function ensure(): void {
    if (incarnations.size === 0) start();
  }

  return {
    spec,
    get incarnations() {
      return [...incarnations];
    },
    start,
    ensure,
    isStopping: (process) => stopping.has(process),
  };
}

/** Most take what they are offered. */
function acceptOf({ chance, isCalm }: FleetOptions): NonNullable<WorkerOptions['accept']> {
  return (offer: StepOffer) => {
    if (isCalm()) return true;
    if (offer.labelsAreStale && chance.happens(0.5)) return 'STALE_LABELS';
    return chance.happens(0.03) ? 'NOT_READY' : true;
  };
}

interface Plan {
  readonly durationMs: number;
  readonly ends: 'WELL' | 'BADLY' | 'FOR_GOOD';
  readonly ignoresCancel: boolean;
  readonly lines: number;
}

function planOf({ chance, isCalm }: FleetOptions): Plan {
  // One that hangs, and hears nothing.
  if (!isCalm() && chance.happens(0.08))
    return { durationMs: chance.between(30_000, 90_000), ends: 'WELL', ignoresCancel: true, lines: 1 };
  const long = !isCalm() && chance.happens(0.25);
  return {
    durationMs: long ? chance.between(2_000, 45_000) : chance.between(0, 1_500),
    ends: chance.happens(0.82) ? 'WELL' : chance.happens(0.8) ? 'BADLY' : 'FOR_GOOD',
    ignoresCancel: chance.happens(0.4),
    lines: chance.happens(0.4) ? chance.whole(1, 6) : 0,
  };
}

function handlerOf(options: FleetOptions, spec: WorkerSpec, process: SimProcess, slots: { readonly count: number }) {
  const { world, journal, chance } = options;
  return (context: StepContext): Promise<unknown> => {
    const { assignmentId, runId } = context;
    const plan = planOf(options);
    const execution: Execution = {
      assignmentId,
      runId,
      workerName: spec.host,
      process,
      outcome: null,
      isForgotten: false,
    };
    if (journal.of(assignmentId) !== undefined) world.broken(`assignment ${short(assignmentId)} is executed twice`);
    journal.begin(execution);
    const running = journal.runningIn(process).length;
    if (running > slots.count) world.broken(`${process.name} runs ${running} handlers, it has ${slots.count} slots`);
    return new Promise((resolve, reject) => {
      const end = (outcome: Execution['outcome'], tell: () => void) => {
        if (execution.outcome !== null) return;
        execution.outcome = outcome;
        world.note(process.name, `handler of ${short(assignmentId)} ${outcome}`);
        tell();
      };
      process.after(plan.durationMs, () => {
        if (plan.ends === 'WELL') end('succeeded', () => resolve({ by: assignmentId }));
        else end('failed', () => reject(failure(assignmentId, plan.ends === 'BADLY')));
      });
      for (let line = 1; line <= plan.lines; line++) {
        process.after(chance.between(0, plan.durationMs), () => {
          if (execution.outcome === null) context.log(`${assignmentId} says ${line}`);
        });
      }
      if (chance.happens(0.3)) context.progress('under way');
      if (plan.ignoresCancel) return;
      context.signal.addEventListener('abort', () => {
        process.after(chance.between(0, 300), () => end('aborted', () => reject(new Error('stopped'))));
      });
    });
  };
}

function failure(assignmentId: string, retryable: boolean): Error {
  return Object.assign(new Error(`failed: ${assignmentId}`), { retryable });
}

function tell(world: World, process: SimProcess, event: WorkerEvent): void {
  switch (event.type) {
    case 'connected':
      world.note(process.name, `is welcome as ${event.name}${event.resumed ? ' again' : ''}`);
      return;
    case 'disconnected':
      world.note(process.name, `lost its stream (${event.reason}); tries again in ${Math.round(event.retryInMs)} ms`);
      return;
    case 'step_started':
      world.note(process.name, `begins ${short(event.assignmentId)} of run ${short(event.runId)}`);
      return;
    case 'step_returned':
      world.note(process.name, `gives ${short(event.assignmentId)} back: ${event.reason} ${event.detail}`);
      return;
    case 'step_aborted':
      world.note(process.name, `aborts ${short(event.assignmentId)}: ${event.kind} ${event.message}`);
      return;
    case 'refused':
      world.note(
        process.name,
        `hears that ${event.about} of ${event.assignmentId === '' ? '-' : short(event.assignmentId)} is refused: ${event.reason}`,
      );
      return;
    case 'evicted':
      world.note(process.name, `is evicted: ${event.reason}`);
      return;
    default:
      return;
  }
}
