/** The engine as the store has it. */
import type { Sql } from 'postgres';
import type { Limits, Times } from '../domain/limits.ts';
import { type Engine, engineOf } from '../engine/engine.ts';
import { beginRestoration } from '../engine/restore.ts';
import { createState } from '../engine/state.ts';
import type { Clock } from '../lib/clock.ts';
import { eachLiveRun, readResultsInUse, readRowsBesideRuns } from '../store/recovery.ts';

interface RecoverOptions {
  readonly limits: Limits;
  readonly times: Times;
  readonly clock: Clock;
}

/** Restores while it reads: no more rows are in memory than have just come. */
export async function recoverEngine(sql: Sql, { limits, times, clock }: RecoverOptions): Promise<Engine> {
  const state = createState(limits, times, clock.nowMs());
  const restoration = beginRestoration(state, await readRowsBesideRuns(sql));
  const nowMs = clock.nowMs();
  let someAreCompared = false;
  await eachLiveRun(sql, (row) => {
    if (row.content_hash !== null) someAreCompared = true;
    restoration.addRun(row, nowMs);
  });
  restoration.finish(someAreCompared ? await readResultsInUse(sql) : [], clock.nowMs());
  return engineOf(state);
}
