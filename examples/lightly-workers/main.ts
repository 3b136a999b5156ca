/**
 * Lightly's scheduled runs: workers are registered with tags first and started by id, runs say what they run on, four
 * priorities, a worker without tags takes what nobody else does, and one run at a time touches a dataset.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { admin as calls, jsonInput, run as runs } from 'yardmaster/client';
import { nameIn, type Story, stateOf, story } from '../support/story.ts';

const { CancelMode } = calls;
const { Priority, RunState, StepState } = runs;
const PROGRAM = new URL('worker.ts', import.meta.url);

interface Started {
  readonly workerId: string;
  readonly name: string;
  stop(): Promise<void>;
}

/** As `docker run -e LIGHTLY_WORKER_ID=…` does it. */
async function startWorker({ address, namespace, atEnd }: Story, settings: Record<string, string>): Promise<Started> {
  const { YARDMASTER_WORKER_ID: _ofThisProcess, ...environment } = process.env;
  const child: ChildProcess = fork(PROGRAM, {
    env: { ...environment, YARDMASTER_ADDRESS: address, YARDMASTER_NAMESPACE: namespace, ...settings },
  });
  const ended = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  atEnd(stop);
  const early = ended.then(([code]) => Promise.reject(new Error(`the worker ended with ${code}`)));
  early.catch(() => {});
  const [told] = await Promise.race([once(child, 'message'), early]);
  return { ...(told as { workerId: string; name: string }), stop };
}

interface Job {
  readonly dataset: string;
  readonly runsOn?: string[];
  readonly priority?: runs.Priority;
}

/** schedule_compute_worker_run: one run of a dataset at a time. */
async function schedule({ admin }: Story, { dataset, runsOn = [], priority = Priority.MID }: Job): Promise<string> {
  const { run } = await admin.scheduleRun({
    what: { case: 'step', value: { action: 'select-samples' } },
    runsOn,
    priority,
    concurrency: { key: `dataset ${dataset}` },
    metadata: { dataset },
    ...jsonInput({ dataset }),
  });
  return run?.runId ?? '';
}

function msOf(time: runs.Attempt['acceptTime']): number {
  return time === undefined ? Number.NaN : Number(time.seconds) * 1_000 + time.nanos / 1e6;
}

/** From acceptance to its end, milliseconds, with who did it. */
function workOf({ runId, steps }: runs.Run) {
  const attempt = steps[0]?.attempts.at(-1);
  return { runId, worker: attempt?.workerName, fromMs: msOf(attempt?.acceptTime), toMs: msOf(attempt?.endTime) };
}

/** Registered with tags, started by id; what it may take is listed before it takes it. */
async function prioritiesAndTags(yard: Story): Promise<void> {
  const { admin, check, tell } = yard;
  const tags = ['gpu', 'gpu-A100', 'bobs-worker'];
  const { worker } = await admin.registerWorker({ name: 'bob', tags });
  const workerId = worker?.workerId ?? '';
  const { alreadyRegistered, warnings } = await admin.registerWorker({ name: 'bob', tags: ['cpu'] });
  check('tags are for good: registering again warns, and changes nothing', alreadyRegistered && warnings.length === 1);

  // Nothing is given to it yet, so that all of them wait together.
  await admin.drainWorker({ workerId, reason: 'not open yet' });
  const bob = await startWorker(yard, { YARDMASTER_WORKER_ID: workerId });
  check('started by id, it is bob', bob.workerId === workerId && bob.name === 'bob');

  const order = [Priority.LOW, Priority.MID, Priority.HIGH, Priority.CRITICAL];
  const ids: string[] = [];
  for (const priority of order) {
    ids.push(await schedule(yard, { dataset: `d${priority}`, runsOn: ['gpu-A100'], priority }));
  }
  const team = await schedule(yard, { dataset: 'team', runsOn: ['team-worker'] });
  const eligible = (await admin.listEligibleRuns({ workerId })).runs;
  tell(`bob may take ${eligible.map(({ priority }) => nameIn(Priority, priority)).join(', ')}`);
  check(
    'what bob may take is listed by priority, and the team’s run is not among it',
    eligible.map(({ runId }) => runId).join() === [...ids].reverse().join(),
  );

  await admin.resumeWorker({ workerId });
  const done = (await Promise.all(ids.map((id) => yard.ended(id)))).map(workOf);
  const byTime = done.toSorted((a, b) => a.fromMs - b.fromMs).map(({ runId }) => runId);
  check('CRITICAL went first, then HIGH, MID and LOW', byTime.join() === [...ids].reverse().join());
  check(
    'all of them on bob',
    done.every(({ worker: name }) => name === 'bob'),
  );

  const { run } = await admin.getRun({ runId: team });
  check('the run for the team waits for it', run?.state === RunState.PENDING);
  await admin.cancelRun({ runId: team, mode: CancelMode.IF_PENDING });
  check('and can be cancelled as long as it waits', stateOf(await yard.ended(team)) === 'CANCELLED');
  await bob.stop();
}

