import { describe, expect, it } from 'vitest';
import { readDefinition, textsOf } from '../../src/engine/run_definition.ts';
import type { RunRecord } from '../../src/engine/state.ts';
import { createYard, definitionOf, type RunOptions } from '../support/engine.ts';

function recordOf(options: RunOptions): RunRecord {
  const yard = createYard();
  return yard.engine.state.runs.get(yard.submit(options)) as RunRecord;
}

describe('what a run was asked with', () => {
  it('is stored without what would be so anyway, and read back whole', () => {
    const run = recordOf({});
    const { definition, metadata } = textsOf(run);
    expect(JSON.parse(definition)).toEqual({ step: { name: run.onlyStep?.definition.name, action: 'build' } });
    expect(metadata).toBe('{}');
    expect(readDefinition(definition)).toEqual({
      step: run.onlyStep?.definition,
      desired: [],
      scheduleTimeoutMs: null,
      executionTimeoutMs: null,
    });
  });

  it('is stored where it differs', () => {
    const desired = [
      { key: 'memory', value: 256, comparator: 'GREATER_THAN', values: [], required: true, weight: 100 },
    ] as const;
    const options = {
      desired: [...desired],
      stepDesired: [...desired],
      retry: { attemptsMax: 3 },
      progressTimeoutMs: 7,
    };
    const run = recordOf(options);
    const { definition } = textsOf(run);
    expect(readDefinition(definition)).toMatchObject({ step: run.onlyStep?.definition, desired });
    expect(run.onlyStep?.definition).toMatchObject({ desired, retry: { attemptsMax: 3 }, progressTimeoutMs: 7 });
  });

  it('is read as it was stored when everything was, and before there were needs', () => {
    const step = definitionOf({ name: 'one', action: 'build' });
    const whole = { step, desired: [], scheduleTimeoutMs: 5, executionTimeoutMs: null };
    expect(readDefinition(JSON.stringify(whole))).toEqual(whole);
    const { needs: _needs, device: _device, maxInvalidReports: _reports, ...early } = step;
    expect(readDefinition(JSON.stringify({ step: early, desired: [] })).step).toEqual(step);
    expect(readDefinition('{"step":null,"desired":[]}').step).toBeNull();
  });
});
