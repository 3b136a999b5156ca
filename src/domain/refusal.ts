/** A "no" that the rules return as a value; only infrastructure throws. */
import type { Reason } from './reasons.ts';

/** Names one bad field of a request, in the caller's own spelling (`desired_labels[2].value`). */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

export interface Refusal {
  readonly refused: Reason;
  /** One sentence for a person: the field, the value and the limit. */
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly fields: readonly FieldViolation[];
  /** Set when the same message may be sent again unchanged after this many milliseconds. */
  readonly retryAfterMs?: number;
}

export function refuse(reason: Reason, message: string, metadata: Record<string, string> = {}): Refusal {
  return { refused: reason, message, metadata, fields: [] };
}

/** Refuses one field: the message and the field violation say the same thing. */
export function refuseField(
  reason: Reason,
  field: string,
  description: string,
  metadata: Record<string, string> = {},
): Refusal {
  return {
    refused: reason,
    message: `${field}: ${description}`,
    metadata: { field, ...metadata },
    fields: [{ field, description }],
  };
}

/** Refuses a value over a named limit. */
export function refuseLimit(field: string, actual: number, limit: number, unit: string): Refusal {
  return refuseField('LIMIT_EXCEEDED', field, `has ${actual} ${unit}, the limit is ${limit}`, {
    actual: String(actual),
    limit: String(limit),
  });
}

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'refused' in value;
}
