import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/until.ts';
import { LANGUAGES, makeReady, READY_MS_MAX } from './languages.ts';
import { Yard } from './yard.ts';

let yard: Yard;
beforeAll(async () => {
  for (const language of LANGUAGES) await makeReady(language);
  yard = await Yard.open();
}, READY_MS_MAX * LANGUAGES.length);
afterAll(() => yard?.close());

const work = (parts: number, seconds: number) => JSON.stringify({ parts, seconds });
/** The log of one attempt at `work`, with nothing missing and nothing twice. */
const workLog = (parts: number, attempt = 1) =>
  Array.from({ length: parts }, (_, index) => `${attempt}.${index + 1} part ${index + 1} of ${parts}`);
const outcomes = (run: { steps: { attempts: { outcome: string }[] }[] }) =>
  run.steps[0]?.attempts.map(({ outcome }) => outcome);

describe.each(LANGUAGES)('$name', (language) => {
  const { name } = language;
  const tag = `tag-${name}`;
  const here = ['--runs-on', tag];
  afterEach(() => yard.endProcesses());

  describe('the worker', () => {
    it('runs a step: log, progress and output arrive', async () => {
      await yard.worker(language, `${name}-greeter`, ['--tag', tag]);
      const runId = await yard.schedule(language, ...here, '--input', '{"name":"Ada"}', 'greet');
      const run = await yard.untilRun(runId, 'SUCCEEDED');
      expect(JSON.parse(run.outputJson)).toEqual({ greeting: 'hello Ada', attempt: 1 });
      expect(run.steps[0]).toMatchObject({ progressText: 'thinking', progressFraction: 0.5 });
      expect(await yard.log(runId)).toEqual(['1.1 a greeting for Ada']);
    });

    it('reports a failing handler, which is tried again unless that is no use', async () => {
      await yard.worker(language, `${name}-failing`, ['--tag', tag]);
      const twice = await yard.schedule(language, ...here, '--attempts', '2', '--input', '"clay"', 'fail');
      const once = await yard.schedule(language, ...here, '--attempts', '2', '--input', '"for good"', 'fail');
      const failed = await yard.untilRun(twice, 'FAILED');
      expect(failed.error).toMatchObject({ reason: 'APPLICATION', message: expect.stringMatching(/^cannot work on/) });
      expect(failed.steps[0]?.attempts).toHaveLength(2);
      const forGood = await yard.untilRun(once, 'FAILED');
      expect(forGood.error).toMatchObject({ type: expect.any(String), message: 'no use in trying again' });
      expect(forGood.steps[0]?.attempts).toHaveLength(1);
    });

    it('fails an attempt whose output is too large, and goes on', async () => {
      await yard.worker(language, `${name}-large`, ['--tag', tag]);
      const inputJson = JSON.stringify({ name: 'x'.repeat(1024 * 1024 - 20) });
      const step = { action: 'greet', retry: { maxAttempts: 2 } };
      const { run } = await yard.client.scheduleRun({ what: { case: 'step', value: step }, runsOn: [tag], inputJson });
      const failed = await yard.untilRun(run?.runId ?? '', 'FAILED');
      expect(failed.error?.message).toMatch(/limit/);
      expect(failed.steps[0]?.attempts).toHaveLength(1);
      const next = await yard.schedule(language, ...here, '--input', '{"name":"Bo"}', 'greet');
      await yard.untilRun(next, 'SUCCEEDED');
    });

    it('is given the labelled run once its label says so, and not the others', async () => {
      const model = `llama-${name}`;
      for (const each of LANGUAGES) await yard.worker(each, `${each.name}-labels`, ['--tag', `tag-${each.name}`]);
      const runId = await yard.schedule(language, '--label', `model=${model}`, '--input', '{"name":"Ada"}', 'greet');
      const waiting = await yard.admin(language, 'explain', runId);
      expect(waiting.lines[0]).toContain('greet: UNSATISFIABLE_NOW: ');
      expect(waiting.lines.find((line) => line.startsWith(`  ${name}-labels: `))).toMatch(
        new RegExp(`LABEL model: has .*, needs .*${model}`),
      );
      await yard.untilRun(
        await yard.schedule(language, ...here, '--input', JSON.stringify(model), 'load-model'),
        'SUCCEEDED',
      );
      const run = await yard.untilRun(runId, 'SUCCEEDED');
      expect(run.steps[0]?.attempts[0]?.workerName).toBe(`${name}-labels`);
    });

    it('gets its work again when it is killed and started under the same name', async () => {
      const killed = await yard.worker(language, `${name}-killed`, ['--tag', tag, '--slots', '2']);
      const runId = await yard.schedule(language, ...here, '--input', work(4, 2), 'work');
      await until(async () => (await yard.log(runId)).length > 0);
      killed.child.kill('SIGKILL');
      await until(() => killed.code() !== null);
      await yard.worker(language, `${name}-killed`, ['--tag', tag, '--slots', '2']);
      const run = await yard.untilRun(runId, 'SUCCEEDED');
      expect(run.steps[0]?.attempts.map(({ workerName }) => workerName)).toEqual([`${name}-killed`, `${name}-killed`]);
      expect((await yard.log(runId)).filter((line) => line.startsWith('2.'))).toEqual(workLog(4, 2));
    });

    it('resumes after its stream was cut; the result sent meanwhile is taken once', async () => {
      const proxy = await yard.proxy();
      const worker = await yard.worker(language, `${name}-cut`, ['--tag', tag], proxy.address);
      const runId = await yard.schedule(language, ...here, '--input', work(10, 1), 'work');
      await until(async () => (await yard.log(runId)).length > 0);
      proxy.cut();
      await until(() => worker.output().includes('work: finished'), worker.output);
      await yard.untilWorker(`${name}-cut`, 'DISCONNECTED');
      proxy.mend();
      const run = await yard.untilRun(runId, 'SUCCEEDED');
      expect(outcomes(run)).toEqual(['SUCCEEDED']);
      expect(await yard.log(runId)).toEqual(workLog(10));
      expect(worker.output()).toContain(`resumed as ${name}-cut`);
      expect(await yard.untilWorker(`${name}-cut`, 'IDLE')).toMatchObject({ completedCount: 1n, slotsUsed: 0 });
    });

    it('tells a result again whose acknowledgement was lost, and it counts once', async () => {
      const proxy = await yard.proxy();
      const worker = await yard.worker(language, `${name}-deaf`, ['--tag', tag], proxy.address);
      const runId = await yard.schedule(language, ...here, '--input', work(2, 1), 'work');
      await until(async () => (await yard.log(runId)).length > 0);
      proxy.deafen();
      await yard.untilRun(runId, 'SUCCEEDED');
      proxy.cut();
      proxy.mend();
      await until(() => worker.output().includes('resumed as'), worker.output);
      expect(await yard.untilWorker(`${name}-deaf`, 'IDLE')).toMatchObject({ completedCount: 1n, slotsUsed: 0 });
      expect(outcomes(await yard.run(runId))).toEqual(['SUCCEEDED']);
      expect(await yard.log(runId)).toEqual(workLog(2));
      const next = await yard.schedule(language, ...here, '--input', '{"name":"Bo"}', 'greet');
      await yard.untilRun(next, 'SUCCEEDED');
    });

    it('notices a connection that is silent, and stays on one that only beats', async () => {
      const proxy = await yard.proxy();
      const worker = await yard.worker(language, `${name}-silent`, ['--tag', tag], proxy.address);
      // Longer than the silence that either side puts up with.
      const runId = await yard.schedule(language, ...here, '--input', work(1, 6), 'work');
      await yard.untilRun(runId, 'SUCCEEDED');
      expect(worker.output()).not.toContain('disconnected');
      const second = await yard.schedule(language, ...here, '--input', work(4, 2), 'work');
      await yard.untilRun(second, 'RUNNING');
      proxy.freeze();
      await until(() => worker.output().includes('resumed as'), worker.output);
      expect(outcomes(await yard.untilRun(second, 'SUCCEEDED'))).toEqual(['SUCCEEDED']);
      expect(await yard.log(second)).toEqual(workLog(4));
    });

    it('goes on over a restart of the server', async () => {
      const proxy = await yard.proxy();
      const worker = await yard.worker(language, `${name}-restart`, ['--tag', tag], proxy.address);
      const runId = await yard.schedule(language, ...here, '--input', work(8, 2), 'work');
      await until(async () => (await yard.log(runId)).length > 0);
      await yard.restart();
      expect(outcomes(await yard.untilRun(runId, 'SUCCEEDED'))).toEqual(['SUCCEEDED']);
      expect(worker.output()).toContain('resumed as');
      expect(await yard.log(runId)).toEqual(workLog(8));
    });

    it('lets a cancel reach the handler, and the slot is free again', async () => {
      const worker = await yard.worker(language, `${name}-cancel`, ['--tag', tag]);
      // One long part: a worker that says nothing meanwhile learns of it by the order alone.
      const runId = await yard.schedule(language, ...here, '--input', work(1, 60), 'work');
      await yard.untilRun(runId, 'RUNNING');
      expect((await yard.admin(language, 'cancel', '--reason', 'not wanted', runId)).code).toBe(0);
      await until(() => worker.output().includes('work: cancelled'), worker.output);
      await yard.untilRun(runId, 'CANCELLED');
      expect(await yard.untilWorker(`${name}-cancel`, 'IDLE')).toMatchObject({ slotsUsed: 0 });
    });

    it('logs fast without losing a line', async () => {
      const worker = await yard.worker(language, `${name}-chatty`, ['--tag', tag]);
      const runId = await yard.schedule(language, ...here, '--input', work(3000, 0), 'work');
      await yard.untilRun(runId, 'SUCCEEDED');
      expect(await yard.log(runId)).toEqual(workLog(3000));
      expect(worker.output()).not.toContain('refused');
    });

    it('finishes what runs when it is asked to stop, takes nothing new and says goodbye', async () => {
      const worker = await yard.worker(language, `${name}-stop`, ['--tag', tag]);
      const runId = await yard.schedule(language, ...here, '--input', work(2, 1), 'work');
      await yard.untilRun(runId, 'RUNNING');
      worker.child.kill('SIGTERM');
      const next = await yard.schedule(language, ...here, '--input', '{"name":"Bo"}', 'greet');
      await until(() => worker.code() !== null, worker.output);
      expect(worker.code()).toBe(0);
      await yard.untilRun(runId, 'SUCCEEDED');
      await yard.untilWorker(`${name}-stop`, 'OFFLINE');
      await yard.admin(language, 'cancel', next);
      await yard.untilRun(next, 'CANCELLED');
    });

    it('stays away when another process took its name', async () => {
      const first = await yard.worker(language, `${name}-twice`, ['--tag', tag]);
      await yard.worker(language, `${name}-twice`, ['--tag', tag]);
      await until(() => first.code() !== null, first.output);
      expect(first.code()).not.toBe(0);
      expect(first.output()).toContain('SUPERSEDED');
    });

    it('gives up when its hello is refused for good', async () => {
      await yard.worker(language, `${name}-tags`, ['--tag', tag]);
      const other = yard.worker(language, `${name}-tags`, ['--tag', 'another']);
      await expect(other).rejects.toThrow(/did not connect: .*failed_?precondition/i);
    });
  });

  describe('the admin program', () => {
    it('registers a worker, once, and lists it', async () => {
      const words = ['register', '--tag', 'a', '--tag', 'b', `${name}-registered`];
      const first = await yard.admin(language, ...words);
      expect(first.lines[0]).toMatch(new RegExp(`^registered ${name}-registered \\S+ tags a,b$`));
      const second = await yard.admin(language, ...words);
      expect(second.lines[0]).toBe(`already ${first.lines[0]}`);
      const others = await yard.admin(language, 'register', '--tag', 'c', `${name}-registered`);
      expect(others).toMatchObject({ code: 0, errors: expect.stringContaining('warning TAGS_KEPT') });
      const labels = ['--tag', tag, '--label', 'memory=64', '--label', 'model=llama', '--slots', '3'];
      await yard.worker(language, `${name}-listed`, labels);
      const { code, lines } = await yard.admin(language, 'workers');
      expect(code).toBe(0);
      expect(lines.find((line) => line.startsWith(`${name}-registered `))).toMatch(/ OFFLINE slots 0\/\d+ tags a,b/);
      const listed = lines.find((line) => line.startsWith(`${name}-listed `)) ?? '';
      expect(listed).toContain(` IDLE slots 0/3 tags ${tag} labels `);
      expect(JSON.parse(listed.slice(listed.indexOf('{')))).toEqual({ memory: 64, model: 'llama' });
    });

    it('watches a run to its end, and exits with how it ended', async () => {
      await yard.worker(language, `${name}-watched`, ['--tag', tag]);
      const good = await yard.schedule(language, ...here, '--input', work(3, 1), 'work');
      const watched = await yard.admin(language, 'watch', good);
      expect(watched.code).toBe(0);
      expect(watched.lines.at(-1)).toMatch(/^output \{"parts": ?3\}$/);
      expect(watched.lines.at(-2)).toMatch(new RegExp(`^SUCCEEDED \\[work: SUCCEEDED on ${name}-watched 100%`));
      expect(watched.lines.some((line) => line.startsWith('RUNNING '))).toBe(true);
      const bad = await yard.admin(language, 'watch', await yard.schedule(language, ...here, 'fail'));
      expect(bad.code).toBe(1);
      expect(bad.lines.at(-1)).toContain(`error APPLICATION ${language.errorType}: cannot work on`);
    });

    it('submits once under one request id, with numbers compared as numbers', async () => {
      await yard.worker(language, `${name}-numbers`, ['--tag', tag, '--label', 'memory=64']);
      const words = [
        ...here,
        '--request-id',
        `${name}-1`,
        '--label',
        'memory>=100',
        '--input',
        '{"name":"Bo"}',
        'greet',
      ];
      const runId = await yard.schedule(language, ...words);
      expect(await yard.schedule(language, ...words)).toBe(runId);
      const { lines } = await yard.admin(language, 'explain', runId);
      expect(lines.find((line) => line.startsWith(`  ${name}-numbers: `))).toContain(
        'LABEL memory: has 64, needs ≥ 100',
      );
      const smaller = await yard.schedule(
        language,
        ...here,
        '--label',
        'memory<100',
        '--input',
        '{"name":"Bo"}',
        'greet',
      );
      await yard.untilRun(smaller, 'SUCCEEDED');
      expect((await yard.admin(language, 'cancel', runId)).lines).toEqual(['CANCELLED']);
    });

    it('says what the server says no to, with exit code 2', async () => {
      const nothing = '00000000-0000-7000-8000-000000000000';
      for (const command of ['watch', 'explain', 'cancel']) {
        const { code, errors } = await yard.admin(language, command, nothing);
        expect({ command, code }).toEqual({ command, code: 2 });
        expect(errors).toMatch(/not_?found/i);
      }
      expect((await yard.admin(language, 'schedule', '--label', 'nonsense', 'greet')).code).toBe(2);
      expect((await yard.admin(language)).code).toBe(2);
    });
  });
});
