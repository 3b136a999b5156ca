/** The engine as the store has it. */
import type { Sql } from 'postgres';
import type { Limits, Times } from '../domain/limits.ts';
import { type Engine, engineOf } from '../engine/engine.ts';
import { beginRestoration } from '../engine/restore.ts';
import { createState } from '../engine/state.ts';
import type { Clock } from '../lib/clock.ts';
import { readLiveRunPages, readRowsBesideRuns } from '../store/recovery.ts';

interface RecoverOptions {
  readonly limits: Limits;
  readonly times: Times;
  readonly clock: Clock;
}

/** Restores while it reads: the next page is on its way while the engine takes the last one. */
export async function recoverEngine(sql: Sql, { limits, times, clock }: RecoverOptions): Promise<Engine> {
  const state = createState(limits, times, clock.nowMs());
  const restoration = beginRestoration(state, await readRowsBesideRuns(sql));
  for await (const rows of readLiveRunPages(sql)) restoration.addRuns(rows, clock.nowMs());
  restoration.finish(clock.nowMs());
  return engineOf(state);
}
