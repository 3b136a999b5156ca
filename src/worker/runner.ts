/** Enters handlers, and turns whatever comes out of them into an outcome. */
import type { RunStep } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { Context, type ContextPorts } from './context.ts';
import type { AssignmentAbortedError } from './errors.ts';
import type { WorkerEvent } from './events.ts';
import type { ActionHandler } from './options.ts';
import { type Outcome, outcomeOfOutput, outcomeOfThrown } from './outcome.ts';

export interface RunnerPorts extends ContextPorts {
  finished(assignmentId: string, outcome: Outcome): void;
  event(event: WorkerEvent): void;
}

export class Runner {
  readonly #handlers: ReadonlyMap<string, ActionHandler>;
  readonly #ports: RunnerPorts;
  readonly #running = new Map<string, Context>();

  constructor(actions: Record<string, ActionHandler>, ports: RunnerPorts) {
    this.#handlers = new Map(Object.entries(actions));
    this.#ports = ports;
  }

  serves(action: string): boolean {
    return this.#handlers.has(action);
  }

  /** Calls the handler before it returns. */
  run(order: RunStep): void {
    const { assignmentId, runId, stepName, action, attempt } = order;
    const handler = this.#handlers.get(action);
    if (handler === undefined) return;
    const context = new Context(order, this.#ports);
    this.#running.set(assignmentId, context);
    let result: unknown;
    let thrown: Outcome | undefined;
    try {
      result = handler(context);
    } catch (error) {
      thrown = outcomeOfThrown(error);
    }
    this.#ports.event({ type: 'step_started', assignmentId, runId, stepName, action, attempt });
    if (thrown !== undefined) this.#end(assignmentId, thrown);
    else if (isThenable(result)) this.#await(assignmentId, result);
    else this.#end(assignmentId, outcomeOfOutput(result));
  }

  abort(assignmentId: string, error: AssignmentAbortedError): void {
    this.#running.get(assignmentId)?.abort(error);
  }

  #await(assignmentId: string, result: unknown): void {
    Promise.resolve(result).then(
      (output) => this.#end(assignmentId, outcomeOfOutput(output)),
      (error: unknown) => this.#end(assignmentId, outcomeOfThrown(error)),
    );
  }

  #end(assignmentId: string, outcome: Outcome): void {
    this.#running.delete(assignmentId);
    this.#ports.finished(assignmentId, outcome);
    this.#ports.event({ type: 'step_finished', assignmentId, outcome: outcome.kind });
  }
}

function isThenable(value: unknown): boolean {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}