/** Without tags a worker takes every run: the legacy rule. */
async function defaultWorkers(yard: Story): Promise<void> {
  const { check, tell } = yard;
  const anywhere = await schedule(yard, { dataset: 'anywhere' });
  const tagged = await schedule(yard, { dataset: 'tagged', runsOn: ['nobody-has-this'] });
  const [one, two] = await Promise.all([startWorker(yard, {}), startWorker(yard, {})]);
  tell(`two processes without a name were lent ${one.name} and ${two.name}`);
  check('default workers take runs with any runs_on', stateOf(await yard.ended(tagged)) === 'SUCCEEDED');
  check('and those without', stateOf(await yard.ended(anywhere)) === 'SUCCEEDED');
  await Promise.all([one.stop(), two.stop()]);
  const again = await startWorker(yard, {});
  check('a free one is lent again', [one.workerId, two.workerId].includes(again.workerId));
  await again.stop();
}

/** Their OPEN, LOCKED and DONE, and the run's information until its end. */
async function onePerDataset(yard: Story): Promise<void> {
  const { admin, check, tell } = yard;
  const worker = await startWorker(yard, { SLOTS: '4' });
  const ids: string[] = [];
  for (const dataset of ['cars', 'cars', 'cars', 'birds']) ids.push(await schedule(yard, { dataset }));
  const [, second = '', , birds = ''] = ids;
  const { run: held } = await admin.getRun({ runId: second });
  check(
    'while one run works on a dataset, the next is held, though slots are free',
    held?.steps[0]?.state === StepState.BLOCKED,
  );
  const information: string[] = [];
  for await (const { event } of admin.watchRun({ runId: second })) {
    if (event.case !== 'changed') continue;
    const [step] = event.value.steps;
    const line = `${nameIn(StepState, step?.state ?? 0)} ${step?.progressPhase || step?.blockedReason}`.trim();
    if (information.at(-1) !== line) information.push(line);
  }
  tell(`the second run: ${information.join(' → ')}`);
  check(
    'its information comes as it changes, and ends with the run',
    information.at(-1)?.startsWith('SUCCEEDED') === true,
  );
  const cars = await Promise.all(ids.slice(0, 3).map((id) => yard.ended(id)));
  const times = cars.map(workOf).toSorted((a, b) => a.fromMs - b.fromMs);
  const apart = times.every(({ fromMs }, index) => index === 0 || fromMs >= (times[index - 1]?.toMs ?? 0));
  check('no two runs worked on one dataset at the same time', apart);
  const other = workOf(await yard.ended(birds));
  check('and nobody waited for another dataset', other.fromMs < (times[1]?.toMs ?? 0));
  await worker.stop();
}

await story('lightly-workers', async (yard) => {
  await prioritiesAndTags(yard);
  await defaultWorkers(yard);
  await onePerDataset(yard);
});
