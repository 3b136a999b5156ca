/** The agent: a worker whose every action is one command. */
import type { Clock } from '../../lib/clock.ts';
import {
  createWorker,
  type StepContext,
  type Worker,
  type WorkerEnd,
  type WorkerEvent,
  type WorkerOptions,
} from '../../worker/index.ts';
import { LogGate } from './log_gate.ts';
import { runStep, type StepSettings, StoppedError } from './step.ts';

const MS_PER_SECOND = 1_000;

export interface AgentOptions extends StepSettings {
  /** Whom to connect to, and as whom. */
  readonly worker: Omit<WorkerOptions, 'actions' | 'onEvent' | 'accept'>;
  readonly actions: readonly string[];
}

export interface AgentPorts {
  readonly clock: Clock;
  /** What commands find in their environment, besides what is said about their step. */
  readonly environment: NodeJS.ProcessEnv;
  /** One line for the person at the terminal. */
  say(line: string): void;
}

export interface Agent {
  /** The exit code, when the agent and all its commands have ended: 0 after a drain, 1 when it was cut short or refused. */
  readonly ended: Promise<number>;
  /** First: takes nothing new, lets running commands finish, says goodbye. Again: ends the running commands too. */
  stop(): void;
}

export function startAgent(options: AgentOptions, ports: AgentPorts): Agent {
  return new RunningAgent(options, ports);
}

interface RunningStep {
  readonly controller: AbortController;
  /** When the command has ended; never rejects. */
  ended: Promise<unknown>;
}

class RunningAgent implements Agent {
  readonly ended: Promise<number>;
  readonly #options: AgentOptions;
  readonly #ports: AgentPorts;
  readonly #worker: Worker;
  readonly #gate = new LogGate();
  readonly #steps = new Set<RunningStep>();
  #stops = 0;
  #wasCut = false;

  constructor(options: AgentOptions, ports: AgentPorts) {
    this.#options = options;
    this.#ports = ports;
    const handle = (ctx: StepContext) => this.#handle(ctx);
    this.#worker = createWorker({
      ...options.worker,
      actions: Object.fromEntries(options.actions.map((action) => [action, handle])),
      onEvent: (event) => this.#tell(event),
    });
    this.ended = this.#live();
  }

  stop(): void {
    this.#stops += 1;
    const running = this.#steps.size;
    if (this.#stops === 1) {
      const rest = running === 0 ? '' : `; ${running} to finish, a second signal ends them`;
      this.#ports.say(`stopping: nothing new is taken${rest}`);
      void this.#worker.drain().then(() => this.#leave());
    } else if (this.#stops === 2) {
      this.#ports.say(`ending ${running} running`);
      void this.#cut().then(() => this.#leave());
    }
  }

  async #live(): Promise<number> {
    // A refusal is told by `closed` as well.
    this.#worker.start().catch(() => {});
    const end = await this.#worker.closed;
    // However it came to that, their signals are aborted.
    await this.#commandsEnded();
    return this.#exitCode(end);
  }

  /** No command is left, so nothing is held back for long. */
  #leave(): Promise<void> {
    return this.#worker.stop({ reason: 'the agent was stopped', graceMs: 0 });
  }

  async #cut(): Promise<void> {
    for (const { controller } of this.#steps) controller.abort();
    // Goodbye gives the steps to others: not before their commands have ended here.
    await this.#commandsEnded();
  }

  async #commandsEnded(): Promise<void> {
    await Promise.all([...this.#steps].map((step) => step.ended));
  }

  #exitCode(end: WorkerEnd): number {
    switch (end.kind) {
      case 'stopped':
        this.#ports.say('stopped');
        return this.#wasCut ? 1 : 0;
      case 'evicted':
        this.#ports.say(
          `the server wants this worker no more: ${end.reason}${end.message === '' ? '' : `: ${end.message}`}`,
        );
        return 1;
      case 'failed':
        this.#ports.say(`cannot connect: ${end.error.message}`);
        return 1;
    }
  }

  async #handle(ctx: StepContext): Promise<unknown> {
    const { clock, environment } = this.#ports;
    const controller = new AbortController();
    const taken = whenAborted(ctx.signal).then(() => controller.abort());
    const startedMs = clock.nowMs();
    const took = () => `after ${((clock.nowMs() - startedMs) / MS_PER_SECOND).toFixed(1)} s`;
    const what = `${ctx.stepName || ctx.action} of run ${ctx.runId}`;
    const started = (processId: number) =>
      this.#ports.say(`started ${what}, attempt ${ctx.attempt}, as process ${processId}`);
    const work = runStep(ctx, this.#options, controller.signal, { clock, gate: this.#gate, environment, started });
    const step: RunningStep = { controller, ended: work.catch(() => {}) };
    this.#steps.add(step);
    try {
      const output = await work;
      this.#ports.say(`finished ${what} ${took()}`);
      return output;
    } catch (error) {
      this.#ports.say(
        error instanceof StoppedError ? `ended ${what} ${took()}` : `failed ${what} ${took()}: ${firstLine(error)}`,
      );
      if (!(error instanceof StoppedError)) throw error;
      // It neither succeeded nor failed. When the agent itself ended it, the goodbye that follows gives the step back.
      this.#wasCut ||= !ctx.signal.aborted;
      await taken;
      throw ctx.signal.reason;
    } finally {
      this.#steps.delete(step);
    }
  }

  #tell(event: WorkerEvent): void {
    const { say } = this.#ports;
    switch (event.type) {
      case 'connected':
        say(
          `${event.resumed ? 'connected again' : 'connected'} as ${event.name} (${event.displayName}), namespace ${event.namespace}`,
        );
        for (const warning of event.warnings) say(`warning: ${warning}`);
        break;
      case 'disconnected':
        say(`not connected: ${event.reason}; next try in ${(event.retryInMs / MS_PER_SECOND).toFixed(1)} s`);
        break;
      case 'step_aborted':
        if (event.kind !== 'STOPPED')
          say(`${event.kind === 'CANCELLED' ? 'cancelled' : 'taken away'}: ${event.message}`);
        break;
      case 'step_returned':
        say(`gave a step back: ${event.reason}${event.detail === '' ? '' : `: ${event.detail}`}`);
        break;
      case 'refused':
        say(`the server refused ${event.about}: ${event.reason}: ${event.message}`);
        break;
      case 'draining':
        say(`the server drains this worker${event.reason === '' ? '' : `: ${event.reason}`}`);
        break;
      default:
        // Steps are told with their commands, an eviction as the last word.
        break;
    }
  }
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split('\n', 1)[0] ?? '';
}
