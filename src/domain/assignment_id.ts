/**
 * Assignment ids carry the first half of their run's id. A late fact names nothing but its assignment: with that half
 * the run is found by its primary key, and no index on assignments has to be kept up to date by every run.
 */

// Run ids are UUIDs of version 7: time and a counter in the first half, chance in the second.
const RUN_ID = /^([0-9a-f]{8}-[0-9a-f]{4}-)7([0-9a-f]{3})-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** Version 8: made to a plan of one's own. */
const ASSIGNMENT_ID = /^([0-9a-f]{8}-[0-9a-f]{4}-)8([0-9a-f]{3})-[0-9a-f]{4}-[0-9a-f]{12}$/;
const RANDOM_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}(-[0-9a-f]{4}-[0-9a-f]{12})$/;

/** The first half of `runId` and the second of `randomId`, which keeps its 62 random bits; ids of another make stay as they are. */
export function assignmentIdFor(runId: string, randomId: string): string {
  const [, time, counter] = RUN_ID.exec(runId) ?? [];
  const [, chance] = RANDOM_ID.exec(randomId) ?? [];
  return time === undefined || chance === undefined ? randomId : `${time}8${counter}${chance}`;
}

export interface RunIdRange {
  /** The lowest and the highest id that the run of the assignment may have. */
  readonly from: string;
  readonly to: string;
}

/** null: the id does not say. */
export function runIdsOf(assignmentId: string): RunIdRange | null {
  const [, time, counter] = ASSIGNMENT_ID.exec(assignmentId) ?? [];
  if (time === undefined) return null;
  const half = `${time}7${counter}`;
  return { from: `${half}-0000-000000000000`, to: `${half}-ffff-ffffffffffff` };
}
