/** What a handler is given. */
import { DeviceKind } from '../../gen/yardmaster/v1/worker_pb.ts';
import { LogLevel, type RunStep } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import type { AssignmentAbortedError } from './errors.ts';
import type { LabelPatch, Labels } from './labels.ts';
import type { Progress } from './progress.ts';

/** The worker as its handlers see it. */
export interface WorkerHandle {
  readonly id: string;
  readonly name: string;
  /** The latest merged set told by the server. */
  labels(): Labels;
  /**
   * Merges into the worker's labels; null removes a key. Resolves with the merged set. Calls made while one is under
   * way travel together. Rejects with LabelsRefusedError, having changed nothing, or WorkerClosedError.
   */
  upsertLabels(patch: LabelPatch): Promise<Labels>;
}

/**
 * Writes one line of the step's log; several, when the text has line breaks. Returns at once. Lines over the limit are
 * cut; when more than 10 000 lines or 8 MiB of this worker are unacknowledged, new ones are dropped and the gap is
 * said in the log. A result waits for the lines before it.
 */
export interface StepLog {
  (text: string): void;
  debug(text: string): void;
  info(text: string): void;
  warning(text: string): void;
  error(text: string): void;
}

export interface StepDevice {
  kind: 'CPU' | 'GPU';
  /** Empty for a CPU, and for a GPU step on a worker without GPUs. */
  id: string;
}

export interface StepContext<Input = unknown> {
  /** The input, parsed when first read. */
  readonly input: Input;
  /** The exact text of the input. */
  readonly inputJson: string;
  /** The run's input, parsed when first read; for a root step the same as `input`. */
  readonly runInput: unknown;
  readonly assignmentId: string;
  readonly runId: string;
  /** 1, 2, 3 … within the workflow; 0 without one. */
  readonly runNumber: bigint;
  readonly workflow: string;
  readonly stepName: string;
  readonly action: string;
  /** 1 for the first try. */
  readonly attempt: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** The device leased with this step; undefined when it asked for none. */
  readonly device: StepDevice | undefined;
  /** To be added to the environment of child processes: CUDA_VISIBLE_DEVICES, when a device was leased. */
  readonly deviceEnvironment: Readonly<Record<string, string>>;
  /**
   * Aborted, with an AssignmentAbortedError, when the step was taken away; what the handler returns then is discarded
   * (unless it was STOPPED: a result that is there in time still counts).
   */
  readonly signal: AbortSignal;
  readonly worker: WorkerHandle;
  readonly log: StepLog;
  /** Replaces the step's progress; the newest wins, at most ten a second are sent. */
  progress(progress: string | Progress): void;
}

export interface ContextPorts {
  readonly worker: WorkerHandle;
  log(assignmentId: string, level: LogLevel, text: string): void;
  progress(assignmentId: string, progress: Progress): void;
}

/** Parses, builds the log and the signal only when they are asked for: the way from the order to the handler is short. */
export class Context implements StepContext {
  readonly #order: RunStep;
  readonly #ports: ContextPorts;
  #input: { value: unknown } | undefined;
  #runInput: { value: unknown } | undefined;
  #log: StepLog | undefined;
  #controller: AbortController | undefined;

  constructor(order: RunStep, ports: ContextPorts) {
    this.#order = order;
    this.#ports = ports;
  }

  get input(): unknown {
    this.#input ??= { value: parse(this.#order.inputJson) };
    return this.#input.value;
  }

  get inputJson(): string {
    return this.#order.inputJson;
  }

  get runInput(): unknown {
    if (this.#order.runInputJson === '') return this.input;
    this.#runInput ??= { value: parse(this.#order.runInputJson) };
    return this.#runInput.value;
  }

  get assignmentId(): string {
    return this.#order.assignmentId;
  }

  get runId(): string {
    return this.#order.runId;
  }

  get runNumber(): bigint {
    return this.#order.runNumber;
  }

  get workflow(): string {
    return this.#order.workflow;
  }

  get stepName(): string {
    return this.#order.stepName;
  }

  get action(): string {
    return this.#order.action;
  }

  get attempt(): number {
    return this.#order.attempt;
  }

  get metadata(): Readonly<Record<string, string>> {
    return this.#order.metadata;
  }

  get device(): StepDevice | undefined {
    const { device } = this.#order;
    if (device === undefined || device.kind === DeviceKind.UNSPECIFIED) return undefined;
    return { kind: device.kind === DeviceKind.GPU ? 'GPU' : 'CPU', id: device.id };
  }

  get deviceEnvironment(): Readonly<Record<string, string>> {
    const { device } = this;
    // The empty string hides every GPU from a step that was given none.
    return device === undefined ? {} : { CUDA_VISIBLE_DEVICES: device.id };
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  get worker(): WorkerHandle {
    return this.#ports.worker;
  }

  get log(): StepLog {
    this.#log ??= this.#newLog();
    return this.#log;
  }

  /** A function of its own, as the log is: handlers take their context apart. */
  get progress(): (progress: string | Progress) => void {
    return (progress) => {
      const whole = typeof progress === 'string' ? { text: progress } : progress;
      this.#ports.progress(this.assignmentId, whole);
    };
  }

  /** For the SDK; not part of StepContext. */
  get order(): RunStep {
    return this.#order;
  }

  /** For the SDK; not part of StepContext. */
  abort(error: AssignmentAbortedError): void {
    this.#controller ??= new AbortController();
    this.#controller.abort(error);
  }

  #newLog(): StepLog {
    const at = (level: LogLevel) => (text: string) => this.#ports.log(this.#order.assignmentId, level, text);
    const info = at(LogLevel.INFO);
    return Object.assign((text: string) => info(text), {
      debug: at(LogLevel.DEBUG),
      info,
      warning: at(LogLevel.WARNING),
      error: at(LogLevel.ERROR),
    });
  }
}

function parse(json: string): unknown {
  return json === '' ? null : JSON.parse(json);
}
