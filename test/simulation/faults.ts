/** What goes wrong, when, and how badly: drawn from the seed, counted by kind. */
import type { Callers } from './callers.ts';
import type { Chance } from './chance.ts';
import type { Host, Incarnation } from './fleet.ts';
import { short } from './ids.ts';
import type { Connection, Network } from './network.ts';
import type { SimServer } from './server.ts';
import type { SimStore } from './store.ts';
import type { World } from './world.ts';

export interface FaultTargets {
  readonly world: World;
  readonly chance: Chance;
  readonly network: Network;
  readonly store: SimStore;
  readonly server: SimServer;
  readonly hosts: readonly Host[];
  readonly callers: Callers;
  readonly isCalm: () => boolean;
}

type Fault = (targets: FaultTargets) => void;

const onConnection = (act: (connection: Connection, targets: FaultTargets) => void): Fault => {
  return (targets) => {
    const open = targets.network.connections();
    if (open.length > 0) act(targets.chance.pick(open), targets);
  };
};

const onProcess = (act: (incarnation: Incarnation, targets: FaultTargets, host: Host) => void): Fault => {
  return (targets) => {
    const host = targets.chance.pick(targets.hosts);
    const [incarnation] = host.incarnations;
    if (incarnation !== undefined) act(incarnation, targets, host);
  };
};

const DIRECTIONS = ['up', 'down', 'both', 'both'] as const;

/** By name, with how often each is drawn. */
const FAULTS: Readonly<Record<string, readonly [number, Fault]>> = {
  'connection cut': [
    10,
    onConnection((connection, { world }) => {
      world.note('network', `cuts ${connection.worker.name}/${connection.number}`);
      connection.cut();
    }),
  ],
  'connection half-open': [
    6,
    onConnection((connection, { world, chance }) => {
      const direction = chance.pick(DIRECTIONS);
      world.note('network', `swallows ${connection.worker.name}/${connection.number}, ${direction}`);
      connection.halfOpen(direction);
    }),
  ],
  'connection held': [
    6,
    onConnection((connection, { world, chance }) => {
      const forMs = chance.between(50, 12_000);
      world.note('network', `holds ${connection.worker.name}/${connection.number} for ${Math.round(forMs)} ms`);
      connection.hold(chance.pick(DIRECTIONS), forMs);
    }),
  ],
  'slow reader': [
    3,
    onConnection((connection, { world, chance }) => {
      world.note('network', `${connection.worker.name}/${connection.number} reads slowly`);
      connection.slowReader(chance.between(100, 3_000), chance.between(1_000, 30_000));
    }),
  ],
  'worker isolated': [
    3,
    onProcess((_incarnation, { world, chance, network }, host) => {
      const forMs = chance.between(1_000, 60_000);
      for (const connection of network.connections()) {
        if (connection.worker.name.startsWith(host.spec.host)) connection.halfOpen('both');
      }
      network.isolate(host.spec.host, world.nowMs() + forMs);
      world.note('network', `isolates ${host.spec.host} for ${Math.round(forMs)} ms`);
    }),
  ],
  'worker killed': [5, onProcess(({ process }) => process.kill())],
  'worker paused': [
    6,
    onProcess(({ process }, { chance }) =>
      process.pause(chance.happens(0.6) ? chance.between(10, 5_000) : chance.between(5_000, 60_000)),
    ),
  ],
  'worker stopped': [3, onProcess((incarnation, { chance }) => incarnation.stop(chance.between(0, 10_000)))],
  'worker superseded': [2, onProcess((_incarnation, _targets, host) => host.start())],
  'server killed': [
    5,
    ({ world, chance, server }) => {
      if (!server.isUp) return;
      server.kill();
      const downMs = chance.happens(0.7) ? chance.between(50, 3_000) : chance.between(3_000, 70_000);
      world.after(downMs, () => {
        if (!server.isUp) server.start();
      });
    },
  ],
  'server paused': [2, ({ chance, server }) => server.process?.pause(chance.between(10, 4_000))],
  'server hangs, another takes over': [2, ({ chance, server }) => server.takeOver(chance.between(500, 30_000))],
  'store away': [
    3,
    ({ chance, store }) => store.goAway(chance.pick(['HANGING', 'REFUSING']), chance.between(20, 15_000)),
  ],
  'commit without an answer': [6, ({ chance, store }) => store.spoilCommits(chance.whole(1, 3))],
  'labels changed': [
    8,
    onProcess(({ process, worker }, { chance }) => {
      const zone = chance.pick(['a', 'b', null]);
      const memory = chance.pick([64, 128, 256, 512, 1_024]);
      process.enter(() => void worker.upsertLabels({ zone, memory }).catch(() => {}));
    }),
  ],
  'slots changed': [4, onProcess((incarnation, { chance }) => incarnation.setSlots(chance.whole(0, 4)))],
  'worker drained': [
    2,
    ({ world, chance, store, server }) => {
      const rows = [...store.workers.values()];
      if (rows.length === 0) return;
      const { worker_id: workerId, name } = chance.pick(rows);
      world.note('caller', `drains ${name}`);
      server.call({ kind: 'drain_worker', namespace: 'default', workerId, reason: 'maintenance' }, () => {});
      world.after(chance.between(100, 20_000), () => {
        server.call({ kind: 'resume_worker', namespace: 'default', workerId }, () => {});
      });
    },
  ],
  'worker deleted': [
    1,
    ({ world, chance, store, server }) => {
      const rows = [...store.workers.values()];
      if (rows.length === 0) return;
      const { worker_id: workerId, name } = chance.pick(rows);
      world.note('caller', `deletes ${name} (${short(workerId)})`);
      server.call({ kind: 'delete_worker', namespace: 'default', workerId, force: true }, () => {});
    },
  ],
  'run cancelled': [8, ({ callers }) => callers.cancel()],
};

const NAMES = Object.keys(FAULTS);
const WEIGHT = NAMES.reduce((total, name) => total + (FAULTS[name]?.[0] ?? 0), 0);

/** Makes something go wrong now, and says what it was. */
export function injectFault(targets: FaultTargets, injected: Map<string, number>): void {
  if (targets.isCalm()) return;
  let drawn = targets.chance.between(0, WEIGHT);
  for (const name of NAMES) {
    const [weight, inject] = FAULTS[name] as readonly [number, Fault];
    drawn -= weight;
    if (drawn >= 0) continue;
    injected.set(name, (injected.get(name) ?? 0) + 1);
    inject(targets);
    // Trouble seldom comes alone, and the second one finds what the first left half done.
    const { world, chance } = targets;
    if (chance.happens(0.4)) world.after(chance.between(0, 3_000), () => injectFault(targets, injected));
    return;
  }
}
