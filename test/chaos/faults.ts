/** What is done to them, by families that go on side by side: a seed says what, to whom, when and for how long. */
import { setMaxListeners } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import type { Chance } from '../simulation/chance.ts';
import type { StreamProxy } from '../support/stream_proxy.ts';
import type { Database } from './database.ts';
import type { Servers } from './servers.ts';
import type { Subject } from './subject.ts';
import type { ChaosWorker } from './workers.ts';

export interface Victims {
  readonly servers: Servers;
  readonly workers: readonly ChaosWorker[];
  readonly database: Database;
  /** Of the submitting clients. */
  readonly clientProxies: readonly StreamProxy[];
}

export interface FaultsOptions {
  readonly forMs: number;
  readonly chance: Chance;
  /** Told of each as it begins. */
  readonly note: (fault: string, whom: string) => void;
  /** Ends them all at once. */
  readonly signal: AbortSignal;
}

/** Resolves when what was done is undone: a few seconds at most after the faults' time is over. */
type Fault = () => Promise<void>;
/** How many of them are in the deck. */
type Deck = readonly (readonly [times: number, fault: Fault])[];

/** Mean time from the end of one to the next, milliseconds. */
const SERVERS_MS = 4_000;
const DATABASE_MS = 9_000;
const WORKERS_MS = 3_000;
const NETWORK_MS = 1_500;
/** In a short round each family still has its turn this often. */
const TURNS_MIN = 4;
const STOP_MS_MAX = 12_000;
/** Only as long as this can a worker be away beyond silence and grace, and come back before the end. */
const LONG_FROM_MS = 90_000;
/** Silence and grace are 45 s together. */
const LONG_PAUSE_MS = 50_000;

/** Resolves when the time is over and everything is up and awake again. Connections that were lost without a word stay so. */
export async function injectFaults(victims: Victims, { forMs, chance, note, signal }: FaultsOptions): Promise<void> {
  // Not AbortSignal.timeout: one that only AbortSignal.any refers to may be collected before its time.
  const end = new AbortController();
  const over = end.signal;
  setMaxListeners(0, over);
  const timer = setTimeout(() => end.abort(), forMs);
  signal.addEventListener('abort', () => end.abort(), { once: true });
  const scene: Scene = {
    ...victims,
    note,
    over,
    pause: (ms) => wait(ms, undefined, { signal: over }).catch(() => {}),
  };
  const families = [
    [SERVERS_MS, onServers(scene, chance.fork())],
    [DATABASE_MS, onDatabase(scene, chance.fork())],
    [WORKERS_MS, onWorkers(scene, chance.fork())],
    [WORKERS_MS, onWorkers(scene, chance.fork())],
    [NETWORK_MS, onNetwork(scene, chance.fork())],
    [NETWORK_MS, onNetwork(scene, chance.fork())],
  ] as const;
  const long = forMs < LONG_FROM_MS ? [] : [sleepLong(scene, chance.fork())];
  const loops = families.map(([meanMs, deck]) =>
    inTurn(scene, chance.fork(), Math.min(meanMs, forMs / TURNS_MIN), deck),
  );
  await Promise.all([...long, ...loops]);
  clearTimeout(timer);
}

interface Scene extends Victims {
  readonly note: FaultsOptions['note'];
  readonly over: AbortSignal;
  pause(ms: number): Promise<void>;
}

/** Deals the deck, shuffles it, and deals it again. */
async function inTurn(scene: Scene, chance: Chance, meanMs: number, deck: Deck): Promise<void> {
  const cards = deck.flatMap(([times, fault]) => Array.from({ length: times }, () => fault));
  for (;;) {
    for (const fault of shuffled(cards, chance)) {
      await scene.pause(chance.between(0.3, 1.7) * meanMs);
      if (scene.over.aborted) return;
      await fault();
    }
  }
}

function shuffled<T>(items: readonly T[], chance: Chance): T[] {
  const keyed = items.map((item) => [chance.fraction(), item] as const);
  return keyed.sort(([a], [b]) => a - b).map(([, item]) => item);
}

/** One that nobody else is at, kept for ourselves while `act` lasts. */
async function withSubject(subjects: readonly Subject[], chance: Chance, act: (subject: Subject) => Promise<void>) {
  const free = subjects.filter(({ busy }) => !busy);
  if (free.length === 0) return;
  const subject = chance.pick(free);
  subject.busy = true;
  await act(subject);
  // Killed by us, or by itself with nobody to start it again while it was ours.
  if (subject.pid === null) subject.start();
  subject.busy = false;
}

function killFor(scene: Scene, fault: string, ms: number): (subject: Subject) => Promise<void> {
  return async (subject) => {
    scene.note(fault, subject.name);
    await subject.kill();
    await scene.pause(ms);
  };
}

