/** V6: the HTTP listener as people use it, by the real buf and the real curl. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BadRequestSchema, ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { present } from '../support/conformance.ts';
import { type HttpYard, startHttpYard } from '../support/http_yard.ts';

const run = promisify(execFile);
const BUF = 'node_modules/.bin/buf';
const LIMIT = { timeout: 15_000 };

let yard: HttpYard;
let url: string;
beforeAll(async () => {
  yard = await startHttpYard();
  // As it is typed: where the name means ::1 first, clients go on to 127.0.0.1.
  url = `http://localhost:${yard.port}`;
});
afterAll(() => yard.stop());

const SCHEDULE = '/yardmaster.v1.AdminService/ScheduleRun';
/** The first run of every user, word for word. */
const FIRST_RUN =
  '{"step":{"action":"train","desiredLabels":[{"key":"memory","value":256,"comparator":"COMPARATOR_GREATER_THAN"}]},"runsOn":["gpu-A100"],"input":{"file":"s3://a.tar"}}';

interface Scheduled {
  readonly run: {
    readonly runId: string;
    readonly state: string;
    readonly runsOn: string[];
    readonly inputJson: string;
  };
}

interface Failed {
  readonly code: string;
  readonly details: readonly { readonly type: string; readonly value: string }[];
}

async function buf(...args: string[]): Promise<unknown> {
  const { stdout } = await run(BUF, ['curl', ...args], LIMIT);
  return JSON.parse(stdout);
}

async function bufFails(...args: string[]): Promise<string> {
  const failure = await run(BUF, ['curl', ...args], LIMIT).catch((error: { stderr: string }) => error);
  return failure.stderr;
}

async function curl(...args: string[]): Promise<string> {
  return (await run('curl', ['--silent', '--max-time', '10', ...args], LIMIT)).stdout;
}

function expectScheduled(answer: unknown): void {
  const { run: scheduled } = answer as Scheduled;
  expect(scheduled).toMatchObject({ state: 'RUN_STATE_PENDING', runsOn: ['gpu-A100'] });
  expect(JSON.parse(scheduled.inputJson)).toEqual({ file: 's3://a.tar' });
}

describe('V6 buf curl', () => {
  it('the line of the README, with reflection and no protocol named', async () => {
    expectScheduled(await buf('--http2-prior-knowledge', '-d', FIRST_RUN, url + SCHEDULE));
  });

  it.each(['connect', 'grpc', 'grpcweb'])('%s over HTTP/2, the schema by reflection', async (protocol) => {
    const args = ['--protocol', protocol, '--http2-prior-knowledge', '-d', FIRST_RUN, url + SCHEDULE];
    expectScheduled(await buf(...args));
    expectScheduled(await buf('--reflect-protocol', 'grpc-v1', ...args));
    expectScheduled(await buf('--reflect-protocol', 'grpc-v1alpha', ...args));
  });

  it.each(['connect', 'grpc', 'grpcweb'])('%s over HTTP/2, the schema from the files', async (protocol) => {
    const args = ['--schema', 'proto', '--protocol', protocol, '--http2-prior-knowledge'];
    expectScheduled(await buf(...args, '-d', FIRST_RUN, url + SCHEDULE));
  });

  it.each(['connect', 'grpcweb'])('%s over HTTP/1.1, the schema from the files', async (protocol) => {
    expectScheduled(await buf('--schema', 'proto', '--protocol', protocol, '-d', FIRST_RUN, url + SCHEDULE));
  });

  it('lists the services and their methods', async () => {
    const { stdout } = await run(BUF, ['curl', '--http2-prior-knowledge', '--list-methods', url], LIMIT);
    expect(stdout).toContain('yardmaster.v1.AdminService/ScheduleRun');
    expect(stdout).toContain('grpc.reflection.v1.ServerReflection/ServerReflectionInfo');
    expect(stdout).not.toContain('WorkerService');
  });

  it.each(['connect', 'grpc', 'grpcweb'])('%s shows an error with its reason and its field', async (protocol) => {
    const said = await bufFails(
      '--schema',
      'proto',
      '--protocol',
      protocol,
      '--http2-prior-knowledge',
      '-d',
      '{"step":{}}',
      url + SCHEDULE,
    );
    const { code, details } = JSON.parse(said) as Failed;
    expect(code).toBe('invalid_argument');
    expect(details.map(({ type }) => type)).toEqual(['google.rpc.ErrorInfo', 'google.rpc.BadRequest']);
    const [info, badRequest] = details.map(({ value }) => Buffer.from(value, 'base64'));
    expect(fromBinary(ErrorInfoSchema, present(info))).toMatchObject({ reason: 'INVALID_FIELD', domain: 'yardmaster' });
    expect(fromBinary(BadRequestSchema, present(badRequest)).fieldViolations).toMatchObject([{ field: 'step.action' }]);
  });

  it('grpc over HTTP/2 at the other port too', async () => {
    const at = `http://localhost:${yard.server.grpcPort}`;
    expectScheduled(await buf('--protocol', 'grpc', '--http2-prior-knowledge', '-d', FIRST_RUN, at + SCHEDULE));
    const health = await buf(
      '--protocol',
      'grpc',
      '--http2-prior-knowledge',
      '-d',
      '{}',
      `${at}/grpc.health.v1.Health/Check`,
    );
    expect(health).toEqual({ status: 'SERVING' });
  });
});

