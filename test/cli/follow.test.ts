/** What is followed outlives the server it is followed on. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { type RunningServer, startServer } from '../../src/server/server.ts';
import { createWorker, type Worker } from '../../src/worker/index.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { until } from '../support/until.ts';
import { begin, documents, finish, useCli } from './support.ts';

const LINES = 250;

interface Context {
  log(text: string): void;
}

/** A handler that says so many lines, then waits until it is let go, then says one more. */
function talkative(lines: number) {
  let letGo = () => {};
  const gone = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const talk = async (context: Context) => {
    for (let index = 1; index <= lines; index += 1) context.log(`line ${index} of many`);
    await gone;
    context.log('the last one');
    return 'said';
  };
  return { talk, letGo: () => letGo() };
}

const linesIn = (text: string) =>
  [...text.matchAll(/line (\d+) of many|the last one/g)].map(([, number]) => number ?? 'last');
const ALL = [...Array.from({ length: LINES }, (_, index) => String(index + 1)), 'last'];

describe('yardmaster logs --follow', () => {
  const yard = useCli();

  it('prints what there is and what comes, and ends with the run', async () => {
    const { talk, letGo } = talkative(LINES);
    await yard.worker({ name: 'talker', actions: { talk } });
    const runId = await yard.submit('talk');
    const early = yard.begin('logs', runId, '--follow');
    await early.says(`line ${LINES} of many`);
    const late = yard.begin('logs', runId, '--follow', '--step', 'talk');
    const json = yard.begin('--json', 'logs', runId, '--follow');
    await Promise.all([late.says(`line ${LINES} of many`), json.says(`line ${LINES} of many`)]);
    letGo();
    for (const told of [early, late, json]) expect(await told.exitCode).toBe(0);
    for (const told of [early, late, json]) expect(linesIn(told.stdout)).toEqual(ALL);
    expect(early.stdout).not.toContain('==>');
    expect(documents(json.stdout).every(({ stepName }) => stepName === 'talk')).toBe(true);
    const over = await yard.run('logs', runId, '--follow');
    expect({ ...over, stdout: linesIn(over.stdout) }).toEqual({ exitCode: 0, stdout: ALL, stderr: '' });
    expect(await yard.run('logs', runId, '--follow', '--step', 'sing')).toMatchObject({ exitCode: 3 });
  });

  it('ends with 130 on Ctrl-C', async () => {
    const { talk, letGo } = talkative(1);
    await yard.worker({ name: 'talker', actions: { talk } });
    const told = yard.begin('logs', await yard.submit('talk'), '--follow');
    await told.says('line 1');
    told.interrupt();
    expect(await told.exitCode).toBe(130);
    letGo();
  });
});

describe('a server that starts again', () => {
  let database: TestDatabase;
  let server: RunningServer;
  let worker: Worker | undefined;
  const start = async (grpcPort: number) => {
    server = await startServer({ databaseUrl: database.url, grpcPort }, SILENT_LOG);
  };
  const at = (...args: string[]) => ['--address', `127.0.0.1:${server.grpcPort}`, ...args];
  beforeEach(async () => {
    database = await createTestDatabase();
    await start(0);
  });
  afterEach(async () => {
    await worker?.stop({ graceMs: 0 });
    await server.stop();
    await database.drop();
  });

  it('is followed on, and every line, state and worker is told once', async () => {
    const { talk, letGo } = talkative(LINES);
    worker = createWorker({ address: `127.0.0.1:${server.grpcPort}`, name: 'talker', actions: { talk } });
    await worker.start();
    const follow = begin(at('--json', 'schedule', 'talk', '--follow'));
    await follow.says(`line ${LINES} of many`);
    const runId = (documents(follow.stdout)[0] as { run: { runId: string } }).run.runId;
    const logs = begin(at('logs', runId, '--follow'));
    const workers = begin(at('--json', 'workers', '--watch'));
    await Promise.all([logs.says(`line ${LINES} of many`), workers.says('caughtUp')]);

    const { grpcPort } = server;
    await server.stop();
    await start(grpcPort);
    await until(() => server.plane.watches.count >= 4);
    await finish(at('register', 'newcomer'));
    await workers.says('newcomer');
    letGo();
    for (const told of [follow, logs]) expect(await told.exitCode).toBe(0);
    expect(linesIn(logs.stdout)).toEqual(ALL);
    expect(linesIn(follow.stdout)).toEqual(ALL);
    const states = documents(follow.stdout)
      .flatMap((event) => ('changed' in event ? [event.changed as { state: string; revision: string }] : []))
      .map(({ state, revision }) => `${revision} ${state}`);
    expect(states).toHaveLength(new Set(states).size);
    expect(states.at(-1)).toMatch(/SUCCEEDED/);
    workers.interrupt();
    expect(await workers.exitCode).toBe(130);
    const events = documents(workers.stdout);
    expect(events.filter((event) => 'caughtUp' in event)).toHaveLength(1);
    expect(events.filter((event) => 'deletedWorkerId' in event)).toEqual([]);
  });
});

it('a server that was never there is given up', { timeout: 30_000 }, async () => {
  const { exitCode, stderr } = await finish(['--address', '127.0.0.1:1', 'workers', '--watch']);
  expect({ exitCode, stderr }).toEqual({ exitCode: 4, stderr: expect.stringContaining('127.0.0.1:1') });
});