function stopFor(scene: Scene, fault: string, ms: number): (subject: Subject) => Promise<void> {
  return async (subject) => {
    scene.note(fault, subject.name);
    await subject.stop(STOP_MS_MAX);
    await scene.pause(ms);
  };
}

function pauseFor(scene: Scene, fault: string, ms: number): (subject: Subject) => Promise<void> {
  return async (subject) => {
    scene.note(fault, subject.name);
    subject.pause();
    await scene.pause(ms);
    subject.wake();
  };
}

function onServers(scene: Scene, chance: Chance): Deck {
  const { servers } = scene;
  const all = servers.subjects;
  const deciding = () => all.filter((subject) => subject === servers.ready());
  const standing = () => all.filter((subject) => subject !== servers.ready());
  const downMs = () => chance.between(0, 3_000);
  return [
    [3, () => withSubject(deciding(), chance, killFor(scene, 'server killed', downMs()))],
    [1, () => withSubject(standing(), chance, killFor(scene, 'standby killed', downMs()))],
    // Up to a lease it keeps its right; beyond that a standby takes over.
    [1, () => withSubject(deciding(), chance, pauseFor(scene, 'server stopped', chance.between(300, 3_000)))],
    [2, () => withSubject(deciding(), chance, pauseFor(scene, 'server stopped', chance.between(6_000, 14_000)))],
    [1, () => withSubject(standing(), chance, pauseFor(scene, 'standby stopped', chance.between(300, 8_000)))],
    [1, () => withSubject(deciding(), chance, stopFor(scene, 'server restarted', downMs()))],
  ];
}

function onDatabase({ database, note, pause }: Scene, chance: Chance): Deck {
  return [
    [
      2,
      async () => {
        note('PostgreSQL killed', 'postmaster');
        await database.kill();
        await pause(chance.between(0, 2_000));
        await database.start();
      },
    ],
    [
      2,
      async () => {
        // While it is coming back there may be nobody to ask; then there is nothing to kill either.
        const killed = await database.killBackend((pids) => chance.pick(pids)).catch(() => false);
        if (killed) note('PostgreSQL process killed', 'a backend');
      },
    ],
    [
      2,
      async () => {
        note('PostgreSQL stopped', 'all of it');
        await database.pause();
        await pause(chance.between(300, 6_000));
        await database.wake();
      },
    ],
  ];
}

function onWorkers(scene: Scene, chance: Chance): Deck {
  const all = scene.workers.map(({ subject }) => subject);
  return [
    [4, () => withSubject(all, chance, killFor(scene, 'worker killed', chance.between(0, 2_000)))],
    [3, () => withSubject(all, chance, pauseFor(scene, 'worker stopped', chance.between(300, 6_000)))],
    // Beyond the limit of silence.
    [1, () => withSubject(all, chance, pauseFor(scene, 'worker stopped', chance.between(16_000, 22_000)))],
    [1, () => withSubject(all, chance, stopFor(scene, 'worker restarted', chance.between(0, 1_000)))],
  ];
}

/** One that is replaced meanwhile, and comes back with results that nobody wants any more. */
async function sleepLong(scene: Scene, chance: Chance): Promise<void> {
  await scene.pause(chance.between(1_000, 15_000));
  const all = scene.workers.map(({ subject }) => subject);
  await withSubject(all, chance, pauseFor(scene, 'worker stopped until replaced', LONG_PAUSE_MS));
}

function onNetwork(scene: Scene, chance: Chance): Deck {
  const { workers, clientProxies, note } = scene;
  const ofWorkers = workers.map(({ proxy }) => proxy);
  const all = [...ofWorkers, ...clientProxies];
  const nameOf = (proxy: StreamProxy) =>
    workers.find((worker) => worker.proxy === proxy)?.subject.name ?? `client-${clientProxies.indexOf(proxy) + 1}`;
  const one = (fault: string, act: (proxy: StreamProxy) => void) => async () => {
    const proxy = chance.pick(all);
    note(fault, nameOf(proxy));
    act(proxy);
  };
  return [
    [4, one('connection cut', (proxy) => proxy.cut())],
    [3, one('connection black-holed', (proxy) => proxy.blackHole())],
    [
      3,
      async () => {
        const proxy = chance.pick(all);
        note('connection delayed', nameOf(proxy));
        proxy.delay(chance.between(20, 1_500));
        await scene.pause(chance.between(500, 5_000));
        proxy.delay(0);
      },
    ],
    [
      1,
      async () => {
        note('all connections cut', 'everybody');
        for (const proxy of all) proxy.cut();
      },
    ],
  ];
}
