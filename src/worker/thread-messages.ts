/** What the thread of the connection and the thread of the handlers tell each other. All of it survives a structured clone. */
import type { LogLevel, RunStep } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { type AbortKind, ConnectRefusedError, LabelsRefusedError, WorkerClosedError } from './errors.ts';
import type { WorkerEvent } from './events.ts';
import type { LabelPatch, Labels } from './labels.ts';
import type { WorkerOptions } from './options.ts';
import type { Outcome } from './outcome.ts';
import type { Progress } from './progress.ts';
import type { StopOptions, WorkerHealth } from './worker-api.ts';

/** The author's options without what is a function; of the actions the names. */
export type ThreadOptions = Omit<WorkerOptions, 'actions' | 'accept' | 'onEvent' | 'thread'> & {
  readonly actions: readonly string[];
};

/** What is asked of the connection, and is answered. */
export type Call =
  | { readonly method: 'start' | 'drain' }
  | { readonly method: 'stop'; readonly options: StopOptions }
  | { readonly method: 'upsertLabels'; readonly patch: LabelPatch };

export type ToConnection =
  | { readonly kind: 'call'; readonly id: number; readonly call: Call }
  | { readonly kind: 'slots'; readonly slots: number }
  | { readonly kind: 'finished'; readonly assignmentId: string; readonly outcome: Outcome }
  | { readonly kind: 'log'; readonly assignmentId: string; readonly level: LogLevel; readonly text: string }
  | { readonly kind: 'progress'; readonly assignmentId: string; readonly progress: Progress };

/** The connection as its author may ask for it at any time. */
export interface ConnectionState {
  readonly id: string;
  readonly name: string;
  readonly displayName: string;
  readonly labels: Labels;
  readonly health: WorkerHealth;
}

export type ThreadEnd =
  | { readonly kind: 'stopped' }
  | { readonly kind: 'evicted'; readonly reason: string; readonly message: string }
  | { readonly kind: 'failed'; readonly error: ErrorFacts };

export type ToHandlers =
  | { readonly kind: 'run'; readonly order: RunStep }
  | {
      readonly kind: 'abort';
      readonly assignmentId: string;
      readonly abortKind: AbortKind;
      readonly message: string;
    }
  | { readonly kind: 'event'; readonly event: WorkerEvent; readonly state: ConnectionState }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answer; readonly state: ConnectionState }
  | { readonly kind: 'closed'; readonly end: ThreadEnd; readonly state: ConnectionState };

export type Answer = { readonly value: unknown } | { readonly error: ErrorFacts };

/** An error without its class, which does not cross. */
export interface ErrorFacts {
  readonly name: string;
  readonly message: string;
  readonly code: string;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export function factsOfError(thrown: unknown): ErrorFacts {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  return {
    name: error.name,
    message: error.message,
    code: error instanceof ConnectRefusedError ? error.code : '',
    reason: error instanceof ConnectRefusedError || error instanceof LabelsRefusedError ? error.reason : '',
    metadata: error instanceof LabelsRefusedError ? error.metadata : {},
  };
}

/** The same kind of error again, as far as authors tell kinds apart. */
export function errorOfFacts({ name, message, code, reason, metadata }: ErrorFacts): Error {
  switch (name) {
    case 'ConnectRefusedError':
      return new ConnectRefusedError(code, reason, message);
    case 'LabelsRefusedError':
      return new LabelsRefusedError(reason, message, metadata);
    case 'WorkerClosedError':
      return new WorkerClosedError(message);
    default:
      return Object.assign(new Error(message), { name });
  }
}
