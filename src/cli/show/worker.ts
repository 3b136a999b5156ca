/** Workers for people. */
import { type Worker, WorkerStateSchema } from '../../../gen/yardmaster/v1/worker_pb.ts';
import { nameOf } from '../parse/names.ts';
import { coloured } from './colour.ts';
import type { Look } from './run.ts';
import { table } from './table.ts';
import { age, brief, labelsText, printable, progressText } from './text.ts';

const CELL_CHARACTERS_MAX = 40;

export function workersTable(workers: readonly Worker[], look: Look): string {
  const rows = workers.map((worker) => [
    printable(worker.name),
    coloured(nameOf(WorkerStateSchema, worker.state), look.colours),
    `${worker.slotsUsed}/${worker.slots}`,
    brief(worker.tags.join(' '), CELL_CHARACTERS_MAX),
    brief(labelsText(worker.labels), CELL_CHARACTERS_MAX),
    brief(worker.actions.join(' '), CELL_CHARACTERS_MAX),
    String(worker.completedCount),
    age(worker.lastSeenTime, look.nowMs),
    brief(noteOf(worker), CELL_CHARACTERS_MAX),
  ]);
  return table(['WORKER', 'STATE', 'SLOTS', 'TAGS', 'LABELS', 'ACTIONS', 'DONE', 'SEEN', 'NOTE'], rows, look.colours);
}

/** On one line: what it is after a change. */
export function workerLine(worker: Worker, colours: boolean): string {
  const parts = [
    printable(worker.name),
    coloured(nameOf(WorkerStateSchema, worker.state), colours),
    `${worker.slotsUsed}/${worker.slots}`,
    brief(labelsText(worker.labels), CELL_CHARACTERS_MAX),
    brief(noteOf(worker), CELL_CHARACTERS_MAX),
  ];
  return `${parts.filter((part) => part !== '').join('  ')}\n`;
}

function noteOf(worker: Worker): string {
  const held = worker.assignments.map(({ stepName, progressText: text, progressFraction }) =>
    [stepName, progressText(progressFraction, '', text)].filter((part) => part !== '').join(' '),
  );
  return [worker.draining ? 'draining' : '', worker.notReadyReason, ...held].filter((part) => part !== '').join(', ');
}
