import { type Refusal, refuse } from '../domain/refusal.ts';
import type { Command, CommandKind, CommandOf, ResultOf } from '../engine/commands.ts';
import type { Effect } from '../engine/effects.ts';
import type { Engine, Outcome } from '../engine/engine.ts';
import type { Change } from '../engine/turn.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { IdSource } from '../lib/random.ts';
import type { Entry } from '../store/batch.ts';
import { type Commit, createJournal, type Journal } from '../store/journal.ts';
import type { Meters } from './meters.ts';
import { beforeCommand, countDecision } from './metrics_decisions.ts';
import { PAUSE_MS_MAX, watchPauses } from './pauses.ts';
import type { WatchHub } from './watch/hub.ts';

/** Facts of workers: when nothing follows from one, only its acknowledgement waits for the commit. */
const NOBODY_WAITS: ReadonlySet<CommandKind> = new Set([
  'accept_step',
  'return_step',
  'progress_step',
  'log_step',
  'succeed_step',
  'fail_step',
  'confirm_cancel',
  'handed_over',
  'heartbeat',
  'set_back_pressure',
  'tick',
]);

/** Of these nobody hears an answer: when nothing follows from one, it need not wait for the store. */
const NOBODY_HEARS: ReadonlySet<CommandKind> = new Set([
  'heartbeat',
  'handed_over',
  'set_back_pressure',
  'withdraw_unsent',
  'postpone_deadlines',
  'tick',
]);

export interface Decider {
  /** Applies now; `then` is called with the answer once everything it rests on is committed. */
  decide<K extends CommandKind>(command: CommandOf<K>, then: (result: ResultOf<K> | Refusal) => void): void;
  readonly engine: Engine;
  readonly journal: Journal;
  stop(): void;
}

export interface DeciderOptions {
  /** As it was recovered. */
  readonly engine: Engine;
  readonly commit: Commit;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly log: Log;
  readonly meters: Meters;
  readonly watches: Pick<WatchHub, 'observe'>;
  readonly oneCommandPerBatch: boolean;
  /** Called with what is in the store now, before anything that rests on it leaves. */
  readonly onStored: (changes: readonly Change[]) => void;
  /** As the journal takes it. */
  readonly leaseMs?: number;
  readonly onEffect: (effect: Effect) => void;
  readonly onFatal: (error: unknown) => void;
}

export function createDecider(options: DeciderOptions): Decider {
  const { engine, clock, ids, log } = options;
  const journal = createJournal({
    commit: options.commit,
    clock,
    fraction: ids.fraction,
    log,
    onFatal: options.onFatal,
    oneCommandPerBatch: options.oneCommandPerBatch,
    ...(options.leaseMs === undefined ? {} : { leaseMs: options.leaseMs }),
  });
  const pauses = watchPauses(clock, (pauseMs) => postpone('the loop was away', pauseMs));
  let timer: Timer | null = null;
  let timerMs = Number.POSITIVE_INFINITY;
  let stopped = false;
  let confirming = false;

  function decide<K extends CommandKind>(command: CommandOf<K>, then: (result: ResultOf<K> | Refusal) => void): void {
    const before = beforeCommand(engine.state);
    const outcome = apply(command);
    if (outcome === null) {
      then(abandoned('CULPRIT'));
      return;
    }
    const { result, changes, effects } = outcome;
    const count = countDecision(engine.state, before, command as Command, outcome, options.meters);
    const show = options.watches.observe(engine.state, command as Command, outcome);
    const entry: Entry = {
      command: command.kind,
      release() {
        options.onStored(changes);
        try {
          then(result);
        } finally {
          for (const effect of effects) options.onEffect(effect);
          show?.();
          count();
        }
      },
      abandon: (why) => then(abandoned(why)),
    };
    if (changes.length === 0 && effects.length === 0 && NOBODY_HEARS.has(command.kind)) entry.release();
    else journal.add(changes, entry, effects.length > 0 || !NOBODY_WAITS.has(command.kind));
    armTimer();
  }

  /** null: it failed half-way. What memory holds now cannot be trusted, and the rows can. */
  function apply<K extends CommandKind>(command: CommandOf<K>): Outcome<ResultOf<K>> | null {
    try {
      return engine.apply<K>(command, clock.nowMs(), ids);
    } catch (error) {
      log.error({ err: error, command: command.kind }, 'a command failed half-way');
      options.onFatal(error);
      return null;
    }
  }

  function armTimer(): void {
    const dueMs = engine.nextDueMs();
    if (dueMs === null || dueMs >= timerMs || stopped || confirming) return;
    timer?.clear();
    timerMs = dueMs;
    timer = clock.after(Math.max(0, dueMs - clock.nowMs()), tick);
  }

  function tick(): void {
    // However it comes here, a timer that is still set must not fire beside the next one.
    timer?.clear();
    timerMs = Number.POSITIVE_INFINITY;
    confirming = true;
    // While the store is away no timer has effect: nothing it decides could be made true.
    journal.confirm(() => {
      confirming = false;
      pauses.look();
      const lateMs = clock.nowMs() - (engine.nextDueMs() ?? clock.nowMs());
      if (lateMs > PAUSE_MS_MAX) postpone('the store was away', lateMs);
      decide<'tick'>({ kind: 'tick' }, () => {});
    });
  }

  function postpone(why: string, forMs: number): void {
    log.warn({ why, forMs: Math.round(forMs) }, 'deadlines are postponed');
    decide<'postpone_deadlines'>({ kind: 'postpone_deadlines' }, () => {});
  }

  armTimer();

  return {
    decide,
    engine,
    journal,
    stop() {
      stopped = true;
      timer?.clear();
      pauses.stop();
      journal.stop();
    },
  };
}

function abandoned(why: 'CULPRIT' | 'STANDING_DOWN'): Refusal {
  if (why === 'CULPRIT')
    return refuse('INTERNAL', 'this request could not be stored, whatever was tried; the log of the server says why');
  return refuse(
    'STANDING_DOWN',
    'the server stands down; whether this was done is not known: send it again with the same request_id',
  );
}
