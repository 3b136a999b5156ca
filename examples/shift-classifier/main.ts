/**
 * SHiFT's jobs: an inference for each pair of model and data, on a GPU, and classifiers that depend on two of them. Equal
 * requests are executed once, and one that failed is executed again; what failed takes along only the runs that depend on
 * that very run.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { jsonInput, run as runs, worker as workers } from 'yardmaster/client';
import { action, type StepContext } from 'yardmaster/worker';
import { type Story, stateOf, story } from '../support/story.ts';

const { RunState, StepState } = runs;
const { DeviceKind } = workers;
const INFERENCE_MS = 60;
const GPUS = '0, 1';

interface Inference {
  readonly model: string;
  readonly data: string;
  /** Who asked; not part of what makes two requests equal. */
  readonly by: string;
}

interface Executed {
  readonly what: string;
  readonly gpu: string | undefined;
  readonly visible: string | undefined;
  readonly fromMs: number;
  readonly toMs: number;
}

const executed: Executed[] = [];
/** Fails once: the model server was not up yet. */
const broken = new Set(['vit test']);

async function infer({ input, device, deviceEnvironment, progress }: StepContext<Inference>) {
  const what = `${input.model} ${input.data}`;
  const fromMs = performance.now();
  progress({ fraction: 0, text: `${what} on GPU ${device?.id}` });
  await wait(INFERENCE_MS);
  const { CUDA_VISIBLE_DEVICES: visible } = deviceEnvironment;
  executed.push({ what, gpu: device?.id, visible, fromMs, toMs: performance.now() });
  if (broken.delete(what)) throw new Error('the model server is not up');
  return { features: `s3://features/${what.replace(' ', '/')}` };
}

function classify({ input, device }: StepContext<{ classifier: string }>) {
  return { classifier: input.classifier, error: 0.07, on: device?.kind };
}

/** An inference request; an equal one that runs, waits, or has succeeded does the work. */
async function submitInference({ admin }: Story, model: string, data: string, by: string): Promise<string> {
  const { run } = await admin.scheduleRun({
    what: { case: 'step', value: { action: 'infer', device: DeviceKind.GPU } },
    dedupe: true,
    hashExclude: ['by'],
    ...jsonInput({ by, model, data } satisfies Inference),
  });
  return run?.runId ?? '';
}

/** A classifier, which needs the features of training and test data. */
async function submitClassifier({ admin }: Story, classifier: string, ...needs: string[]): Promise<string> {
  const { run } = await admin.scheduleRun({
    what: { case: 'step', value: { action: 'classify', device: DeviceKind.CPU } },
    dependsOnRunIds: needs,
    ...jsonInput({ classifier }),
  });
  return run?.runId ?? '';
}

/** Two of the lease times overlap on one GPU. */
function isShared(gpu: string): boolean {
  const leases = executed.filter((one) => one.gpu === gpu).toSorted((a, b) => a.fromMs - b.fromMs);
  return leases.some(({ fromMs }, index) => index > 0 && fromMs < (leases[index - 1]?.toMs ?? 0));
}

await story('shift-classifier', async (yard) => {
  const { admin, check, tell } = yard;
  const runOf = async (runId: string) => (await admin.getRun({ runId })).run;
  const train = await submitInference(yard, 'vit', 'train', 'ada');
  const test = await submitInference(yard, 'vit', 'test', 'ada');
  const trainAgain = await submitInference(yard, 'vit', 'train', 'grace');
  const testAgain = await submitInference(yard, 'vit', 'test', 'grace');
  const other = await submitInference(yard, 'resnet', 'train', 'ada');
  const blocked = await submitClassifier(yard, 'linear', train, test);
  const allowed = await submitClassifier(yard, 'nearest', trainAgain, testAgain);
  const held = await runOf(trainAgain);
  check(
    'a request that is equal to a waiting one is held',
    held?.state === RunState.PENDING && held.steps[0]?.state === StepState.BLOCKED,
  );

  const actions = { infer: action(infer), classify: action(classify) };
  await yard.worker({ name: 'box', devices: { gpus: GPUS, cpuSlots: 1 }, actions });
  const { worker } = await admin.getWorker({ name: 'box' });
  check('the box has its two GPUs to lend, and a CPU', worker?.devices?.gpuIds.join() === '0,1' && worker.slots === 3);

  const [first, second, third, fourth, fifth] = await Promise.all(
    [train, test, trainAgain, testAgain, other].map((runId) => yard.ended(runId)),
  );
  for (const { what, gpu } of executed) tell(`executed: ${what} on GPU ${gpu}`);
  check('one failed', second !== undefined && stateOf(second) === 'FAILED');
  check(
    'the others succeeded',
    [first, third, fourth, fifth].every((run) => run?.state === RunState.SUCCEEDED),
  );
  const times = (what: string) => executed.filter((one) => one.what === what).length;
  check('equal requests were executed once', times('vit train') === 1 && third?.executedByRunId === train);
  check('and with the same output', third?.outputJson === first?.outputJson);
  check('but for the one that failed: its equal executed it again', times('vit test') === 2);
  check(
    'each had a GPU to itself, and its child processes would see that one only',
    !isShared('0') && !isShared('1') && executed.every(({ gpu, visible }) => gpu !== '' && gpu === visible),
  );

  const failed = await yard.ended(blocked);
  tell(`the first classifier: ${failed.error?.message}`);
  check(
    'a classifier fails with the run it depends on, and names it',
    stateOf(failed) === 'FAILED' && failed.error?.causedById === test,
  );
  const classified = await yard.ended(allowed);
  check('one that depends on the equal run waits for it, and succeeds', stateOf(classified) === 'SUCCEEDED');
  check('on the CPU it asked for', JSON.parse(classified.outputJson).on === 'CPU');

  const before = executed.length;
  const late = await yard.ended(await submitInference(yard, 'vit', 'test', 'barbara'));
  check(
    'a request equal to an earlier success is answered at once, and nothing is executed',
    late.outputJson === fourth?.outputJson && executed.length === before,
  );
  await admin.purgeResults({});
  await yard.ended(await submitInference(yard, 'vit', 'train', 'barbara'));
  check('until the results are purged', times('vit train') === 2);
});