describe('V6 curl', () => {
  const JSON_TYPE = ['-H', 'content-type: application/json'];

  it.each(['--http1.1', '--http2-prior-knowledge'])('a run by JSON with %s', async (version) => {
    expectScheduled(JSON.parse(await curl(version, ...JSON_TYPE, '-d', FIRST_RUN, url + SCHEDULE)));
  });

  it.each(['--http1.1', '--http2-prior-knowledge'])('health, readiness and metrics with %s', async (version) => {
    const status = ['--output', '/dev/null', '--write-out', '%{http_code} %{http_version}'];
    const shown = version === '--http1.1' ? '1.1' : '2';
    for (const path of ['/healthz', '/readyz', '/metrics']) {
      expect(await curl(version, ...status, url + path), path).toBe(`200 ${shown}`);
    }
    expect(await curl(version, `${url}/metrics`)).toContain('# TYPE yardmaster_commits_total counter');
    expect(await curl(version, '--head', `${url}/healthz`)).toMatch(/^HTTP\/\S+ 200/);
  });

  it('a body of a megabyte, which curl announces first', async () => {
    const { port } = yard;
    const inputJson = JSON.stringify(JSON.stringify('x'.repeat(1_000_000)));
    const body = `{"step":{"action":"a"},"inputJson":${inputJson}}`;
    const child = run(
      'curl',
      ['--silent', '--max-time', '10', ...JSON_TYPE, '--data-binary', '@-', `http://localhost:${port}${SCHEDULE}`],
      {
        ...LIMIT,
        maxBuffer: 8 * 1024 * 1024,
      },
    );
    child.child.stdin?.end(body);
    const { run: scheduled } = JSON.parse((await child).stdout) as Scheduled;
    expect(scheduled.inputJson).toHaveLength(1_000_002);
  });

  it('a field that does not exist and a wrong type are refused, by their names', async () => {
    const unknown = JSON.parse(await curl(...JSON_TYPE, '-d', '{"step":{"action":"a"},"runs_onn":[]}', url + SCHEDULE));
    expect(unknown).toMatchObject({ code: 'invalid_argument', message: expect.stringContaining('runs_onn') });
    const wrong = JSON.parse(await curl(...JSON_TYPE, '-d', '{"step":{"action":7}}', url + SCHEDULE));
    expect(wrong).toMatchObject({ code: 'invalid_argument', message: expect.stringContaining('action') });
  });
});
