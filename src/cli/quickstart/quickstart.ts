/** `npm run quickstart`: the plane, three workers and a little story of runs, in one terminal. `--once` ends after it. */
import { StepState } from '../../../gen/yardmaster/v1/run_pb.ts';
import { type AdminClient, createAdminClient } from '../../client/index.ts';
import { sleep, systemClock } from '../../lib/clock.ts';
import { configFromEnvironment } from '../../server/config.ts';
import { startServer } from '../../server/server.ts';
import { FLEET, type Fleet, startFleet } from './fleet.ts';
import { type Chapter, STORY } from './story.ts';

const NS_PER_MS = 1e6;
/** A chapter that takes longer than this has gone wrong. */
const CHAPTER_MS_MAX = 10_000;

const once = process.argv.includes('--once');

async function main(): Promise<number> {
  const config = configFromEnvironment();
  const server = await startServer({ ...config, logLevel: 'warn' });
  const address = `${server.host}:${server.grpcPort}`;
  const fleet = await startFleet(address, config.token);
  const admin = createAdminClient({ address, token: config.token });
  const stop = async () => {
    await fleet.stop();
    admin.close();
    await server.stop();
  };
  try {
    introduce(address, server.database);
    let surprises = 0;
    for (const [index, chapter] of STORY.entries()) {
      if (!(await tell(index + 1, chapter, admin, fleet))) surprises += 1;
    }
    console.log(surprises === 0 ? 'Everything went as told.\n' : `${surprises} went otherwise than told.\n`);
    if (!once && surprises === 0) await stayUp(address, `http://${server.host}:${server.httpPort}`, config.token);
    return surprises === 0 ? 0 : 1;
  } finally {
    await stop();
  }
}

function introduce(address: string, database: string): void {
  console.log(`\nYardmaster on ${address}\n  ${database}\n\nWorkers, each a process with one stream:`);
  for (const { name, tags, labels } of FLEET) {
    const shown = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    console.log(`  ${name.padEnd(16)} tags ${tags.join(', ').padEnd(14)} labels ${shown.join(', ')}`);
  }
  console.log('');
}

/** Submits the chapter's run and says who got it; false when it was not who it should be. */
async function tell(number: number, chapter: Chapter, admin: AdminClient, fleet: Fleet): Promise<boolean> {
  console.log(`${number}. ${chapter.title}`);
  let fromNs = process.hrtime.bigint();
  let since = 'submission';
  const { run } = await admin.scheduleRun({ ...chapter.request, inputJson: JSON.stringify({ chapter: number }) });
  const runId = run?.runId ?? '';
  if (chapter.waitsFor) {
    const waiting = (await admin.getRun({ runId })).run?.steps[0]?.state === StepState.PENDING;
    console.log(waiting ? '   nobody has it: the run waits' : '   it should have waited, and did not');
    if (!waiting) return false;
    const { worker, labels } = chapter.waitsFor;
    console.log(`   ${worker} upserts ${JSON.stringify(labels)}`);
    fromNs = process.hrtime.bigint();
    since = 'the upsert';
    fleet.upsertLabels(worker, labels);
  }
  const late = new AbortController();
  const entered = await Promise.race([
    fleet.entered(runId),
    sleep(systemClock(), CHAPTER_MS_MAX, late.signal).then(
      () => null,
      () => null,
    ),
  ]);
  late.abort();
  if (entered === null) {
    console.log(`   → nobody took it within ${CHAPTER_MS_MAX} ms\n`);
    return false;
  }
  const tookMs = Number(entered.atNs - fromNs) / NS_PER_MS;
  const asTold = entered.worker === chapter.expectedWorker;
  console.log(`   → ${entered.worker}, ${tookMs.toFixed(1)} ms from ${since} to handler`);
  console.log(
    asTold ? `     because ${chapter.why}\n` : `     it should have been ${chapter.expectedWorker}: ${chapter.why}\n`,
  );
  return asTold;
}

/** Until Ctrl-C or SIGTERM. */
async function stayUp(address: string, url: string, token: string | undefined): Promise<void> {
  const authorization = token === undefined ? '' : ' -H "authorization: Bearer $YARDMASTER_TOKEN" --reflect-header "*"';
  const request = `'{"step": {"action": "train"}, "runsOn": ["gpu"], "input": {"file": "s3://a.tar"}}'`;
  console.log(
    `It stays up; Ctrl-C ends it. Connect a worker of your own to ${address} (README.md shows one), or submit:\n`,
  );
  console.log(
    `  npx buf curl --http2-prior-knowledge${authorization} -d ${request} ${url}/yardmaster.v1.AdminService/ScheduleRun\n`,
  );
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`The quickstart could not go on: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
