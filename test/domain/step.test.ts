import { describe, expect, it, test } from 'vitest';
import { isRefusal } from '../../src/domain/refusal.ts';
import { runEnded, runStateOf, type StepOutcome } from '../../src/domain/run.ts';
import { nextStepState, type StepEvent, type StepState, stepEnded } from '../../src/domain/step.ts';

const ENDED: StepState[] = ['SUCCEEDED', 'FAILED', 'CRASHED', 'TIMED_OUT', 'CANCELLED', 'SKIPPED'];
const STATES: StepState[] = ['BLOCKED', 'PENDING', 'ASSIGNED', 'RUNNING', ...ENDED];
const EVENTS: StepEvent[] = [
  'READY',
  'ASSIGN',
  'ACCEPT',
  'RETURN',
  'RETRY',
  'BACK_OFF',
  'SUCCEED',
  'FAIL',
  'CRASH',
  'TIME_OUT',
  'CANCEL',
  'SKIP',
];

/** The whole life of a step, written down a second time. */
const LIFE = `
  BLOCKED READY PENDING
  BLOCKED SUCCEED SUCCEEDED
  BLOCKED CRASH CRASHED
  BLOCKED TIME_OUT TIMED_OUT
  BLOCKED FAIL FAILED
  BLOCKED CANCEL CANCELLED
  BLOCKED SKIP SKIPPED
  PENDING ASSIGN ASSIGNED
  PENDING FAIL FAILED
  PENDING TIME_OUT TIMED_OUT
  PENDING CANCEL CANCELLED
  PENDING SKIP SKIPPED
  ASSIGNED ACCEPT RUNNING
  ASSIGNED RETURN PENDING
  ASSIGNED TIME_OUT TIMED_OUT
  ASSIGNED CANCEL CANCELLED
  RUNNING RETURN PENDING
  RUNNING RETRY PENDING
  RUNNING BACK_OFF BLOCKED
  RUNNING SUCCEED SUCCEEDED
  RUNNING FAIL FAILED
  RUNNING CRASH CRASHED
  RUNNING TIME_OUT TIMED_OUT
  RUNNING CANCEL CANCELLED`;

describe('the life of a step', () => {
  it('has these transitions; everything else is refused', () => {
    const taken = STATES.flatMap((state) =>
      EVENTS.flatMap((event) => {
        const next = nextStepState(state, event);
        return isRefusal(next) ? [] : [`${state} ${event} ${next}`];
      }),
    );
    expect(taken.sort()).toEqual(
      LIFE.trim()
        .split('\n')
        .map((line) => line.trim())
        .sort(),
    );
  });

  test.each(ENDED)('%s takes nothing more, and says so', (state) => {
    expect(stepEnded(state)).toBe(true);
    for (const event of EVENTS) {
      expect(nextStepState(state, event)).toMatchObject({ refused: 'STEP_STATE', metadata: { state, event } });
    }
  });

  it('goes on in every other state', () => {
    expect(STATES.filter((state) => !stepEnded(state))).toEqual(['BLOCKED', 'PENDING', 'ASSIGNED', 'RUNNING']);
  });
});

describe('the state of a run', () => {
  const step = (state: StepState, endSequence = 0, started = false): StepOutcome => ({ state, started, endSequence });

  test.each<[string, StepOutcome[], boolean, string]>([
    ['nothing accepted yet', [step('PENDING'), step('BLOCKED')], false, 'PENDING'],
    ['assigned is not accepted', [step('ASSIGNED')], false, 'PENDING'],
    ['a step was accepted', [step('RUNNING', 0, true), step('BLOCKED')], false, 'RUNNING'],
    ['accepted once, waiting again', [step('PENDING', 0, true)], false, 'RUNNING'],
    ['one step left', [step('SUCCEEDED', 1, true), step('PENDING')], false, 'RUNNING'],
    ['a failed step does not end the others', [step('FAILED', 1, true), step('RUNNING', 0, true)], false, 'RUNNING'],
    ['all succeeded', [step('SUCCEEDED', 1, true), step('SUCCEEDED', 2, true)], false, 'SUCCEEDED'],
    [
      'the first to end badly decides',
      [step('FAILED', 3, true), step('TIMED_OUT', 2), step('SUCCEEDED', 1, true)],
      false,
      'TIMED_OUT',
    ],
    ['skipped never decides', [step('SKIPPED', 1), step('CRASHED', 2, true)], false, 'CRASHED'],
    ['only skipped ones', [step('SKIPPED', 1)], false, 'SUCCEEDED'],
    ['cancelled, whatever the steps were', [step('FAILED', 1, true), step('SUCCEEDED', 2, true)], true, 'CANCELLED'],
    ['cancelled, and one still stops', [step('RUNNING', 0, true)], true, 'RUNNING'],
  ])('%s', (_what, steps, cancelled, state) => {
    expect(runStateOf(steps, cancelled)).toBe(state);
  });

  it('has ended in all states but two', () => {
    expect(
      (['PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CRASHED', 'TIMED_OUT', 'CANCELLED'] as const).filter(
        (state) => !runEnded(state),
      ),
    ).toEqual(['PENDING', 'RUNNING']);
  });
});
