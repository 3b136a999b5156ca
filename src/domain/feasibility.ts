/** Who may take a step. Placement asks for the verdict, an explanation for the list of what fails: from the same clauses. */
import type { Demand } from './demand.ts';
import { type DeviceDemand, type DevicePools, type DevicesInUse, freeDevice, poolFor } from './devices.ts';
import { type DesiredLabel, type Labels, type LabelValue, labelMatches } from './labels.ts';
import type { Pin } from './sticky.ts';
import { type MatchMode, tagsAllow } from './tags.ts';

/** What the rules need to know of a worker. */
export interface WorkerFacts {
  readonly workerId: string;
  readonly name: string;
  readonly namespace: string;
  readonly tags: ReadonlySet<string>;
  readonly labels: Labels;
  readonly actions: ReadonlySet<string>;
  readonly slots: number;
  /** Assignments held, and places kept for handlers that were told to stop and have not. */
  readonly slotsUsed: number;
  /** null: none were declared. */
  readonly devices: DevicePools | null;
  readonly devicesInUse: DevicesInUse;
  readonly draining: boolean;
  /** null: ready; else why not (`DISCONNECTED`, `BACK_PRESSURE`, `ACCEPT_MISSED`). */
  readonly notReadyReason: string | null;
}

export type ClauseName =
  | 'ACTION'
  | 'RUNS_ON'
  | 'LABEL'
  | 'STICKY'
  | 'SLOT'
  | 'DEVICE'
  | 'DRAINING'
  | 'NOT_READY'
  | 'RETURNED_BEFORE';

export interface FailedClause {
  readonly clause: ClauseName;
  /** The label's key, for LABEL. */
  readonly key: string;
  readonly has: string;
  readonly needs: string;
  /** As of the check. */
  readonly busy?: boolean;
}

/** Whether what the worker is (itself, action, tags, labels, devices) fits, however busy it is. */
export function suits(worker: WorkerFacts, demand: Demand, mode: MatchMode): boolean {
  if (!worker.actions.has(demand.action) || worker.namespace !== demand.namespace) return false;
  if (!pinAllows(worker, demand.pin)) return false;
  if (!tagsAllow(demand.runsOn, worker.tags, mode)) return false;
  if (demand.device !== null && poolFor(worker.devices, demand.device) === null) return false;
  for (const desired of demand.desired) {
    if (desired.required && !labelMatches(worker.labels, desired)) return false;
  }
  return true;
}

/** A HARD pin leaves one worker; every other clause applies to that one besides. */
function pinAllows(worker: WorkerFacts, pin: Pin | null): boolean {
  return pin === null || !pin.hard || pin.workerId === worker.workerId;
}

/** Whether the device asked for is free on a worker that suits. */
export function hasDevice({ devices, slots, devicesInUse }: WorkerFacts, { device }: Demand): boolean {
  return device === null || freeDevice(devices, slots, devicesInUse, device) !== null;
}

/** Whether the worker can be given anything at all now: a free slot, a live session, not draining. */
export function isOpen(worker: WorkerFacts): boolean {
  return worker.slotsUsed < worker.slots && !worker.draining && worker.notReadyReason === null;
}

/** One condition a demand makes of any worker. Looked at often, so only what is to be shown is put into words. */
export interface Check {
  readonly clause: ClauseName;
  readonly key: string;
  readonly needs: string;
  /** It passes without anybody's doing: the worker would do, and has its hands full. */
  readonly busy?: boolean;
  fails(worker: WorkerFacts): boolean;
  has(worker: WorkerFacts): string;
}

/** Every condition of the demand, in the order in which they are shown; those of the step alone are `RETURNED_BEFORE`. */
export function checksOf(demand: Demand, mode: MatchMode): Check[] {
  const { runsOn, pin, device } = demand;
  return [
    {
      clause: 'ACTION',
      key: '',
      needs: demand.action,
      fails: (worker) => !worker.actions.has(demand.action),
      has: (worker) => listed(worker.actions),
    },
    {
      clause: 'RUNS_ON',
      key: '',
      needs: runsOn.join(', '),
      fails: (worker) => !tagsAllow(runsOn, worker.tags, mode),
      has: (worker) => listed(worker.tags),
    },
    ...demand.desired.filter(({ required }) => required).map(labelCheck),
    ...(pin?.hard ? [pinCheck(pin)] : []),
    ...(device === null ? [] : deviceChecks(device)),
    ...OPEN_CHECKS,
  ];
}

function labelCheck(desired: DesiredLabel): Check {
  return {
    clause: 'LABEL',
    key: desired.key,
    needs: needed(desired),
    fails: (worker) => !labelMatches(worker.labels, desired),
    has: (worker) => shown(worker.labels.get(desired.key)),
  };
}

