/** What handlers really did, whatever anybody was told: written by the simulated worker processes themselves. */
import type { SimProcess } from './process.ts';

export interface Execution {
  readonly assignmentId: string;
  readonly runId: string;
  readonly workerName: string;
  readonly process: SimProcess;
  /** null while it runs. A process that dies takes its handlers with it. */
  outcome: 'succeeded' | 'failed' | 'aborted' | null;
  /** The server no longer knows of it: its process came back after its grace. */
  isForgotten: boolean;
}

export interface ExecutionJournal {
  begin(execution: Execution): void;
  of(assignmentId: string): Execution | undefined;
  /** Handlers that run in this process now, those told to stop included. */
  runningIn(process: SimProcess): readonly Execution[];
  readonly all: ReadonlyMap<string, Execution>;
}

export function createExecutionJournal(): ExecutionJournal {
  const all = new Map<string, Execution>();
  const byProcess = new Map<SimProcess, Execution[]>();
  return {
    all,
    begin(execution) {
      all.set(execution.assignmentId, execution);
      const of = byProcess.get(execution.process) ?? [];
      byProcess.set(execution.process, [...of.filter(({ outcome }) => outcome === null), execution]);
    },
    of: (assignmentId) => all.get(assignmentId),
    runningIn: (process) =>
      process.isAlive ? (byProcess.get(process) ?? []).filter(({ outcome }) => outcome === null) : [],
  };
}
