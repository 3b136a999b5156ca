/** One run, watched: the state, then each change, until its end. */
import { runEnded } from '../../domain/run.ts';
import type { RunView } from '../../engine/views.ts';
import { accepted } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { createInbox } from './inbox.ts';
import { mergeRun } from './merge.ts';
import type { RunPicture } from './pictures.ts';
import { createProgressPace } from './progress.ts';

export interface WatchedRun {
  readonly plane: Plane;
  readonly runId: string;
  /** The run as it is stored, with its payloads and every attempt; rejects when there is none. */
  readonly read: () => Promise<RunView>;
  readonly signal: AbortSignal;
}

/** Complete runs, and SKIPPED before one that does not follow the one before. Ends after the run's end, or by `signal`. */
export async function* watchRun(options: WatchedRun): AsyncGenerator<RunView | 'SKIPPED', void, undefined> {
  const { plane, runId, read, signal } = options;
  const inbox = createInbox<RunPicture>(plane.limits.watchEventsMax);
  const pace = createProgressPace(plane.clock, plane.times.watchProgressIntervalMs, inbox.put);
  const watch = plane.watches.open(signal, (why) => {
    pace.close();
    inbox.end(why);
  });
  watch.run(runId, pace.put);

  /**
   * The watch is open, so whatever is decided from now on comes in; what was decided before is stored once the engine
   * has answered. What came in meanwhile is newer than what was read, or is left out by its revision.
   */
  async function newest(): Promise<RunView> {
    for (;;) {
      inbox.clear();
      accepted(await plane.submit({ kind: 'read_progress', runId }));
      let run = await read();
      let taken = inbox.poll();
      for (; taken !== null && taken !== 'SKIPPED' && taken !== 'OVER'; taken = inbox.poll()) {
        run = mergeRun(run, taken.item) ?? run;
      }
      if (taken !== 'SKIPPED') return whole(run);
    }
  }

  /** At the end as it is stored: with the output of the run, which no picture has. */
  async function whole(run: RunView): Promise<RunView> {
    if (!runEnded(run.state)) return run;
    const stored = await read();
    return stored.revision >= run.revision ? stored : run;
  }

  try {
    let run = await newest();
    yield run;
    while (!runEnded(run.state)) {
      const taken = await inbox.next();
      if (taken === 'OVER') return;
      if (taken === 'SKIPPED') {
        yield 'SKIPPED';
        run = await newest();
        yield run;
        continue;
      }
      const next = mergeRun(run, taken.item);
      if (next === null) continue;
      run = await whole(next);
      yield run;
    }
  } finally {
    pace.close();
    watch.close();
  }
}
