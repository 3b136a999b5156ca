/** One round: everything is started, put through it for a while, left alone until it has settled, and judged. */

import { setMaxListeners } from 'node:events';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { createChance } from '../simulation/chance.ts';
import { type StreamProxy, startStreamProxy } from '../support/stream_proxy.ts';
import { check, type Findings } from './check.ts';
import { type Database, openChaosDatabase } from './database.ts';
import { injectFaults } from './faults.ts';
import { readJournals } from './journals.ts';
import { createClients, type Load, type Planned, planRuns, putWorkflows, stubbornly, submitRuns } from './load.ts';
import { type Rows, readRows } from './rows.ts';
import { type Servers, startServers } from './servers.ts';
import { type ChaosWorker, startWorkers } from './workers.ts';

export interface RoundOptions {
  readonly seed: number;
  readonly forMs: number;
  readonly runs: number;
  /** Logs, journals and data go there. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly say: (what: string) => void;
}

export interface RoundReport {
  readonly faults: ReadonlyMap<string, number>;
  readonly repeats: ReadonlyMap<string, number>;
  readonly findings: Findings;
  readonly violations: readonly string[];
  readonly rows: Rows;
  readonly executions: number;
  readonly workerProcesses: number;
  /** Another server decided than before. */
  readonly takeovers: number;
  /** From the end of the faults until every run had ended. */
  readonly settledMs: number;
}

const CLIENTS = 3;
const READY_MS_MAX = 60_000;
/** Runs are submitted for this part of the time, so that the last ones meet faults as well. */
const SUBMIT_SHARE = 0.9;
/** Silence and grace are 45 s, a step that was given back waits up to 30 s, and half of it again for a slow machine. */
const SETTLE_MS_MAX = 110_000;
const STOP_MS_MAX = 25_000;
const LOOK_MS = 100;
const REPEATED = 100;

