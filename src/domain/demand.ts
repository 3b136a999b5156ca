/** What a waiting step asks of a worker. Steps that ask for the same wait in one queue. */
import type { DeviceDemand } from './devices.ts';
import type { DesiredLabel } from './labels.ts';
import type { Pin } from './sticky.ts';
import type { TagSet } from './tags.ts';
import { compareText } from './text.ts';

export interface Demand {
  readonly namespace: string;
  readonly action: string;
  readonly runsOn: TagSet;
  /** The step's own and the run's; all required ones must hold. */
  readonly desired: readonly DesiredLabel[];
  /** null: a slot is enough. */
  readonly device: DeviceDemand | null;
  /** null: the run is not pinned, or not sticky. */
  readonly pin: Pin | null;
}

/** Equal for two demands exactly when every worker answers them alike: the order of the labels plays no part. */
export function demandKey(demand: Demand): string {
  const { pin, device } = demand;
  if (demand.desired.length === 0 && demand.runsOn.length === 0 && pin === null && device === null)
    return `${demand.namespace}\n${demand.action}`;
  const desired = demand.desired
    .map((label) =>
      JSON.stringify([label.key, label.comparator, label.value, label.values, label.required, label.weight]),
    )
    .sort(compareText);
  return JSON.stringify([
    demand.namespace,
    demand.action,
    demand.runsOn,
    desired,
    pin && [pin.workerId, pin.hard],
    device,
  ]);
}
