/** Runs for people. */
import {
  type Attempt,
  PrioritySchema,
  type Run,
  RunStateSchema,
  type Step,
  type StepError,
  StepStateSchema,
  Sticky,
  StickySchema,
} from '../../../gen/yardmaster/v1/run_pb.ts';
import { nameOf } from '../parse/names.ts';
import { coloured } from './colour.ts';
import { facts, table } from './table.ts';
import { age, between, brief, printable, progressText } from './text.ts';

export interface Look {
  readonly nowMs: number;
  readonly colours: boolean;
}

const NOTE_CHARACTERS_MAX = 60;
const LIST_CHARACTERS_MAX = 40;

export function runsTable(runs: readonly Run[], look: Look): string {
  const rows = runs.map((run) => [
    run.runId,
    coloured(stateOf(run), look.colours),
    brief(run.steps.map(({ action }) => action).join(' '), LIST_CHARACTERS_MAX),
    nameOf(PrioritySchema, run.priority),
    brief(run.runsOn.join(' '), LIST_CHARACTERS_MAX),
    age(run.createTime, look.nowMs),
    run.endTime === undefined ? age(run.startTime, look.nowMs) : between(run.startTime, run.endTime),
    brief(noteOf(run), NOTE_CHARACTERS_MAX),
  ]);
  return table(['RUN', 'STATE', 'ACTION', 'PRIORITY', 'RUNS ON', 'AGE', 'TIME', 'NOTE'], rows, look.colours);
}

export function runText(run: Run, look: Look): string {
  const about = facts(
    [
      ['run', run.runId],
      ['state', coloured(stateOf(run), look.colours)],
      [
        'workflow',
        run.workflow === '' ? '' : `${printable(run.workflow)} ${run.workflowVersion}, number ${run.number}`,
      ],
      ['priority', nameOf(PrioritySchema, run.priority)],
      ['runs on', printable(run.runsOn.join(' '))],
      ['sticky', stickyText(run)],
      ['depends on', run.dependsOnRunIds.join(' ')],
      ['concurrency', concurrencyText(run)],
      ['created', `${age(run.createTime, look.nowMs)} ago`],
      ['waited', between(run.createTime, run.startTime)],
      ['took', between(run.startTime, run.endTime)],
      [
        'metadata',
        printable(
          Object.entries(run.metadata)
            .map(([key, value]) => `${key}=${value}`)
            .join(' '),
        ),
      ],
      ['request', printable(run.requestId)],
      ['executed by', run.executedByRunId],
      ['error', run.error === undefined ? '' : errorText(run.error)],
    ],
    look.colours,
  );
  const attempts = run.steps.flatMap((step) => step.attempts.map((attempt) => attemptRow(step, attempt, look)));
  const parts = [about, stepsTable(run, look)];
  if (attempts.length > 0) {
    parts.push(table(['ATTEMPT', 'STEP', 'WORKER', 'ASSIGNED', 'TOOK', 'OUTCOME', 'ERROR'], attempts, look.colours));
  }
  if (run.inputJson !== '') parts.push(`input   ${printable(run.inputJson)}\n`);
  if (run.outputJson !== '') parts.push(`output  ${printable(run.outputJson)}\n`);
  return parts.join('\n');
}

function stickyText({ sticky, pinnedWorkerId }: Run): string {
  if (sticky === Sticky.NONE) return '';
  const mode = nameOf(StickySchema, sticky);
  return pinnedWorkerId === '' ? mode : `${mode}, pinned to ${pinnedWorkerId}`;
}

function concurrencyText({ concurrency }: Run): string {
  return concurrency === undefined ? '' : `${concurrency.limit ?? 1} of "${printable(concurrency.key)}" together`;
}

export function stateOf(run: Run): string {
  return nameOf(RunStateSchema, run.state);
}

export function errorText({ reason, type, message }: StepError): string {
  return printable([reason, type, message].filter((part) => part !== '').join(': '));
}

function stepsTable(run: Run, look: Look): string {
  const rows = run.steps.map((step) => [
    printable(step.name),
    printable(step.action),
    coloured(nameOf(StepStateSchema, step.state), look.colours),
    brief(
      step.blockedReason || progressText(step.progressFraction, step.progressPhase, step.progressText),
      NOTE_CHARACTERS_MAX,
    ),
  ]);
  return table(['STEP', 'ACTION', 'STATE', 'NOTE'], rows, look.colours);
}

function attemptRow(step: Step, attempt: Attempt, look: Look): string[] {
  return [
    String(attempt.number),
    printable(step.name),
    printable(attempt.workerName),
    `${age(attempt.assignTime, look.nowMs)} ago`,
    attempt.endTime === undefined ? '' : between(attempt.acceptTime ?? attempt.assignTime, attempt.endTime),
    coloured(attempt.outcome, look.colours),
    attempt.error === undefined ? '' : brief(errorText(attempt.error), NOTE_CHARACTERS_MAX),
  ];
}

/** What is most worth knowing about it in a list. */
function noteOf(run: Run): string {
  if (run.error !== undefined) return errorText(run.error);
  const step = run.steps.find(
    ({ progressText, progressPhase, blockedReason }) => progressText + progressPhase + blockedReason !== '',
  );
  if (step === undefined) return '';
  return step.blockedReason || progressText(step.progressFraction, step.progressPhase, step.progressText);
}
