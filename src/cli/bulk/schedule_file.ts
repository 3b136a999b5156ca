/** `yardmaster schedule --from`: a run for each entry of a file, in batches that are taken whole or not at all. */
import { resolve } from 'node:path';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { ScheduleRunRequestSchema, ScheduleRunsResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { digest, systemIds } from '../../lib/random.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { UsageError } from '../failure.ts';
import { printJsonLine, type Yard } from '../yard.ts';
import { BATCH_BYTES_MAX, batchesOf } from './batches.ts';
import { type Entry, entriesOf, type Format } from './entries.ts';
import { openSource } from './source.ts';
import { fileTeller } from './tell.ts';

/** Of the digest, so that the request ids stay readable; 96 bits. */
const PREFIX_CHARACTERS = 24;
/** Of a request id's number, and of the tags and lengths around an input. */
const RUN_OVERHEAD_BYTES = 64;

const IN_BATCH = /runs\[(\d+)\]/;

type RunRequest = MessageInitShape<typeof ScheduleRunRequestSchema>;

export interface FileOptions {
  /** `-` is standard input. */
  readonly file: string;
  readonly format?: Format | undefined;
  readonly requestIdPrefix?: string | undefined;
  /** Runs in one batch. */
  readonly batchSize: number;
}

/**
 * Submits what the file holds, in its order, each run as `request` with the entry for its input. The request id of an
 * entry is the prefix and its number: what was submitted before is recognised, and only what is missing is new.
 */
export async function scheduleFile(yard: Yard, request: RunRequest, options: FileOptions): Promise<ExitCode> {
  const { file, format, batchSize } = options;
  const prefix = options.requestIdPrefix ?? prefixOf(file, request);
  const source = await openSource(yard, file);
  const limits = {
    runsMax: batchSize,
    bytesMax: BATCH_BYTES_MAX,
    runBytes: bytesOf({ ...request, requestId: prefix }),
  };
  const teller = fileTeller(yard.io);
  const done = { runs: 0, already: 0, bytes: 0 };
  try {
    for await (const batch of batchesOf(entriesNamed(file, entriesOf(file, source.chunks, format)), limits)) {
      const runs = batch.map((entry) => runOf(request, prefix, entry));
      const response = await yard.admin.scheduleRuns({ runs }, yard.call);
      done.runs += batch.length;
      done.bytes += batch.reduce((sum, { bytes }) => sum + bytes, 0);
      done.already += response.alreadyScheduledCount;
      if (yard.json) printJsonLine(yard, ScheduleRunsResponseSchema, response);
      else {
        teller.batch({
          firstNumber: done.runs - batch.length + 1,
          lastNumber: done.runs,
          runIds: response.runIds,
          alreadyCount: response.alreadyScheduledCount,
          fraction: source.bytes === undefined ? undefined : Math.min(1, done.bytes / source.bytes),
        });
      }
    }
  } catch (error) {
    teller.close();
    if (!yard.json) yard.io.stderr(`${whichEntry(error, done.runs)}${brokenOff(done.runs, file, prefix)}`);
    throw error;
  }
  teller.close();
  if (!yard.json) yard.io.stderr(`${summary(done.runs, done.already)}\n`);
  return EXIT.OK;
}

/** The same file and the same action or workflow have the same ids; standard input has no name to be known again by. */
function prefixOf(file: string, { what, workflowVersion = 0 }: RunRequest): string {
  if (file === '-') return systemIds().randomId();
  const name = what?.case === 'step' ? what.value.action : what?.value;
  return digest([resolve(file), what?.case, name, workflowVersion].join('\0')).slice(0, PREFIX_CHARACTERS);
}

function runOf(request: RunRequest, prefix: string, { number, inputJson }: Entry): RunRequest {
  return { ...request, inputJson, requestId: `${prefix}-${number}` } as RunRequest;
}

function bytesOf(request: RunRequest): number {
  return toBinary(ScheduleRunRequestSchema, create(ScheduleRunRequestSchema, request)).length + RUN_OVERHEAD_BYTES;
}

async function* entriesNamed(file: string, entries: AsyncIterable<Entry>): AsyncGenerator<Entry, void> {
  try {
    yield* entries;
  } catch (error) {
    if (error instanceof UsageError && !error.message.startsWith('--from')) {
      throw new UsageError(`--from ${file}: ${error.message}`);
    }
    throw error;
  }
}

/** A server counts within its batch, from 0; the person counts entries of the file. */
function whichEntry(error: unknown, before: number): string {
  const [place, index] = IN_BATCH.exec((error as Error).message) ?? [];
  return index === undefined ? '' : `${place} is entry ${before + Number(index) + 1}. `;
}

function brokenOff(runs: number, file: string, prefix: string): string {
  const done = runs === 0 ? 'Nothing is known to be submitted' : `Runs 1 to ${runs} were submitted, and stay`;
  const how = file === '-' ? `the same input and --request-id-prefix ${prefix}` : 'the same command';
  return `${done}; ${how} submits what is missing.\n`;
}

function summary(runs: number, already: number): string {
  if (runs === 0) return 'There was nothing to submit.';
  if (already === 0) return `${runs} runs submitted.`;
  return `${runs} runs: ${runs - already} submitted, ${already} had been before.`;
}
