/** How a handler ended, and the one fact that says so. */
import { type AbortKind, InputInvalidError } from './errors.ts';
import * as facts from './facts.ts';
import { ERROR_MESSAGE_BYTES_MAX, ERROR_STACK_BYTES_MAX, type StreamLimits } from './limits.ts';
import { cutToBytes, utf8Bytes, withoutNul } from './text.ts';

// What a step_succeeded weighs besides its output.
const ENVELOPE_BYTES = 1_024;

export type Outcome =
  | { kind: 'succeeded'; outputJson: string }
  | { kind: 'failed'; error: facts.FailureReport }
  | { kind: 'inputInvalid'; stepName: string; reason: string };

/** JSON text that is passed on byte for byte; see {@link rawJson}. */
export class RawJson {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** An output that is JSON text already: it travels exactly as given (key order, spacing, numbers beyond 2^53). */
export function rawJson(text: string): RawJson {
  return new RawJson(text);
}

/** How a handler in another thread ended: it is an outcome already. */
export class GivenOutcome {
  readonly outcome: Outcome;

  constructor(outcome: Outcome) {
    this.outcome = outcome;
  }
}

export function outcomeOfOutput(output: unknown): Outcome {
  if (output instanceof GivenOutcome) return output.outcome;
  if (output instanceof RawJson) return { kind: 'succeeded', outputJson: output.text };
  try {
    // undefined, a function and a symbol have no JSON; an empty text is null.
    return { kind: 'succeeded', outputJson: JSON.stringify(output) ?? '' };
  } catch (error) {
    const message = `the output has no JSON: ${error instanceof Error ? error.message : String(error)}`;
    return { kind: 'failed', error: { reason: 'RESULT_REFUSED', type: 'TypeError', message } };
  }
}

export function outcomeOfThrown(thrown: unknown): Outcome {
  if (thrown instanceof InputInvalidError) {
    const reason = cutToBytes(withoutNul(thrown.message), ERROR_MESSAGE_BYTES_MAX);
    return { kind: 'inputInvalid', stepName: thrown.stepName, reason };
  }
  const error: facts.FailureReport = {
    reason: 'APPLICATION',
    type: 'Error',
    message: '',
  };
  try {
    describe(thrown, error);
  } catch {
    // A thrown object may defend itself with getters that throw.
    error.message = 'the handler threw something that cannot be described';
  }
  return { kind: 'failed', error };
}

function describe(thrown: unknown, error: facts.FailureReport): void {
  if (thrown instanceof Error) {
    error.type = withoutNul(thrown.name);
    error.message = cutToBytes(withoutNul(thrown.message), ERROR_MESSAGE_BYTES_MAX);
    error.stack = cutToBytes(withoutNul(thrown.stack ?? ''), ERROR_STACK_BYTES_MAX);
  } else {
    error.message = cutToBytes(withoutNul(String(thrown)), ERROR_MESSAGE_BYTES_MAX);
  }
  const retryable: unknown = (thrown as { retryable?: unknown } | null | undefined)?.retryable;
  if (typeof retryable === 'boolean') error.retryable = retryable;
}

/** The fact to state, or undefined when there is nothing to say: goodbye gives the assignment back. */
export function endFact(
  assignmentId: string,
  aborted: AbortKind | undefined,
  outcome: Outcome,
  limits: StreamLimits,
): facts.Fact | undefined {
  if (aborted === 'STOPPED' && outcome.kind !== 'succeeded') return undefined;
  if (aborted === 'EVICTED') return undefined;
  if (aborted !== undefined && aborted !== 'STOPPED') return facts.cancelled(assignmentId);
  switch (outcome.kind) {
    case 'succeeded':
      return succeededWithin(assignmentId, outcome.outputJson, limits);
    case 'failed':
      return facts.failed(assignmentId, outcome.error);
    case 'inputInvalid':
      return facts.inputInvalid(assignmentId, outcome.stepName, outcome.reason);
  }
}

function succeededWithin(assignmentId: string, outputJson: string, limits: StreamLimits): facts.Fact {
  const bytes = utf8Bytes(outputJson);
  const bytesMax = Math.min(limits.payloadBytes, limits.messageBytes - ENVELOPE_BYTES);
  if (bytes <= bytesMax) return facts.succeeded(assignmentId, outputJson);
  const message = `the output has ${bytes} bytes; the limit payload_bytes is ${bytesMax}`;
  return facts.failed(assignmentId, { reason: 'RESULT_REFUSED', type: '', message });
}
