/**
 * A fact that is refused as stale may be the very one that ended its assignment, sent again after the engine has
 * forgotten it: then it is acknowledged. The store knows for as long as it keeps the run.
 */
import { type Refusal, refuse } from '../../domain/refusal.ts';
import type { CommandKind } from '../../engine/commands.ts';
import type { Plane } from '../plane.ts';

/** Of one stream, at a time. Who has more is sending what it made up. */
const LOOKUPS_MAX = 100;
const RETRY_MS = 1_000;

/** What a command states about the end of an assignment, as `findEnding` calls it. */
const FACTS: Partial<Record<CommandKind, string>> = {
  return_step: 'returned',
  succeed_step: 'succeeded',
  fail_step: 'failed',
  confirm_cancel: 'cancelled',
  report_input_invalid: 'input_invalid',
};

interface LateFact {
  readonly kind: CommandKind;
  readonly assignmentId: string;
}

/** `then` gets null when the worker said so before, and else the refusal that stands. */
export type ConfirmLate = (fact: LateFact, refusal: Refusal, then: (refusal: Refusal | null) => void) => void;

export function createConfirmLate(plane: Plane, workerId: () => string): ConfirmLate {
  let lookups = 0;
  return ({ kind, assignmentId }, refusal, then) => {
    const fact = FACTS[kind];
    if (refusal.refused !== 'STALE_ASSIGNMENT' || fact === undefined) {
      then(refusal);
      return;
    }
    if (lookups >= LOOKUPS_MAX) {
      const message = `more than ${LOOKUPS_MAX} late facts at once: send the same again after ${RETRY_MS} ms`;
      then({ ...refuse('RATE_LIMITED', message), retryAfterMs: RETRY_MS });
      return;
    }
    lookups += 1;
    plane
      .findEnding(assignmentId)
      .then(
        (ending) => (ending?.fact === fact && ending.workerId === workerId() ? null : refusal),
        // The plane stops, and with it the stream: what is not answered comes again.
        () => undefined,
      )
      .then((answer) => {
        lookups -= 1;
        if (answer !== undefined) then(answer);
      })
      .catch((error: unknown) => plane.log.error({ err: error }, 'a late fact could not be answered'));
  };
}