/** A worker without such a pool, and one whose pool is leased out, fail the same clause for different reasons. */
function deviceChecks(device: DeviceDemand): Check[] {
  const needs =
    device.kind === 'GPU' && device.fallback ? 'a free GPU, or a CPU slot without GPUs' : `a free ${device.kind}`;
  const shown = { clause: 'DEVICE' as const, key: '', needs, has: (worker: WorkerFacts) => shownPool(worker, device) };
  const isLeased = ({ devices, slots, devicesInUse }: WorkerFacts) =>
    poolFor(devices, device) !== null && freeDevice(devices, slots, devicesInUse, device) === null;
  return [
    { ...shown, fails: ({ devices }) => poolFor(devices, device) === null },
    { ...shown, busy: true, fails: isLeased },
  ];
}

function shownPool({ devices, slots, devicesInUse }: WorkerFacts, device: DeviceDemand): string {
  const gpus = devices?.gpuIds.length ?? 0;
  switch (poolFor(devices, device)) {
    case null:
      return device.kind === 'GPU' ? 'no GPUs' : 'no CPU slots';
    case 'GPU':
      return `${devicesInUse.gpuIds.size} of ${gpus} GPUs in use`;
    case 'CPU':
      return `${devicesInUse.cpus} of ${devices?.cpuSlots ?? slots} CPU slots in use`;
  }
}

function pinCheck(pin: Pin): Check {
  return {
    clause: 'STICKY',
    key: '',
    needs: pin.workerName,
    fails: (worker) => !pinAllows(worker, pin),
    // The name of a deleted worker may have been taken by another one.
    has: ({ name }) => (name === pin.workerName ? `another worker named ${name}` : name),
  };
}

/** What `isOpen` asks, each by itself. */
const OPEN_CHECKS: readonly Check[] = [
  {
    clause: 'SLOT',
    key: '',
    needs: 'a free slot',
    fails: (worker) => worker.slotsUsed >= worker.slots,
    has: (worker) => `${worker.slotsUsed} of ${worker.slots} in use`,
  },
  {
    clause: 'DRAINING',
    key: '',
    needs: 'not draining',
    fails: (worker) => worker.draining,
    has: () => 'draining',
  },
  {
    clause: 'NOT_READY',
    key: '',
    needs: 'a live, ready session',
    fails: (worker) => worker.notReadyReason !== null,
    has: (worker) => worker.notReadyReason ?? '',
  },
];

/** The one condition that is between one step and one worker. */
const NOT_RETURNED: Check = {
  clause: 'RETURNED_BEFORE',
  key: '',
  needs: 'a change of its own, or some time',
  fails: () => true,
  has: () => 'returned or did not accept this step',
};

/** Those of `checks` that the worker fails; empty when it may take the step. */
export function failedChecks(checks: readonly Check[], worker: WorkerFacts, returnedBefore: boolean): Check[] {
  const failed = checks.filter((check) => check.fails(worker));
  if (returnedBefore) failed.push(NOT_RETURNED);
  return failed;
}

/** In words, with both values. */
export function failedClause({ clause, key, needs, has, busy }: Check, worker: WorkerFacts): FailedClause {
  return { clause, key, has: has(worker), needs, ...(busy ? { busy } : {}) };
}

/** Every clause that fails, with both values; empty when the worker may take the step. */
export function failedClauses(
  worker: WorkerFacts,
  demand: Demand,
  mode: MatchMode,
  returnedBefore: boolean,
): FailedClause[] {
  const failed = failedChecks(checksOf(demand, mode), worker, returnedBefore);
  return failed.map((check) => failedClause(check, worker));
}

function shown(value: LabelValue | undefined): string {
  if (value === undefined) return 'no such label';
  return typeof value === 'string' ? `"${value}"` : String(value);
}

/** What EXISTS needs. */
export const ANY_VALUE = 'any value';

const SYMBOLS: Record<DesiredLabel['comparator'], string> = {
  EQUAL: '=',
  NOT_EQUAL: '≠',
  GREATER_THAN: '>',
  GREATER_THAN_OR_EQUAL: '≥',
  LESS_THAN: '<',
  LESS_THAN_OR_EQUAL: '≤',
  IN: 'in',
  NOT_IN: 'not in',
  EXISTS: ANY_VALUE,
  NOT_EXISTS: 'no value',
};

export function needed(desired: DesiredLabel): string {
  const symbol = SYMBOLS[desired.comparator];
  if (desired.values.length > 0) return `${symbol} (${desired.values.map(shown).join(', ')})`;
  return desired.value === null ? symbol : `${symbol} ${shown(desired.value)}`;
}

function listed(words: ReadonlySet<string>): string {
  return words.size === 0 ? 'none' : [...words].join(', ');
}
