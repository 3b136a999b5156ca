/** `yardmaster schedule`: submits a run, and follows it when asked to. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Duration } from '@bufbuild/protobuf/wkt';
import { Command, Option } from 'commander';
import {
  type ScheduleRunRequestSchema,
  ScheduleRunResponseSchema,
} from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { type DesiredLabel, PrioritySchema, RunState, StickySchema } from '../../../gen/yardmaster/v1/run_pb.ts';
import { BATCH_RUNS_MAX } from '../bulk/batches.ts';
import { FORMATS, type Format } from '../bulk/entries.ts';
import { scheduleFile } from '../bulk/schedule_file.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { UsageError } from '../failure.ts';
import { followRun, printEvent } from '../follow/run.ts';
import { teller } from '../follow/tell.ts';
import type { Io } from '../io.ts';
import { parseDuration } from '../parse/duration.ts';
import { addEntry, type Entries } from '../parse/entries.ts';
import { addLabel, addWish } from '../parse/label.ts';
import { namesOf, numberOf } from '../parse/names.ts';
import { integerFrom, UINT32_MAX } from '../parse/number.ts';
import { readSource } from '../parse/source.ts';
import { addRunId, addTag } from '../parse/tags.ts';
import { workerIdOf } from '../worker_id.ts';
import { type Cli, printJson, printJsonLine, printWarnings, remote, type Yard } from '../yard.ts';

interface Options {
  readonly workflow?: string;
  readonly workflowVersion?: number;
  readonly sticky?: string;
  readonly pin?: string;
  readonly dependsOn?: readonly string[];
  readonly concurrencyKey?: string;
  readonly concurrencyLimit?: number;
  readonly input?: string;
  readonly inputFile?: string;
  readonly runsOn?: readonly string[];
  readonly label?: readonly DesiredLabel[];
  readonly prefer?: readonly DesiredLabel[];
  readonly priority?: string;
  readonly scheduleTimeout?: Duration;
  readonly executionTimeout?: Duration;
  readonly maxAttempts?: number;
  readonly metadata?: Entries;
  readonly dedupe?: boolean;
  readonly contentHash?: string;
  readonly hashExclude?: readonly string[];
  readonly requestId?: string;
  readonly follow?: boolean;
  readonly from?: string;
  readonly format?: Format;
  readonly batchSize?: number;
  readonly requestIdPrefix?: string;
}

const EXAMPLES = `
Examples:
  yardmaster schedule train --runs-on gpu --label 'memory>256' --input '{"file":"a.tar"}' --follow
  yardmaster schedule chat --prefer model=mistral:50 'zone in eu,us:10' --priority high
  yardmaster schedule --workflow train --sticky hard --concurrency-key dataset-7
  yardmaster schedule import --input-file - --request-id import-2026-01 < order.json
  yardmaster schedule import --from orders.jsonl --priority low

Conditions: key=value, !=, >, >=, <, <=; key in a,b; key not in a,b; key exists; !key. Numbers are compared as numbers,
"quoted" values are strings. Prints the run's id; what it prints with --follow is for people, or JSON lines with --json.

--from submits a run for each entry of a file: an element of a JSON array, a line of JSON (.jsonl, .ndjson), or a line of
text (.txt), which is the input as a string. It goes in batches, each taken whole or not at all. An entry's request id is a
prefix and the entry's number, and the prefix is made of the file's path and the action: the same command again, after a
break or with entries added at the end, submits only what is missing. An entry that was changed is refused
(REQUEST_ID_REUSED); --request-id-prefix submits the file as new.`;

export function scheduleCommand(cli: Cli): Command {
  return new Command('schedule')
    .description('submit a run of one action, or of a workflow')
    .argument('[action]', 'name of the action')
    .option('--workflow <name>', 'run this workflow instead of an action')
    .option('--workflow-version <number>', 'of this version (the newest)', integerFrom(1, UINT32_MAX))
    .addOption(new Option('--input <json>', 'the input as JSON; - reads it from standard input').conflicts('inputFile'))
    .option('--input-file <file>', 'the input as a file of JSON; - for standard input')
    .option('--runs-on <tag...>', 'tags a worker must have', addTag)
    .option('--label <condition...>', 'conditions on labels a worker must meet', addLabel)
    .option('--prefer <condition...>', 'conditions that only rank, with a weight behind a colon (100)', addWish)
    .addOption(new Option('--priority <priority>', 'what goes first (mid)').choices(namesOf(PrioritySchema)))
    .addOption(
      new Option('--sticky <mode>', "how strongly its steps stay on one worker (the workflow's)").choices(
        namesOf(StickySchema),
      ),
    )
    .option('--pin <worker>', 'name or id of the worker it is pinned to from the start; --sticky says how strongly')
    .option('--depends-on <run...>', 'ids of runs that have to succeed first', addRunId)
    .option('--concurrency-key <key>', 'runs with the same key share a limit')
    .option('--concurrency-limit <count>', 'runs of the key that are live together (1)', integerFrom(1, UINT32_MAX))
    .option('--schedule-timeout <duration>', 'longest wait for a worker; 0 waits for ever', parseDuration)
    .option('--execution-timeout <duration>', 'longest run of one attempt', parseDuration)
    .option('--max-attempts <count>', 'attempts in all (1)', integerFrom(1, UINT32_MAX))
    .option('--metadata <key=value...>', 'notes that go with the run', addEntry)
    .option('--dedupe', 'let an equal run do the work: the same action or workflow, the same input')
    .option('--content-hash <hash>', 'equal is what has this hash, whatever the input')
    .option('--hash-exclude <key...>', 'top-level keys of the input that do not count when inputs are compared')
    .addOption(new Option('--request-id <id>', 'the same one again returns the first run').conflicts('from'))
    .option('--follow', 'show states, progress and logs until the run ends, and exit by how it ended')
    .addOption(
      new Option('--from <file>', 'a run for each entry of this file; - for standard input').conflicts([
        'input',
        'inputFile',
        'follow',
      ]),
    )
    .addOption(
      new Option('--format <format>', "of --from (by its name's ending, or its first character)").choices(FORMATS),
    )
    .option('--batch-size <count>', `runs of --from in one call (${BATCH_RUNS_MAX})`, integerFrom(1, BATCH_RUNS_MAX))
    .option('--request-id-prefix <text>', 'of --from: begins the request id of each entry')
    .addHelpText('after', EXAMPLES)
    .action((action: string | undefined, options: Options, self: Command) =>
      remote(cli, self, async (yard) => {
        const request = await requestOf(yard, action, options);
        const { from: file, format, requestIdPrefix, batchSize = BATCH_RUNS_MAX } = options;
        if (file === undefined) {
          onlyWithFrom(options);
          return schedule(yard, request, options.follow === true);
        }
        return scheduleFile(yard, request, { file, format, requestIdPrefix, batchSize });
      }),
    );
}

function onlyWithFrom({ format, requestIdPrefix, batchSize }: Options): void {
  for (const [flag, value] of Object.entries({
    format,
    'request-id-prefix': requestIdPrefix,
    'batch-size': batchSize,
  })) {
    if (value !== undefined) throw new UsageError(`--${flag}: it is of use only with --from`);
  }
}

async function schedule(yard: Yard, request: RunRequest, follow: boolean): Promise<ExitCode> {
  const response = await yard.admin.scheduleRun(request, yard.call);
  const runId = response.run?.runId ?? '';
  if (!yard.json) yard.io.stdout(`${runId}\n`);
  else if (follow) printJsonLine(yard, ScheduleRunResponseSchema, response);
  else printJson(yard, ScheduleRunResponseSchema, response);
  printWarnings(yard, response.warnings);
  return follow ? await followToItsEnd(yard, runId) : EXIT.OK;
}

async function followToItsEnd(yard: Yard, runId: string): Promise<ExitCode> {
  const tell = yard.json ? null : teller(yard.io);
  let state: RunState = RunState.UNSPECIFIED;
  try {
    for await (const event of followRun(yard, runId)) {
      if (event.kind === 'changed') state = event.run.state;
      if (tell === null) printEvent(yard, event);
      else tell(event);
    }
  } catch (error) {
    if (yard.signal.aborted && !yard.json) yard.io.stderr(`The run goes on; "yardmaster cancel ${runId}" ends it.\n`);
    throw error;
  }
  return state === RunState.SUCCEEDED ? EXIT.OK : EXIT.FAILED;
}

type RunRequest = MessageInitShape<typeof ScheduleRunRequestSchema>;

async function requestOf(yard: Yard, action: string | undefined, options: Options): Promise<RunRequest> {
  const { priority, scheduleTimeout, executionTimeout, workflowVersion } = options;
  const what = whatOf(action, options);
  const inputJson = await readInput(yard.io, options);
  return {
    what,
    ...(workflowVersion === undefined ? {} : { workflowVersion }),
    ...(inputJson === undefined ? {} : { inputJson }),
    runsOn: [...(options.runsOn ?? [])],
    desiredLabels: [...(options.label ?? []), ...(options.prefer ?? [])],
    ...(priority === undefined ? {} : { priority: numberOf(PrioritySchema, priority) }),
    ...(await placementOf(yard, options)),
    ...(scheduleTimeout === undefined ? {} : { scheduleTimeout }),
    ...(executionTimeout === undefined ? {} : { executionTimeout }),
    metadata: { ...options.metadata },
    dedupe: options.dedupe === true,
    contentHash: options.contentHash ?? '',
    hashExclude: [...(options.hashExclude ?? [])],
    requestId: options.requestId ?? '',
  } as RunRequest;
}

/** Where it may go and what it waits for, besides tags and labels. */
async function placementOf(yard: Yard, options: Options) {
  const { sticky, pin, dependsOn = [], concurrencyKey: key, concurrencyLimit: limit } = options;
  if (limit !== undefined && key === undefined) throw new UsageError('--concurrency-limit: give its --concurrency-key');
  return {
    ...(sticky === undefined ? {} : { sticky: numberOf(StickySchema, sticky) }),
    ...(pin === undefined ? {} : { pinToWorkerId: await workerIdOf(yard, pin) }),
    dependsOnRunIds: [...dependsOn],
    ...(key === undefined ? {} : { concurrency: { key, ...(limit === undefined ? {} : { limit }) } }),
  };
}

