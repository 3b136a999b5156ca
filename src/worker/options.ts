/** What the author of a worker gives. */

import type { StepContext } from './context.ts';
import type { WorkerEvent } from './events.ts';
import type { Labels } from './labels.ts';

/** Why a step is given back before it was begun. */
export type ReturnReasonName = 'STALE_LABELS' | 'NOT_READY' | 'SHUTTING_DOWN' | 'OTHER';

/** A step as it is offered, before anything was said about it. */
export interface StepOffer {
  assignmentId: string;
  runId: string;
  stepName: string;
  action: string;
  attempt: number;
  /** The exact text of the input. */
  inputJson: string;
  metadata: Readonly<Record<string, string>>;
  /** True when the step was matched under older labels than this worker has now. */
  labelsAreStale: boolean;
}

/**
 * Does the work of one step. What it returns (or its promise resolves to) is the output: anything JSON.stringify
 * takes, or {@link rawJson}. What it throws is a failed attempt; see NonRetryableError and InputInvalidError.
 */
// Declared as a method so that a handler may name the type of its input: the server cannot promise it, the author can.
export type ActionHandler<Input = unknown, Output = unknown> = {
  handle(context: StepContext<Input>): Output | Promise<Output>;
}['handle'];

export interface TlsOptions {
  /** PEM; default: the system's roots. */
  rootCertificates?: Buffer | undefined;
  /** PEM, for mutual TLS; both or neither. */
  privateKey?: Buffer | undefined;
  certificateChain?: Buffer | undefined;
}

export interface DeviceOptions {
  /** GPU ids as in `"0,1,4"` or as a list; trimmed, blanks and repeats removed, never renumbered. */
  gpus?: string | readonly string[] | undefined;
  /** Steps that ask for a CPU, at once. Default: slots. */
  cpuSlots?: number | undefined;
}

export interface WorkerOptions {
  /** host:port of the gRPC listener. Default `localhost:7070`. */
  address?: string | undefined;
  /** TLS to the server. Default: none. */
  tls?: boolean | TlsOptions | undefined;
  /** Sent as `authorization: Bearer <token>`. */
  token?: string | undefined;
  /** Default: the token's, else `default`. */
  namespace?: string | undefined;
  /**
   * Connect as this registered worker. Default, without a name: YARDMASTER_WORKER_ID of the environment (but not in the
   * command of an agent's step, where it is the agent's). With neither id nor name a default worker is lent.
   */
  workerId?: string | undefined;
  /** Connect under this name; the first time registers it. */
  name?: string | undefined;
  /** Immutable, given at the first registration; later empty or the same set. */
  tags?: readonly string[] | undefined;
  /** The whole set of labels at the start. Default: what the server has stored stays. */
  labels?: Labels | undefined;
  /** Handlers at once. Default 1; with devices, GPUs + cpuSlots. */
  slots?: number | undefined;
  devices?: DeviceOptions | undefined;
  /** The name on the leaderboard. Default `anonymous`. */
  nickname?: string | undefined;
  /** Handlers by the name of the action. */
  actions: Record<string, ActionHandler>;
  /**
   * Asked synchronously before each step is accepted; anything but true gives it back, with no attempt used up.
   * It delays the acceptance: it must be quick.
   */
  accept?: ((offer: StepOffer) => true | ReturnReasonName | { reason: ReturnReasonName; detail: string }) | undefined;
  onEvent?: ((event: WorkerEvent) => void) | undefined;
  /**
   * The connection has a thread of its own, so that a handler that keeps the CPU to itself is not taken for dead: steps
   * are accepted and heartbeats sent however busy the handlers' thread is. Costs a thread and some 30 MB. Not together
   * with accept(). Default false.
   */
  thread?: boolean | undefined;
}

/** Gives the handler's input and output their types; changes nothing else. */
export function action<Input = unknown, Output = unknown>(
  handler: ActionHandler<Input, Output>,
): ActionHandler<Input, Output> {
  return handler;
}
