/** One simulation: a plane, its workers and its callers through a time of faults, and then a time without any. */
import { stepEnded } from '../../src/domain/step.ts';
import { type Callers, createCallers } from './callers.ts';
import { createChance } from './chance.ts';
import { createDeadlines } from './deadlines.ts';
import { type FaultTargets, injectFault } from './faults.ts';
import { createHost, type Host, type Incarnation, type WorkerSpec } from './fleet.ts';
import { seededIds, short } from './ids.ts';
import { createExecutionJournal } from './journal.ts';
import { createNetwork } from './network.ts';
import { createStreamBook, type Scene } from './scene.ts';
import { createServer, type SimServer } from './server.ts';
import { createStore, type SimStore } from './store.ts';
import { watchCommits } from './watch_commits.ts';
import { watchDecisions, whyNot } from './watch_decisions.ts';
import { watchStreams } from './watch_streams.ts';
import { createWorld, START_MS, type World } from './world.ts';

/** How long things go wrong, and how long it may take until all is well again. */
const FAULTS_MS = 120_000;
const CALM_MS_MAX = 600_000;
/** After the last run has ended, at most. */
const LAST_WORDS_MS = 90_000;
/** How often it is looked whether all is well. */
const ASK_MS = 200;
const RUNS = 36;
const FAULTS_PER_SIMULATION = 30;

export interface Report {
  readonly seed: number;
  readonly hash: string;
  readonly lines: readonly string[];
  readonly runs: number;
  readonly executions: number;
  readonly successes: number;
  readonly scheduleTimeouts: number;
  readonly events: number;
  readonly simulatedMs: number;
  readonly faults: ReadonlyMap<string, number>;
  /** null: every promise was kept. */
  readonly failure: string | null;
}

const FLEET: readonly WorkerSpec[] = [
  {
    host: 'alpha',
    name: 'alpha',
    tags: ['gpu'],
    labels: { zone: 'a', memory: 512 },
    slots: 2,
    actions: ['build', 'train'],
  },
  {
    host: 'beta',
    name: 'beta',
    tags: [],
    labels: { zone: 'b', memory: 256 },
    slots: 1,
    actions: ['build', 'test', 'train'],
  },
  {
    host: 'gamma',
    name: 'gamma',
    tags: ['cpu'],
    labels: { zone: 'a', memory: 64 },
    slots: 3,
    actions: ['build', 'test'],
  },
  { host: 'delta', name: '', tags: [], labels: { memory: 128 }, slots: 1, actions: ['build', 'test'] },
];

export async function simulate(seed: number, keepLines = false): Promise<Report> {
  const world = createWorld(keepLines);
  const stage = createStage(world, seed);
  let failure: string | null = null;
  try {
    await stage.play();
  } catch (error) {
    failure =
      error instanceof Error && error.name === 'BrokenPromiseError' ? error.message : String((error as Error).stack);
  }
  const { commits, journal, deadlines, callers, faults } = stage;
  return {
    seed,
    hash: world.hash(),
    lines: world.lines,
    runs: callers.orders.length,
    executions: journal.all.size,
    successes: commits.successes,
    scheduleTimeouts: deadlines.timeouts,
    events: world.events,
    simulatedMs: world.elapsedMs(),
    faults,
    failure,
  };
}

function createStage(world: World, seed: number) {
  const chance = createChance(seed);
  let calm = false;
  const isCalm = () => calm;
  const ids = seededIds(chance.fork());
  const network = createNetwork(world, chance.fork());
  const store = createStore(world, chance.fork());
  const journal = createExecutionJournal();
  const streams = createStreamBook();
  const hosts: Host[] = [];
  const scene: Scene = {
    world,
    store,
    journal,
    server: () => server,
    workerAt: streams.workerAt,
    isStopping: (process) => hosts.some((host) => host.isStopping(process)),
  };
  const commits = watchCommits(scene);
  const deadlines = createDeadlines(scene);
  store.onWritten(({ runs }) => {
    for (const { after } of runs) deadlines.committed(after.run_id, after.revision);
  });
  watchStreams(scene, network, commits);
  const server = createServer({
    world,
    network,
    store,
    ids,
    onAttached: streams.add,
    onTerm(engine, process, isStalled) {
      deadlines.begin(engine, process, isStalled);
      watchDecisions(scene, deadlines, engine, process);
    },
  });
  const fleet = { world, chance: chance.fork(), network, journal, isCalm };
  hosts.push(...FLEET.map((spec) => createHost(fleet, spec)));
  const callers = createCallers({
    world,
    chance: chance.fork(),
    server,
    ids,
    isCalm,
    isUnderWay: (runId) => store.runs.get(runId)?.end_ms === null,
  });
  const faults = new Map<string, number>();
  const targets: FaultTargets = { world, chance: chance.fork(), network, store, server, hosts, callers, isCalm };

  async function play(): Promise<void> {
    server.start();
    for (const host of hosts) world.after(chance.between(0, 3_000), host.start);
    for (let run = 0; run < RUNS; run++) world.after(chance.between(0, FAULTS_MS), callers.submit);
    for (let fault = 0; fault < FAULTS_PER_SIMULATION; fault++) {
      world.after(chance.between(1_000, FAULTS_MS), () => injectFault(targets, faults));
    }
    await world.run(START_MS + FAULTS_MS);
    calm = true;
    world.note('world', 'the faults are over');
    becalm(targets);
    const isOver = () => unended(callers, store, server).length === 0 && dirt(hosts, server).length === 0;
    await world.run(world.nowMs() + CALM_MS_MAX, nowAndThen(world, isOver));
    // What is under way without anybody waiting for it arrives; a worker that comes back last may bring work with it.
    await world.run(
      world.nowMs() + LAST_WORDS_MS,
      nowAndThen(world, () => labelsThatDiffer(store, hosts).length === 0 && isOver()),
    );
    checkEnd(scene, callers, hosts);
    await world.run(world.nowMs());
  }

  return { play, commits, journal, deadlines, callers, faults };
}

