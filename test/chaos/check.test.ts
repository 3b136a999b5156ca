/** The check of a chaos round finds what it is there to find. */
import { describe, expect, it } from 'vitest';
import { check, type Evidence } from './check.ts';
import { gather } from './journals.ts';
import type { LogRow, StepRow } from './rows.ts';

const output = (assignmentId: string, from: string | null = null) => JSON.stringify({ assignmentId, from });

const entered = (assignmentId: string, runId: string, stepName = 'work') => ({
  kind: 'entered',
  assignmentId,
  runId,
  stepName,
});
const finished = (assignmentId: string, from: string | null = null, lines = 0) => ({
  kind: 'finished',
  assignmentId,
  lines,
  output: output(assignmentId, from),
});
const settled = (assignmentId: string) => ({ kind: 'settled', fact: 'stepSucceeded', assignmentId });

const step = (runId: string, assignmentId: string, rest: Partial<StepRow> = {}): StepRow => ({
  runId,
  name: 'work',
  place: 0,
  state: 'SUCCEEDED',
  assignmentId,
  worker: 'one',
  output: output(assignmentId),
  ...rest,
});

const logs = (assignmentId: string, rest: Partial<LogRow> = {}): LogRow => ({
  assignmentId,
  count: 2,
  first: 1,
  last: 2,
  strange: 0,
  dropped: 0,
  notices: 0,
  cutBytes: 0,
  ...rest,
});

interface Story {
  readonly one?: readonly object[];
  readonly two?: readonly object[];
  readonly steps?: readonly StepRow[];
  readonly logs?: readonly LogRow[];
  readonly kind?: string;
  readonly zone?: string;
  readonly answered?: boolean;
  readonly runState?: string;
}

const GOOD = [entered('a1', 'run-1'), finished('a1', null, 2), settled('a1')];
const text = (lines: readonly object[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join('');

/** One run of worker one, as it should be but for what is given. */
function evidence(story: Story): Evidence {
  const { steps = [step('run-1', 'a1')], kind = 'single', zone = '', answered = true, runState = 'SUCCEEDED' } = story;
  return {
    planned: [{ kind, requestId: 'r1', zone }],
    runIds: new Map(answered ? [['r1', 'run-1']] : []),
    rows: {
      runs: [{ runId: 'run-1', requestId: 'r1', state: runState }],
      steps,
      attempts: [],
      logs: story.logs ?? [logs('a1')],
      epoch: 1,
    },
    journals: gather([
      { worker: 'one', text: text(story.one ?? GOOD) },
      { worker: 'two', text: text(story.two ?? []) },
    ]),
    zones: new Map([
      ['one', 'north'],
      ['two', 'south'],
    ]),
  };
}

const findings = (story: Story) => check(evidence(story));

describe('the check of a chaos round', () => {
  it('has nothing to say when all is well', () => {
    expect(findings({})).toEqual({ lost: [], doubleAccepted: [], violations: [], lines: 2 });
  });

  it('finds runs that are lost', () => {
    expect(findings({ answered: false }).lost).toEqual(['r1 (single) was never answered']);
    expect(findings({ runState: 'RUNNING' }).lost).toEqual(['r1 (single) is run run-1, which is RUNNING']);
  });

  it('finds a second success that was accepted', () => {
    const two = [entered('a2', 'run-1'), finished('a2'), settled('a2')];
    const { doubleAccepted, violations } = findings({ two });
    expect(doubleAccepted).toEqual(['run-1/work: a1, a2']);
    expect(violations).toContain('the success of a2 was acknowledged, and is none in the database');
  });

  it('finds successes that no journal has, or another output, or that were refused', () => {
    const without = [entered('a1', 'run-1')];
    expect(findings({ one: without, logs: [] }).violations).toEqual([
      'step run-1/work: 0 journals have the end of assignment a1',
    ]);
    const other = step('run-1', 'a1', { output: '1', worker: 'two' });
    expect(findings({ steps: [other] }).violations).toHaveLength(2);
    const refused = [...GOOD.slice(0, 2), { kind: 'refused', about: 'stepSucceeded', assignmentId: 'a1' }];
    expect(findings({ one: refused }).violations).toEqual([
      'the success of a1 was refused, and is one in the database',
    ]);
    const postponed = { kind: 'refused', about: 'stepSucceeded', assignmentId: 'a1', reason: 'RATE_LIMITED' };
    expect(findings({ one: [...GOOD.slice(0, 2), postponed, settled('a1')] }).violations).toEqual([]);
  });

  it('finds one assignment that was entered twice', () => {
    expect(findings({ two: [entered('a1', 'run-1')] }).violations).toEqual([
      'assignment a1 was entered 2 times: one, two',
    ]);
  });

  it('finds gaps, missing lines and lines that were never said', () => {
    expect(findings({ logs: [logs('a1', { last: 3 })] }).violations).toHaveLength(1);
    expect(findings({ logs: [logs('a1', { count: 1, last: 1 })] }).violations).toEqual([
      'of the 2 lines of assignment a1 1 are missing',
    ]);
    expect(findings({ logs: [logs('a1', { strange: 1 })] }).violations).toHaveLength(1);
    // The worker itself says that it dropped one, in a line of its own.
    expect(findings({ logs: [logs('a1', { strange: 1, dropped: 1, notices: 1 })] }).violations).toEqual([]);
  });

  it('finds a sticky run on two workers, a broken chain, and a worker without the label', () => {
    const first = step('run-1', 'a1', { name: 'first' });
    const second = step('run-1', 'a2', { name: 'second', place: 1, worker: 'two', output: output('a2', 'a1') });
    const two = [entered('a2', 'run-1', 'second'), finished('a2', 'a1'), settled('a2')];
    expect(findings({ kind: 'chain', steps: [first, second], two }).violations).toEqual([]);
    expect(findings({ kind: 'sticky', steps: [first, second], two }).violations).toEqual([
      'the sticky run run-1 was done by one, two',
    ]);
    const torn = { ...second, output: output('a2', 'a0') };
    const given = [entered('a2', 'run-1', 'second'), finished('a2', 'a0'), settled('a2')];
    expect(findings({ kind: 'chain', steps: [first, torn], two: given }).violations).toEqual([
      'step run-1/second was given the output of a0 instead of a1',
    ]);
    expect(findings({ kind: 'labelled', zone: 'south' }).violations).toEqual([
      'run run-1 asks for south, and one is not there',
    ]);
  });

  it('reads over the line that a killed worker left torn, and over no other', () => {
    const journal = (lines: string) => gather([{ worker: 'one', text: lines }]);
    expect(journal(`${text(GOOD)}{"kind":"ent\n{"kind":"began","pid":1}\n`).processes).toBe(1);
    expect(() => journal(`{"kind":"ent\n${text(GOOD)}`)).toThrow(/damaged/);
  });
});
