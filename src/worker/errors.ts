/** What an author throws, and what the SDK throws at an author. */

/** Thrown by a handler whose failure no further attempt can mend: the step fails without using up its other attempts. */
export class NonRetryableError extends Error {
  override readonly name: string = 'NonRetryableError';
  readonly retryable = false;
}

/**
 * Thrown by a handler that cannot read its input. The step goes back and, after enough reports, the step that produced
 * the input runs again. `stepName` says which input; it is needed only by a step that joins several.
 */
export class InputInvalidError extends Error {
  override readonly name: string = 'InputInvalidError';
  readonly stepName: string;

  constructor(reason: string, stepName = '') {
    super(reason);
    this.stepName = stepName;
  }
}

/**
 * Why an assignment was taken away from a running handler:
 * - CANCELLED: the server sent cancel_step (cancel, timeout or withdrawal);
 * - ACCEPT_REFUSED: the assignment was no longer ours when its acceptance arrived;
 * - DROPPED: it was given to somebody else while this worker was away;
 * - EVICTED: the server told this worker to stop for good, or will not have it back;
 * - STOPPED: `worker.stop()` ran out of its grace.
 */
export type AbortKind = 'CANCELLED' | 'ACCEPT_REFUSED' | 'DROPPED' | 'EVICTED' | 'STOPPED';

/** The reason of an aborted `ctx.signal`. */
export class AssignmentAbortedError extends Error {
  override readonly name: string = 'AssignmentAbortedError';
  readonly kind: AbortKind;

  constructor(kind: AbortKind, message: string) {
    super(message === '' ? kind : message);
    this.kind = kind;
  }
}

/** A label upsert that changed nothing: refused by the server, or by the SDK before it was sent. */
export class LabelsRefusedError extends Error {
  override readonly name: string = 'LabelsRefusedError';
  /** UPPER_SNAKE, for example INVALID_LABEL or LIMIT_EXCEEDED. */
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;

  constructor(reason: string, message: string, metadata: Readonly<Record<string, string>> = {}) {
    super(message);
    this.reason = reason;
    this.metadata = metadata;
  }
}

/** The server will not have this worker as it stands; trying again would not help. */
export class ConnectRefusedError extends Error {
  override readonly name: string = 'ConnectRefusedError';
  /** Canonical status, for example FAILED_PRECONDITION. */
  readonly code: string;
  /** UPPER_SNAKE, for example TAGS_DIFFER; empty when the server gave none. */
  readonly reason: string;

  constructor(code: string, reason: string, message: string) {
    super(message);
    this.code = code;
    this.reason = reason;
  }
}

/** The worker was stopped, or ended for good, before the thing asked for could happen. */
export class WorkerClosedError extends Error {
  override readonly name: string = 'WorkerClosedError';
}
