/** The events of a run as lines for people: each state, attempt and progress once. */
import { type Attempt, type Run, type Step, StepState, StepStateSchema } from '../../../gen/yardmaster/v1/run_pb.ts';
import type { Io } from '../io.ts';
import { nameOf } from '../parse/names.ts';
import { coloured } from '../show/colour.ts';
import { logText } from '../show/log.ts';
import { errorText, stateOf } from '../show/run.ts';
import { between, brief, printable, progressText, shortDuration } from '../show/text.ts';
import { hasEnded, type RunEvent } from './run.ts';

const ELAPSED_WIDTH = 7;
const PROGRESS_CHARACTERS_MAX = 200;

export function teller(io: Io): (event: RunEvent) => void {
  const fromMs = io.clock.nowMs();
  const said = new Map<string, string>();
  const say = (text: string) => {
    const elapsed = shortDuration(io.clock.nowMs() - fromMs).padStart(ELAPSED_WIDTH);
    io.stdout(`${elapsed}  ${text}\n`);
  };
  const sayOnce = (about: string, text: string) => {
    if (text === '' || said.get(about) === text) return;
    said.set(about, text);
    say(text);
  };
  return (event) => {
    if (event.kind === 'logged') {
      for (const line of event.lines) say(`| ${logText(line)}`);
      return;
    }
    const { run } = event;
    for (const step of run.steps) {
      const name = run.steps.length > 1 ? `${printable(step.name)}: ` : '';
      for (const attempt of step.attempts)
        sayOnce(`${step.name} ${attempt.assignmentId}`, prefixed(name, attemptEnd(attempt)));
      if (hasEnded(run)) continue;
      sayOnce(`${step.name} state`, prefixed(name, stepText(step, io.colours)));
      const progress = progressText(step.progressFraction, step.progressPhase, step.progressText);
      sayOnce(`${step.name} progress`, prefixed(name, brief(progress, PROGRESS_CHARACTERS_MAX)));
    }
    if (hasEnded(run)) endOf(run, io.colours).forEach(say);
  };
}

function prefixed(name: string, text: string): string {
  return text === '' ? '' : `${name}${text}`;
}

function stepText(step: Step, colours: boolean): string {
  const state = coloured(nameOf(StepStateSchema, step.state), colours);
  const attempt = step.attempts.at(-1);
  if (step.state === StepState.BLOCKED) return `${state} ${printable(step.blockedReason)}`.trim();
  const held = step.state === StepState.ASSIGNED || step.state === StepState.RUNNING;
  if (!held || attempt === undefined) return state;
  return `${state} on ${printable(attempt.workerName)}, attempt ${attempt.number}`;
}

function attemptEnd({ number, outcome, workerName, error }: Attempt): string {
  if (outcome === '' || outcome === 'SUCCEEDED') return '';
  const why = error === undefined ? outcome : errorText(error);
  return `attempt ${number} on ${printable(workerName)} ended: ${why}`;
}

function endOf(run: Run, colours: boolean): string[] {
  const lines = [`${coloured(stateOf(run), colours)} after ${between(run.createTime, run.endTime)}`];
  if (run.error !== undefined) lines.push(`error  ${errorText(run.error)}`);
  if (run.outputJson !== '') lines.push(`output ${printable(run.outputJson)}`);
  return lines;
}