function whatOf(action: string | undefined, options: Options): NonNullable<RunRequest['what']> {
  const { workflow, workflowVersion, maxAttempts } = options;
  if ((action === undefined) === (workflow === undefined)) {
    throw new UsageError('give the name of an action, or of a workflow by --workflow, and not both');
  }
  if (workflow !== undefined) {
    if (maxAttempts !== undefined) throw new UsageError('--max-attempts: the steps of a workflow say it themselves');
    return { case: 'workflow', value: workflow };
  }
  if (workflowVersion !== undefined) throw new UsageError('--workflow-version: give the name of its --workflow');
  const retry = maxAttempts === undefined ? {} : { retry: { maxAttempts } };
  return { case: 'step', value: { action: action ?? '', ...retry } };
}

/** Passed on as it is written: a number beyond 2^53 and the order of keys survive. */
async function readInput(io: Io, { input, inputFile }: Options): Promise<string | undefined> {
  const option = inputFile === undefined ? '--input' : '--input-file';
  const file = inputFile ?? (input === '-' ? '-' : undefined);
  const text = file === undefined ? input : await readSource(io, option, file);
  if (text === undefined) return undefined;
  try {
    JSON.parse(text);
    return text;
  } catch (error) {
    throw new UsageError(`${option}: this is not JSON: ${(error as Error).message}`);
  }
}
