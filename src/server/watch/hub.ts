/** All watches of a plane: who watches what, what there is to tell them, and the end of all of them. */
import { type Refusal, refuse } from '../../domain/refusal.ts';
import type { Command } from '../../engine/commands.ts';
import type { Outcome } from '../../engine/engine.ts';
import type { EngineState } from '../../engine/state.ts';
import type { Log } from '../../lib/log.ts';
import { RefusedError } from '../errors.ts';
import { type RunPicture, runPictures, type WorkerPicture, workerPictures } from './pictures.ts';
import { createTopics } from './topics.ts';

/** One watch of a caller; it holds nothing any more once it is closed. */
interface Watch {
  run(runId: string, sink: (picture: RunPicture) => void): void;
  workers(namespace: string, sink: (picture: WorkerPicture) => void): void;
  /** Lines of this run were stored; the name is the step's. */
  lines(runId: string, sink: (stepName: string) => void): void;
  close(): void;
}

export interface WatchHub {
  /**
   * `onEnd` is called at most once: with a refusal when the plane ends the watch, with null when the caller has gone.
   * Throws a RefusedError when there are too many, and when the plane stops.
   */
  open(signal: AbortSignal, onEnd: (why: Refusal | null) => void): Watch;
  /** To be called when a command was applied; what it returns, when its changes are committed. null: nobody watches. */
  observe(state: EngineState, command: Command, outcome: Outcome<unknown>): (() => void) | null;
  logged(runId: string, stepName: string): void;
  /** Ends every watch; new ones are welcome. */
  endAll(why: Refusal): void;
  /** Ends every watch, for good. */
  stop(): void;
  readonly count: number;
  /** What is watched at all: for checks that nothing is left behind. */
  readonly isIdle: boolean;
}

const STOPPING = 'the server is stopping: watch again';

export function createWatchHub(watchesMax: number, log: Log): WatchHub {
  const runs = createTopics<RunPicture>();
  const workers = createTopics<WorkerPicture>();
  const lines = createTopics<string>();
  const ends = new Set<(why: Refusal | null) => void>();
  let stopped = false;

  function open(signal: AbortSignal, onEnd: (why: Refusal | null) => void): Watch {
    if (stopped) throw new RefusedError(refuse('STANDING_DOWN', STOPPING));
    if (ends.size >= watchesMax) throw new RefusedError(tooMany(watchesMax));
    const leaves: (() => void)[] = [];
    const close = () => {
      ends.delete(end);
      signal.removeEventListener('abort', leave);
      for (const each of leaves.splice(0)) each();
    };
    const end = (why: Refusal | null) => {
      close();
      onEnd(why);
    };
    const leave = () => end(null);
    ends.add(end);
    signal.addEventListener('abort', leave);
    if (signal.aborted) leave();
    // A watch that has ended must not come to hold something again.
    const add = (subscribe: () => () => void) => {
      if (ends.has(end)) leaves.push(subscribe());
    };
    return {
      run: (runId, sink) => add(() => runs.add(runId, sink)),
      workers: (namespace, sink) => add(() => workers.add(namespace, sink)),
      lines: (runId, sink) => add(() => lines.add(runId, sink)),
      close,
    };
  }

  function endAll(why: Refusal): void {
    for (const end of [...ends]) end(why);
  }

  function picturesOf(state: EngineState, command: Command, outcome: Outcome<unknown>): (() => void)[] {
    const shown: (() => void)[] = [];
    if (!runs.isEmpty) {
      for (const [runId, picture] of runPictures(state, command, outcome, runs.has))
        shown.push(() => runs.publish(runId, picture));
    }
    if (!workers.isEmpty) {
      for (const [namespace, picture] of workerPictures(state, outcome, workers.has))
        shown.push(() => workers.publish(namespace, picture));
    }
    return shown;
  }

  return {
    open,
    endAll,
    observe(state, command, outcome) {
      if (runs.isEmpty && workers.isEmpty) return null;
      try {
        const shown = picturesOf(state, command, outcome);
        if (shown.length === 0) return null;
        return () => {
          for (const show of shown) show();
        };
      } catch (error) {
        // Decisions go on. Who watches has missed one, and must not be left to believe that nothing happened.
        log.error({ err: error, command: command.kind }, 'a change could not be shown');
        endAll(refuse('INTERNAL', 'a change could not be shown; the log of the server says why'));
        return null;
      }
    },
    logged: lines.publish,
    stop() {
      stopped = true;
      endAll(refuse('STANDING_DOWN', STOPPING));
    },
    get count() {
      return ends.size;
    },
    get isIdle() {
      return ends.size === 0 && runs.isEmpty && workers.isEmpty && lines.isEmpty;
    },
  };
}

function tooMany(watchesMax: number): Refusal {
  const message = `${watchesMax} watches are open already, which is the most this server carries`;
  return refuse('TOO_MANY_WATCHES', message, { limit: String(watchesMax) });
}
