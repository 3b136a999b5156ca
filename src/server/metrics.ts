/** The metrics page: counters as they are told, and the engine's state as it is when somebody looks. */

import { waitingVerdict } from '../domain/verdict.ts';
import { workerStateOf } from '../domain/worker.ts';
import type { EngineState } from '../engine/state.ts';
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
  const pendingHelp = 'Steps that wait for a worker, by action and by why: the verdict over all workers.';
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

/** Waiting steps by action, then by verdict. The smaller actions stand together under one name. */
function pendingByAction(state: EngineState): Map<string, Map<string, number>> {
  const totals = new Map<string, number>();
  for (const { spec, queue } of state.demands.values()) {
    totals.set(spec.action, (totals.get(spec.action) ?? 0) + queue.size);
  }
  const named = largest(totals);
  const pending = new Map<string, Map<string, number>>();
  let pairsLeft = PAIRS_EXAMINED_MAX;
  for (const { spec, namespace, queue } of state.demands.values()) {
    pairsLeft -= state.workers.size;
    const verdict = pairsLeft < 0 ? NOT_EXAMINED : waitingVerdict(spec, namespace.matchMode, state.workers.values());
    const action = named.has(spec.action) ? spec.action : REST;
    const byVerdict = pending.get(action) ?? new Map<string, number>();
    pending.set(action, byVerdict.set(verdict, (byVerdict.get(verdict) ?? 0) + queue.size));
  }
  return pending;
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
