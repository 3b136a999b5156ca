/**
 * Worker affinity as in Hatchet: workers say which model they have loaded and how much memory they have; a run asks for
 * enough memory and prefers whoever has its model. A worker that has another one evicts it, loads, and says so by
 * upsertLabels. The workflow is HARD: what was loaded is used where it was loaded.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { jsonInput, labelValue, run as runs } from 'yardmaster/client';
import { action, type StepContext } from 'yardmaster/worker';
import { placesOf, type Story, stateOf, story } from '../support/story.ts';

const { Comparator, Sticky } = runs;
const LOAD_MS = 100;
/** The worker that has the model goes before one that has none, and that one before those that would have to evict. */
const LOADED_WEIGHT = 100;
const EMPTY_WEIGHT = 10;

interface Task {
  readonly model: string;
  readonly prompt: string;
}

/** What each model load did, for the checks. */
const loads: { worker: string; evicted: string | null; loaded: string }[] = [];

async function load({ input, worker, progress }: StepContext<Task>): Promise<Task> {
  const { model } = worker.labels();
  if (model === input.model) return input;
  if (model !== undefined) {
    progress(`evicting ${model}`);
    // From here on no run that wants the old model prefers this worker.
    await worker.upsertLabels({ model: null });
  }
  progress(`loading ${input.model}`);
  await wait(LOAD_MS);
  await worker.upsertLabels({ model: input.model });
  loads.push({ worker: worker.name, evicted: model === undefined ? null : String(model), loaded: input.model });
  return input;
}

function prompt({ input, worker }: StepContext<Task>) {
  const { model } = worker.labels();
  if (model !== input.model) throw new Error(`${worker.name} has ${model}, and not ${input.model}`);
  return { answer: `${input.model} says: ${input.prompt.toUpperCase()}` };
}

async function startFleet({ worker }: Story) {
  const actions = { 'load-model': action(load), prompt: action(prompt) };
  const large = await worker({ name: 'gpu-large', labels: { memory: 512 }, actions });
  const middle = await worker({ name: 'gpu-middle', labels: { memory: 320 }, actions });
  const small = await worker({ name: 'gpu-small', labels: { memory: 64 }, actions });
  return { large, middle, small };
}

/** The model is the run's own wish; the memory is what the workflow's steps need. */
function wishes(model: string) {
  return [
    { key: 'model', value: labelValue(model), required: false, weight: LOADED_WEIGHT },
    { key: 'model', comparator: Comparator.NOT_EXISTS, required: false, weight: EMPTY_WEIGHT },
  ];
}

await story('hatchet-affinity', async (yard) => {
  const { admin, tell, check } = yard;
  const { small } = await startFleet(yard);
  const enough = { key: 'memory', value: labelValue(256), comparator: Comparator.GREATER_THAN };
  await admin.putWorkflow({
    name: 'chat',
    sticky: Sticky.HARD,
    steps: [
      { name: 'load', action: 'load-model', desiredLabels: [enough] },
      { name: 'prompt', action: 'prompt', needs: ['load'] },
    ],
  });
  const submit = async (model: string, text: string) => {
    const { run } = await admin.scheduleRun({
      what: { case: 'workflow', value: 'chat' },
      desiredLabels: wishes(model),
      ...jsonInput({ model, prompt: text }),
    });
    return run?.runId ?? '';
  };
  const chat = async (model: string, text: string) => {
    const run = await yard.ended(await submit(model, text));
    const { load = '', prompt = '' } = placesOf(run);
    tell(`${model.padEnd(8)} → ${load}, ${stateOf(run)}: ${run.error?.message ?? run.outputJson}`);
    return { load, prompt, run };
  };

  const first = await chat('mistral', 'hello');
  check('the model is loaded by a worker with enough memory', first.load !== 'gpu-small');
  check('and used where it was loaded', first.prompt === first.load);
  const again = await chat('mistral', 'once more');
  check(
    'the next run goes to who has the model, and nothing is loaded',
    again.load === first.load && loads.length === 1,
  );
  const other = await chat('llama', 'hello');
  check('another model goes to the worker that has none', other.load !== first.load && loads.at(-1)?.evicted === null);
  const third = await chat('gemma', 'hello');
  const evicted = loads.at(-1);
  check('a third one evicts', evicted?.loaded === 'gemma' && evicted.evicted !== null);
  const { worker } = await admin.getWorker({ name: third.load });
  check('and the labels say so', worker?.labels?.model === 'gemma');

  const { run: large } = await admin.scheduleRun({
    what: {
      case: 'step',
      value: { action: 'load-model', desiredLabels: [{ ...enough, value: labelValue(1_024) }] },
    },
    ...jsonInput({ model: 'falcon', prompt: '' }),
  });
  const runId = large?.runId ?? '';
  const explanation = (await admin.explainRun({ runId })).steps[0]?.explanation;
  tell(`falcon waits: ${explanation?.summary}`);
  check('who asks for more than anybody has waits, and is told why', explanation?.workersTotal === 3);
  await small.upsertLabels({ memory: 2_048 });
  const falcon = await yard.ended(runId);
  check('until a worker says that it has it', placesOf(falcon)['load-model'] === 'gpu-small');

  const outcomes = await Promise.all([1, 2, 3, 4].map((number) => chat('gemma', `number ${number}`)));
  const stayed = outcomes.every((outcome) => outcome.load === outcome.prompt && stateOf(outcome.run) === 'SUCCEEDED');
  check('several at once: the model is loaded where there is room, and used there', stayed);
});