export async function round(options: RoundOptions): Promise<RoundReport> {
  const closers: (() => unknown)[] = [];
  try {
    return await play(options, closers);
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

interface Scene {
  readonly database: Database;
  readonly servers: Servers;
  readonly workers: readonly ChaosWorker[];
  readonly clientProxies: readonly StreamProxy[];
}

/** The closers are there as soon as there is something to close: a start may fail half-way. */
async function open(folder: string, closers: (() => unknown)[], crashed: (what: string) => void): Promise<Scene> {
  const database = await openChaosDatabase(folder);
  closers.push(() => database.stop());
  const servers = startServers({ databaseUrl: database.url, folder, onCrash: crashed });
  closers.push(() => Promise.all(servers.subjects.map((subject) => subject.kill())));
  closers.push(() => servers.close());
  await servers.untilReady(READY_MS_MAX);
  const port = servers.port;
  const clientProxies = await Promise.all(Array.from({ length: CLIENTS }, () => startStreamProxy({ port })));
  closers.push(() => Promise.all(clientProxies.map((proxy) => proxy.close())));
  const workers = await startWorkers({ folder, port, onCrash: crashed });
  closers.push(() => Promise.all(workers.map(({ proxy }) => proxy.close())));
  closers.push(() => Promise.all(workers.map(({ subject }) => subject.kill())));
  return { database, servers, workers, clientProxies };
}

async function play(options: RoundOptions, closers: (() => unknown)[]): Promise<RoundReport> {
  const { seed, forMs, runs, folder, signal, say } = options;
  const chance = createChance(seed);
  const violations: string[] = [];
  const faults = new Map<string, number>();
  const beganMs = performance.now();
  const tell = (what: string) => {
    const seconds = ((performance.now() - beganMs) / 1_000).toFixed(3);
    appendFileSync(join(folder, 'timeline.txt'), `${new Date().toISOString()} ${seconds} ${what}\n`);
  };
  const crashed = (what: string) => {
    tell(what);
    violations.push(what);
  };
  const note = (fault: string, whom: string) => {
    faults.set(fault, (faults.get(fault) ?? 0) + 1);
    tell(`${fault}: ${whom}`);
  };

  say('starting PostgreSQL, two servers and eight workers');
  const scene = await open(folder, closers, crashed);
  const clients = createClients(scene.clientProxies);
  closers.push(() => {
    for (const client of clients) client.close();
  });
  const [admin] = clients;
  if (admin === undefined) throw new Error('there are no clients');
  await putWorkflows(admin);
  const planned = planRuns(runs, chance.fork());

  say(`${(forMs / 1_000).toFixed(0)} s of faults while ${runs} runs are submitted`);
  const bound = new AbortController();
  setMaxListeners(0, bound.signal);
  signal.addEventListener('abort', () => bound.abort(), { once: true });
  const submitting = submitRuns(planned, { clients, overMs: forMs * SUBMIT_SHARE, signal: bound.signal });
  await injectFaults({ ...scene }, { forMs, chance: chance.fork(), note, signal });
  signal.throwIfAborted();
  tell('the faults are over');
  say('the faults are over: waiting until everything has settled');
  const settle = await settled(scene, submitting, bound, signal);
  tell('settled');
  if (settle.left > 0) violations.push(`${settle.left} runs had not ended ${SETTLE_MS_MAX / 1_000} s after the faults`);

  violations.push(...settle.load.violations, ...(await repeatSome(planned, settle.load, () => admin, chance)));
  violations.push(...(await stopAll(scene)));
  const rows = await readRows(scene.database.sql);
  const journals = await readJournals(
    scene.workers.map(({ subject, journal }) => ({ worker: subject.name, path: journal })),
  );
  const zones = new Map(scene.workers.map(({ subject, zone }) => [subject.name, zone]));
  return {
    faults,
    repeats: settle.load.repeats,
    findings: check({ planned, runIds: settle.load.runIds, rows, journals, zones }),
    violations,
    rows,
    executions: journals.entered.size,
    workerProcesses: journals.processes,
    takeovers: scene.servers.takeovers(),
    settledMs: settle.tookMs,
  };
}

interface Settled {
  readonly load: Load;
  readonly tookMs: number;
  /** Runs that had not ended. */
  readonly left: number;
}

async function settled(
  { database }: Scene,
  submitting: Promise<Load>,
  bound: AbortController,
  signal: AbortSignal,
): Promise<Settled> {
  const beganMs = performance.now();
  const tookMs = () => performance.now() - beganMs;
  const late = setTimeout(() => bound.abort(), SETTLE_MS_MAX);
  const load = await submitting;
  clearTimeout(late);
  for (;;) {
    signal.throwIfAborted();
    const [row] = await database.sql<{ left: number }[]>`SELECT count(*)::int AS left FROM runs WHERE end_time IS NULL`;
    const left = row?.left ?? 0;
    if (left === 0 || tookMs() > SETTLE_MS_MAX) return { load, tookMs: tookMs(), left };
    await wait(LOOK_MS);
  }
}

/** A request that was answered long ago is still known. */
async function repeatSome(
  planned: readonly Planned[],
  { runIds }: Load,
  admin: () => ReturnType<typeof createClients>[number],
  chance: ReturnType<typeof createChance>,
): Promise<string[]> {
  const found: string[] = [];
  for (let count = 0; count < REPEATED; count++) {
    const { request, requestId } = chance.pick(planned);
    const { run, alreadyScheduled } = await stubbornly(() => admin().scheduleRun(request), `${requestId} again`);
    const before = runIds.get(requestId);
    if (before !== undefined && (run?.runId !== before || !alreadyScheduled)) {
      found.push(`${requestId} again gave run ${run?.runId}; before it was ${before}`);
    }
  }
  return found;
}

/** Workers first: what they have left to say is to be heard. */
async function stopAll({ servers, workers }: Scene): Promise<string[]> {
  const ofWorkers = await Promise.all(workers.map(({ subject }) => stopOne(subject)));
  servers.close();
  const ofServers = await Promise.all(servers.subjects.map((subject) => stopOne(subject)));
  return [...ofWorkers, ...ofServers].flat();
}

async function stopOne(subject: ChaosWorker['subject']): Promise<string[]> {
  const how = await subject.stop(STOP_MS_MAX);
  return how === 0 ? [] : [`${subject.name} did not stop in good order: ${how}`];
}
