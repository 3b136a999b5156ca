/** The metrics page: counters as they are told, and the engine's state as it is when somebody looks. */

import type { Verdict } from '../domain/explain.ts';
import { waitingVerdict } from '../domain/verdict.ts';
import { workerStateOf } from '../domain/worker.ts';
import { isStickyWorkerAway } from '../engine/explain.ts';
import type { BlockedOn, DemandRecord, EngineState, StepRecord } from '../engine/state.ts';
import { createMetrics, type Metrics } from '../lib/prometheus.ts';
import type { Meters } from './meters.ts';
import type { Plane } from './plane.ts';

/** Values of a label that clients choose are shown by name up to this many, the largest; the rest are summed up. */
export const NAMED_MAX = 100;
const REST = 'other';

const ENDED_STATES = ['succeeded', 'failed', 'crashed', 'timed_out', 'cancelled'];

const SECONDS_PER_MS = 1 / 1_000;
const LATENCY_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1_800];
const COMMIT_SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
const COMMIT_COMMANDS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];

export interface ServerMetrics {
  readonly meters: Meters;
  /** What is read at a scrape is read from this plane. */
  watch(plane: Watched): void;
  page(): Promise<{ readonly contentType: string; readonly text: string }>;
}

type Watched = Pick<Plane, 'engineState' | 'isReady' | 'openStreams'>;

export function createServerMetrics(): ServerMetrics {
  const metrics = createMetrics();
  return {
    meters: addMeters(metrics),
    watch(plane) {
      metrics.gauge('ready', '1 while this process decides and its database answers, else 0.', [], (set) =>
        set(plane.isReady() ? 1 : 0),
      );
      metrics.gauge('streams_open', 'Open streams of workers.', [], (set) => set(plane.openStreams()));
      addStateGauges(metrics, plane);
    },
    page: async () => ({ contentType: metrics.contentType, text: await metrics.text() }),
  };
}

function addMeters(metrics: Metrics): Meters {
  const assigned = metrics.counter('assignments_total', 'Steps given to a worker.');
  const ended = metrics.counter('runs_ended_total', 'Runs that ended, by the state they ended in.', ['state']);
  const refused = metrics.counter('refusals_total', 'Messages of streams and calls that were refused, by reason.', [
    'reason',
    'to',
  ]);
  const commits = metrics.counter('commits_total', 'Batches written to the database.');
  const commitFailures = metrics.counter(
    'commit_failures_total',
    'Attempts to write a batch that failed; most are made again.',
  );
  const commands = metrics.histogram('commit_commands', 'Commands per written batch.', COMMIT_COMMANDS);
  const commitSeconds = metrics.histogram('commit_duration_seconds', 'Time of one write of a batch.', COMMIT_SECONDS);
  const sinceAssign = metrics.histogram(
    'assign_to_accept_seconds',
    'From an assignment to its acceptance by the worker.',
    LATENCY_SECONDS,
  );
  const sinceSubmission = metrics.histogram(
    'submit_to_accept_seconds',
    'From the submission of a run to its first acceptance by a worker.',
    LATENCY_SECONDS,
  );
  // From the first, so that the first failure shows as an increase.
  for (const state of ENDED_STATES) ended(0, { state });
  return {
    assigned: (count) => assigned(count),
    runEnded: (state) => ended(1, { state: state.toLowerCase() }),
    accepted(sinceAssignMs, sinceSubmissionMs) {
      // The times of an earlier process are by its own clock.
      sinceAssign(Math.max(0, sinceAssignMs) * SECONDS_PER_MS);
      if (sinceSubmissionMs !== null) sinceSubmission(Math.max(0, sinceSubmissionMs) * SECONDS_PER_MS);
    },
    committed(count, tookMs) {
      commits(1);
      commands(count);
      commitSeconds(tookMs * SECONDS_PER_MS);
    },
    commitFailed: () => commitFailures(1),
    refused: (reason, to) => refused(1, { reason, to }),
  };
}

