/**
 * A DistCompute project: numbered jobs go through five stages, each stage's workers get the output of the one before,
 * twenty workers of five contributors share them out. Some outputs are bad: the next stage reports them, and the stage
 * that made them runs again. A leaderboard counts what each contributor completed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { run as runs } from 'yardmaster/client';
import { action, InputInvalidError, type StepContext } from 'yardmaster/worker';
import { COMMAND } from '../support/plane.ts';
import { type Story, stateOf, story } from '../support/story.ts';

const STAGES = ['scrape', 'download', 'filter', 'embed', 'publish'] as const;
const WORKERS_PER_STAGE = 4;
const NICKNAMES = ['Ada', 'Grace', 'Edsger', 'Barbara', 'Tony'];
const JOBS = 40;
/** The first try at scraping these gives a broken archive. */
const BROKEN = new Set([7, 23]);
/** Reports it takes until the stage before runs again; DistCompute needs five, and nobody wants to wait for them here. */
const REPORTS_MAX = 2;
const WORK_MS = 5;

type Stage = (typeof STAGES)[number];

interface Parcel {
  readonly file: string;
  readonly stages: readonly string[];
  readonly broken?: boolean;
}

const done = { works: 0, reports: 0, byNickname: new Map<string, number>() };

/** What a stage's worker does with a job; the number is the same through all stages. */
function handler(stage: Stage, nickname: string, scraped: Map<number, number>) {
  return async ({ input, runNumber, progress, worker }: StepContext<string | Parcel>): Promise<Parcel> => {
    progress(`${stage} of job ${runNumber} by ${worker.name}`);
    await wait(WORK_MS);
    const number = Number(runNumber);
    if (typeof input !== 'string' && input.broken) {
      done.reports += 1;
      throw new InputInvalidError(`job ${number}: the archive cannot be opened`);
    }
    const parcel = typeof input === 'string' ? { file: input, stages: [] } : input;
    const tries = (scraped.get(number) ?? 0) + 1;
    if (stage === 'scrape') scraped.set(number, tries);
    done.works += 1;
    done.byNickname.set(nickname, (done.byNickname.get(nickname) ?? 0) + 1);
    const output = { file: parcel.file, stages: [...parcel.stages, stage] };
    return stage === 'scrape' && tries === 1 && BROKEN.has(number) ? { ...output, broken: true } : output;
  };
}

/** Four workers a stage; each contributor has one of each but one. */
async function startFleet({ worker }: Story) {
  const scraped = new Map<number, number>();
  const places = STAGES.flatMap((stage) => Array.from({ length: WORKERS_PER_STAGE }, () => stage));
  return Promise.all(
    places.map((stage, index) => {
      const nickname = NICKNAMES[index % NICKNAMES.length] ?? '';
      return worker({
        name: `${stage}-${(index % WORKERS_PER_STAGE) + 1}`,
        nickname,
        actions: { [stage]: action(handler(stage, nickname, scraped)) },
      });
    }),
  );
}

async function putPipeline({ admin }: Story): Promise<void> {
  const steps = STAGES.map((stage, index) => ({
    name: stage,
    action: stage,
    needs: STAGES.slice(Math.max(0, index - 1), index),
    maxInvalidReports: REPORTS_MAX,
  }));
  await admin.putWorkflow({ name: 'dataset', steps });
}

/** init.py --json, with a file of one input a line; again, it would submit only what is missing. */
async function submitAll({ address, namespace }: Story): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'yardmaster-jobs-'));
  const file = join(folder, 'jobs.txt');
  await writeFile(file, Array.from({ length: JOBS }, (_, index) => `s3://crawl/${index + 1}.tar\n`).join(''));
  const command = ['--address', address, '--namespace', namespace, 'schedule', '--workflow', 'dataset', '--from', file];
  const child = spawn(process.execPath, [COMMAND, ...command], { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.on('data', (data) => {
    printed += data;
  });
  const [code] = await once(child, 'close');
  await rm(folder, { recursive: true });
  if (code !== 0) throw new Error(`schedule --from ended with ${code}`);
  return printed.trim().split('\n');
}

async function checkRuns({ check, tell }: Story, ended: readonly runs.Run[]): Promise<void> {
  check(
    'every job went through',
    ended.every((run) => stateOf(run) === 'SUCCEEDED'),
  );
  const numbers = ended.map(({ number }) => Number(number));
  check(
    `they are numbered 1 to ${JOBS}, in the order of the file`,
    numbers.every((number, index) => number === index + 1),
  );
  const expected = (number: number) => JSON.stringify({ file: `s3://crawl/${number}.tar`, stages: STAGES });
  check(
    'the output of each is what five stages made of it',
    ended.every(({ outputJson }, index) => outputJson === expected(index + 1)),
  );
  const generations = ended.map(({ number, steps }) => ({ number: Number(number), made: steps[0]?.generation ?? 0 }));
  const again = generations.filter(({ made }) => made > Math.min(...generations.map((one) => one.made)));
  tell(`scraped again: jobs ${again.map(({ number }) => number).join(' and ')}`);
  check('what was reported bad was made again, and nothing else', again.map(({ number }) => number).join() === '7,23');
}

async function checkCounts({ admin, check, tell }: Story): Promise<void> {
  const { actions, runsTotal, runsEnded } = await admin.getStats({ workflow: 'dataset' });
  tell(`stages: ${actions.map((one) => `${one.action} ${one.succeeded}`).join(', ')}`);
  check(
    'every stage has done every job, and nothing is left',
    runsTotal === BigInt(JOBS) &&
      runsEnded === BigInt(JOBS) &&
      actions.length === STAGES.length &&
      actions.every((one) => one.succeeded === BigInt(JOBS) && one.pending === 0n && one.running === 0n),
  );
  const { entries } = await admin.getLeaderboard({});
  entries.forEach(({ nickname, completedCount }, index) => {
    tell(`${index + 1}. ${nickname.padEnd(8)} ${completedCount}`);
  });
  check(
    'the leaderboard has each completion once, by contributor',
    entries.length === NICKNAMES.length &&
      entries.every(({ nickname, completedCount }) => Number(completedCount) === done.byNickname.get(nickname)),
  );
  const total = entries.reduce((sum, { completedCount }) => sum + Number(completedCount), 0);
  check(
    'those that were made again count twice, reports not at all',
    total === JOBS * STAGES.length + BROKEN.size && done.reports === BROKEN.size * REPORTS_MAX,
  );
}

await story('distcompute-pipeline', async (yard) => {
  const { admin, check, tell } = yard;
  await putPipeline(yard);
  const ids = await submitAll(yard);
  const waiting = await admin.getStats({ workflow: 'dataset' });
  const [first] = STAGES;
  const atStart = waiting.actions.find((one) => one.action === first);
  check('jobs wait at the first stage before anybody is there', Number(atStart?.pending) === JOBS);

  const workers = await startFleet(yard);
  const names = workers.map(({ displayName }) => displayName);
  tell(`${workers.length} workers: ${names.slice(0, 3).join(', ')} …`);
  check('each worker has a name of its own to be told by', new Set(names).size === STAGES.length * WORKERS_PER_STAGE);
  const ended = await Promise.all(ids.map((id) => yard.ended(id)));
  await checkRuns(yard, ended);
  await checkCounts(yard);
});
