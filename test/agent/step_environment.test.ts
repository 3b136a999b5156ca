import { expect, it } from 'vitest';
import { stepEnvironment } from '../../src/cli/agent/step_environment.ts';
import type { StepContext } from '../../src/worker/index.ts';

const files = { input: '/i', output: '/o', progress: '/p', labels: '/l' } as Parameters<typeof stepEnvironment>[1];
const context = {
  runId: 'run',
  stepName: 'train',
  action: 'train',
  attempt: 2,
  assignmentId: 'assignment',
  metadata: { team: 'vision' },
  worker: { id: 'id', name: 'box' },
  device: undefined,
  deviceEnvironment: {},
} as unknown as StepContext;

it("a command gets the agent's environment without its token, and what is said of its step", () => {
  const own = { PATH: '/bin', YARDMASTER_TOKEN: 'secret', YARDMASTER_DEVICE: 'of another step' };
  const environment = stepEnvironment(context, files, own);
  expect(environment).toMatchObject({ PATH: '/bin', YARDMASTER_RUN_ID: 'run', YARDMASTER_ATTEMPT: '2' });
  expect(environment).not.toHaveProperty('YARDMASTER_TOKEN');
  expect(environment).not.toHaveProperty('YARDMASTER_DEVICE');
});