/** While nobody decides here there is nothing to show. */
function addStateGauges(metrics: Metrics, plane: Watched): void {
  metrics.gauge('workers', 'Registered workers, by state and namespace.', ['state', 'namespace'], (set) => {
    const state = plane.engineState();
    if (state === null) return;
    const named = new Set(largest(countBy(state.workers.values(), ({ namespace }) => namespace)).keys());
    const counts = countBy(state.workers.values(), (worker) => {
      const condition = {
        connected: worker.connection !== null,
        holds: worker.assignments.size,
        crashed: worker.crashed,
      };
      return `${workerStateOf(condition).toLowerCase()} ${named.has(worker.namespace) ? worker.namespace : REST}`;
    });
    for (const [key, count] of counts) {
      const space = key.indexOf(' ');
      set(count, { state: key.slice(0, space), namespace: key.slice(space + 1) });
    }
  });
  const pendingHelp = `Steps that nobody has yet, by action and by why: the verdict. Blocked ones among ${RUNS_EXAMINED_MAX} runs.`;
  metrics.gauge('pending_steps', pendingHelp, ['action', 'verdict'], (set) => {
    const state = plane.engineState();
    if (state === null) return;
    for (const [action, byVerdict] of pendingByAction(state)) {
      for (const [verdict, count] of byVerdict) set(count, { action, verdict });
    }
  });
  metrics.gauge('slots', 'Slots of the workers that have a live stream.', [], (set) => {
    const state = plane.engineState();
    if (state !== null) set(sumOfConnected(state, ({ slots }) => slots));
  });
  metrics.gauge('slots_used', 'Slots in use on the workers that have a live stream.', [], (set) => {
    const state = plane.engineState();
    if (state !== null) set(sumOfConnected(state, ({ slotsUsed }) => slotsUsed));
  });
}

type Worker = EngineState['workers'] extends Map<string, infer W> ? W : never;

function sumOfConnected(state: EngineState, of: (worker: Worker) => number): number {
  let sum = 0;
  for (const worker of state.workers.values()) if (worker.connection !== null) sum += of(worker);
  return sum;
}

/** Demands are examined worker by worker; a page asked for must not hold up the plane, so only so many pairs are. */
const PAIRS_EXAMINED_MAX = 100_000;
const NOT_EXAMINED = 'NOT_EXAMINED';

/** The same for runs, whose blocked steps stand in no queue; of more runs the oldest are looked at. */
const RUNS_EXAMINED_MAX = 50_000;

type PendingVerdict = Verdict | typeof NOT_EXAMINED;

/** Steps that nobody has yet by action, then by verdict. The smaller actions stand together under one name. */
function pendingByAction(state: EngineState): Map<string, Map<string, number>> {
  const counted = [...countWaiting(state), ...countBlocked(state)];
  const totals = new Map<string, number>();
  for (const { action, steps } of counted) totals.set(action, (totals.get(action) ?? 0) + steps);
  const named = largest(totals);
  const pending = new Map<string, Map<string, number>>();
  for (const { action, verdict, steps } of counted) {
    const name = named.has(action) ? action : REST;
    const byVerdict = pending.get(name) ?? new Map<string, number>();
    pending.set(name, byVerdict.set(verdict, (byVerdict.get(verdict) ?? 0) + steps));
  }
  return pending;
}

interface Pending {
  readonly action: string;
  readonly verdict: PendingVerdict;
  readonly steps: number;
}

function countWaiting(state: EngineState): Pending[] {
  let pairsLeft = PAIRS_EXAMINED_MAX;
  return [...state.demands.values()].map((demand) => {
    pairsLeft -= state.workers.size;
    const verdict = pairsLeft < 0 ? NOT_EXAMINED : verdictOf(state, demand);
    return { action: demand.spec.action, verdict, steps: demand.queue.size };
  });
}

function verdictOf(state: EngineState, { spec, namespace }: DemandRecord): Verdict {
  if (isStickyWorkerAway(state, spec)) return 'STICKY_WORKER_AWAY';
  return waitingVerdict(spec, namespace.matchMode, state.workers.values());
}

function countBlocked(state: EngineState): Pending[] {
  const blocked: Pending[] = [];
  let runsLeft = RUNS_EXAMINED_MAX;
  for (const { steps } of state.runs.values()) {
    if (runsLeft === 0) break;
    runsLeft -= 1;
    for (const step of steps)
      if (step.blockedOn !== null) blocked.push(pendingOf(step, BLOCKED_VERDICTS[step.blockedOn]));
  }
  return blocked;
}

const BLOCKED_VERDICTS: Readonly<Record<BlockedOn, Verdict>> = {
  NEEDS: 'BLOCKED_BY',
  DEPENDS_ON_RUN: 'BLOCKED_BY',
  HELD: 'HELD',
  EQUAL: 'HELD',
  BACKING_OFF: 'BACKING_OFF',
};

function pendingOf({ definition }: StepRecord, verdict: Verdict): Pending {
  return { action: definition.action, verdict, steps: 1 };
}

function countBy<T>(items: Iterable<T>, keyOf: (item: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) {
    const key = keyOf(item);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

/** The largest by name, and what is left in one. */
export function largest(counts: ReadonlyMap<string, number>, namedMax = NAMED_MAX): Map<string, number> {
  if (counts.size <= namedMax) return new Map(counts);
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  const shown = new Map(sorted.slice(0, namedMax));
  const rest = sorted.slice(namedMax).reduce((sum, [, count]) => sum + count, 0);
  return shown.set(REST, (shown.get(REST) ?? 0) + rest);
}
