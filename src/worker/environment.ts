/** What a worker reads from its environment: who it is, when its author leaves that to whoever starts it. */
import type { WorkerOptions } from './options.ts';

/** The worker was registered first, and its process is started by id. */
const WORKER_ID = 'YARDMASTER_WORKER_ID';
/** Told to the command of an agent's step, where WORKER_ID is the agent's own, which nobody else may connect as. */
const ASSIGNMENT_ID = 'YARDMASTER_ASSIGNMENT_ID';

type Environment = Readonly<Record<string, string | undefined>>;

export function withIdentity(options: WorkerOptions, environment: Environment = process.env): WorkerOptions {
  const { [WORKER_ID]: workerId = '', [ASSIGNMENT_ID]: assignmentId } = environment;
  if (options.workerId || options.name || workerId === '' || assignmentId !== undefined) return options;
  return { ...options, workerId };
}
