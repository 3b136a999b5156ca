/** What the session asks of whoever drives it: sockets, timers and handlers, or a simulation of them. */
import type {
  ConnectRequest,
  EvictionReason,
  Hello,
  ReturnReason,
  RunStep,
  Welcome,
} from '../../gen/yardmaster/v1/worker_service_pb.ts';
import type { LabelBook } from './labels.ts';
import type { ReportPorts } from './reports.ts';

export interface GiveBack {
  reason: ReturnReason;
  detail: string;
}

export interface SessionPorts extends ReportPorts {
  /** Writes to the stream that is open now. */
  write(request: ConnectRequest): void;
  /** Why this worker will not take the step, or undefined. Called before anything is said. */
  objection(order: RunStep): GiveBack | undefined;
  /** Enters the handler. The acceptance has been written. */
  run(order: RunStep): void;
  welcomed(welcome: Welcome): void;
  /** Open another stream after this long; the one that is open serves until then. */
  reconnect(delayMs: number): void;
  /** The stream that is open is dead, whatever its socket says. */
  hangUp(reason: string): void;
  evicted(reason: EvictionReason, message: string): void;
  /** `tick` is wanted at this time, or sooner. */
  wake(atMs: number): void;
}

export interface SessionOptions {
  /** Everything hello says but labels, slots and resume. */
  hello: Hello;
  labels: LabelBook;
  /** Undefined: the server works it out from the devices. */
  slots: number | undefined;
}