/** What takes long to tell is not asked after every event. */
function nowAndThen(world: World, condition: () => boolean): () => boolean {
  let askMs = 0;
  return () => {
    if (world.nowMs() < askMs) return false;
    askMs = world.nowMs() + ASK_MS;
    return condition();
  };
}

/** Everything that is broken is mended, and every worker is what it was at the start. */
function becalm({ world, network, store, server, hosts }: FaultTargets): void {
  network.calm();
  store.calm();
  if (!server.isUp) server.start();
  const mend = () => {
    for (const host of hosts) {
      host.ensure();
      for (const incarnation of host.incarnations) settleDown(host, incarnation);
    }
    for (const { worker_id: workerId, draining } of store.workers.values()) {
      if (draining) server.call({ kind: 'resume_worker', namespace: 'default', workerId }, () => {});
    }
    world.after(20_000, mend);
  };
  mend();
}

function settleDown({ spec }: Host, { process, worker, setSlots }: Incarnation): void {
  setSlots(spec.slots);
  process.enter(() => {
    const zone = spec.labels.zone ?? null;
    worker.upsertLabels({ zone, memory: spec.labels.memory ?? null }).catch(() => {});
  });
}

/** Acknowledged, and still under way, though somebody could do it. */
function unended({ orders }: Callers, store: SimStore, server: SimServer): string[] {
  const state = server.engine()?.state;
  if (state === undefined) return ['nobody decides'];
  return orders.flatMap(({ runId, requestId }) => {
    if (runId === null) return [`${requestId} was never answered`];
    const row = store.runs.get(runId);
    if (row === undefined) return [`run ${short(runId)} was acknowledged, and is lost`];
    if (row.end_ms !== null) return [];
    const [step] = state.runs.get(runId)?.steps ?? [];
    if (step === undefined || stepEnded(step.state))
      return [`run ${short(runId)} is ${row.step_state} in the store only`];
    const workers = [...state.workers.values()].filter(({ connection }) => connection !== null);
    const isPossible = step.state !== 'PENDING' || workers.some((worker) => whyNot(worker, step) === null);
    return isPossible || step.scheduleDeadlineMs !== null ? [`run ${short(runId)} is ${step.state}`] : [];
  });
}

/** What is held, kept or missing though nothing is to be done. */
function dirt(hosts: readonly Host[], server: SimServer): string[] {
  const workers = [...(server.engine()?.state.workers.values() ?? [])];
  const held = workers.flatMap(({ name, assignments, reserved }) =>
    assignments.size + reserved.size === 0
      ? []
      : [
          `${name} has ${assignments.size} assignments and ${reserved.size} reserved slots (${[...reserved].map(short)})`,
        ],
  );
  const connected = workers.filter(({ connection }) => connection !== null).length;
  const missing = connected < hosts.length ? [`${connected} of ${hosts.length} workers are connected`] : [];
  return [...held, ...missing];
}

function checkEnd(scene: Scene, callers: Callers, hosts: readonly Host[]): void {
  const { world, store, server } = scene;
  const problems = [
    ...unended(callers, store, server()),
    ...dirt(hosts, server()),
    ...executedAlthoughCancelled(scene, callers),
    ...gapsInLogs(scene),
    ...labelsThatDiffer(store, hosts),
  ];
  for (const problem of problems) world.broken(`at the end: ${problem}`);
}

function executedAlthoughCancelled({ journal }: Scene, { orders }: Callers): string[] {
  const executed = new Set([...journal.all.values()].map(({ runId }) => runId));
  return orders
    .filter(({ runId, cancelledPending }) => cancelledPending && runId !== null && executed.has(runId))
    .map(({ runId }) => `run ${short(runId ?? '')} was cancelled while it was pending, and executed`);
}

/** Lines are numbered without gaps, and are those of their own assignment. */
function gapsInLogs({ store }: Scene): string[] {
  return [...store.runs.values()].flatMap((row) => {
    const assignmentId = row.assignment_id ?? '';
    const lines = [...(store.logs.get(assignmentId) ?? [])];
    const foreign = lines.some(([, { text }]) => !text.startsWith(assignmentId));
    if (foreign) return [`${short(assignmentId)} has log lines of another`];
    const last = Math.max(0, ...lines.map(([number]) => number));
    const isWhole = last === lines.length;
    return isWhole ? [] : [`${short(assignmentId)} has ${lines.length} log lines, the last is number ${last}`];
  });
}

function labelsThatDiffer(store: SimStore, hosts: readonly Host[]): string[] {
  return hosts.flatMap(({ incarnations }) =>
    incarnations.flatMap(({ worker }) => {
      const row = store.workers.get(worker.id);
      const stored = Object.fromEntries(JSON.parse(row?.labels ?? '[]') as [string, unknown][]);
      const isSame = sortedJson(stored) === sortedJson(worker.labels());
      return isSame
        ? []
        : [`${worker.name} believes in ${sortedJson(worker.labels())}, stored is ${sortedJson(stored)}`];
    }),
  );
}

function sortedJson(labels: object): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}
