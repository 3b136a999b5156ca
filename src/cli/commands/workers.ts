/** `yardmaster workers`: a list, or a list that stays true. */
import { create } from '@bufbuild/protobuf';
import { Command, Option } from 'commander';
import {
  ListWorkersResponseSchema,
  type WatchWorkersResponse,
  WatchWorkersResponseSchema,
} from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import type { DesiredLabel } from '../../../gen/yardmaster/v1/run_pb.ts';
import { type Worker, WorkerStateSchema } from '../../../gen/yardmaster/v1/worker_pb.ts';
import { sleep } from '../../lib/clock.ts';
import type { WorkerFilter } from '../../server/convert/worker_filter.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { either } from '../follow/either.ts';
import { followWorkers } from '../follow/workers.ts';
import { listWorkers } from '../list.ts';
import { addLabel } from '../parse/label.ts';
import { namesOf, numberOf } from '../parse/names.ts';
import { addTag } from '../parse/tags.ts';
import { printable } from '../show/text.ts';
import { workerLine, workersTable } from '../show/worker.ts';
import { type Cli, printJson, printJsonLine, remote, type Yard } from '../yard.ts';

interface Options {
  readonly state?: readonly string[];
  readonly action?: string;
  readonly tag?: readonly string[];
  readonly label?: readonly DesiredLabel[];
  readonly watch?: boolean;
}

/** The alternate screen of the terminal: what was there before comes back afterwards. */
const ENTER_SCREEN = '\u001b[?1049h';
const LEAVE_SCREEN = '\u001b[?1049l';
const CLEAR_SCREEN = '\u001b[H\u001b[J';
const REDRAW_MS = 1_000;

export function workersCommand(cli: Cli): Command {
  return new Command('workers')
    .description('list the workers that match every filter given')
    .addOption(new Option('--state <state...>', 'in one of these states').choices(namesOf(WorkerStateSchema)))
    .option('--action <action>', 'serving this action')
    .option('--tag <tag...>', 'having all of these tags', addTag)
    .option('--label <condition...>', 'meeting these conditions, as in schedule', addLabel)
    .option('--watch', 'until Ctrl-C: the table again and again on a terminal, otherwise each change on a line')
    .action((options: Options, self: Command) =>
      remote(cli, self, (yard) =>
        options.watch === true ? watch(yard, filterOf(options)) : list(yard, filterOf(options)),
      ),
    );
}

function filterOf({ state = [], action = '', tag = [], label = [] }: Options): WorkerFilter {
  return { states: state.map((name) => numberOf(WorkerStateSchema, name)), action, tags: [...tag], labels: [...label] };
}

async function list(yard: Yard, filter: WorkerFilter): Promise<ExitCode> {
  const workers = await listWorkers(yard, {
    ...filter,
    states: [...filter.states],
    tags: [...filter.tags],
    labels: [...filter.labels],
  });
  if (yard.json) printJson(yard, ListWorkersResponseSchema, create(ListWorkersResponseSchema, { workers }));
  else if (workers.length === 0) yard.io.stderr('No workers.\n');
  else yard.io.stdout(tableOf(yard, workers));
  return EXIT.OK;
}

async function watch(yard: Yard, filter: WorkerFilter): Promise<ExitCode> {
  if (yard.io.isTTY && !yard.json) return watchOnScreen(yard, filter);
  const workers = new Map<string, Worker>();
  for await (const events of followWorkers(yard, filter)) {
    for (const event of events) {
      if (yard.json) printJsonLine(yard, WatchWorkersResponseSchema, event);
      else yard.io.stdout(lineOf(yard, workers, event));
      keep(workers, event);
    }
  }
  return EXIT.OK;
}

async function watchOnScreen(yard: Yard, filter: WorkerFilter): Promise<ExitCode> {
  const { io } = yard;
  const left = new AbortController();
  const signal = AbortSignal.any([yard.signal, left.signal]);
  const own = { ...yard, signal, call: { ...yard.call, signal } };
  const workers = new Map<string, Worker>();
  io.stdout(ENTER_SCREEN);
  try {
    for await (const events of either(followWorkers(own, filter), ticks(own), () => left.abort())) {
      for (const event of events) keep(workers, event);
      io.stdout(CLEAR_SCREEN + tableOf(yard, [...workers.values()]));
    }
  } finally {
    io.stdout(LEAVE_SCREEN + tableOf(yard, [...workers.values()]));
  }
  return EXIT.OK;
}

/** Without an event the ages change all the same. */
async function* ticks({ io, signal }: Yard): AsyncGenerator<WatchWorkersResponse[], never> {
  for (;;) {
    await sleep(io.clock, REDRAW_MS, signal);
    yield [];
  }
}

function tableOf({ io }: Yard, workers: readonly Worker[]): string {
  return workersTable(workers, { nowMs: io.clock.nowMs(), colours: io.colours });
}

function keep(workers: Map<string, Worker>, { event }: WatchWorkersResponse): void {
  if (event.case === 'changed') workers.set(event.value.workerId, event.value);
  if (event.case === 'deletedWorkerId') workers.delete(event.value);
}

function lineOf({ io }: Yard, workers: ReadonlyMap<string, Worker>, { event }: WatchWorkersResponse): string {
  if (event.case === 'changed') return workerLine(event.value, io.colours);
  if (event.case !== 'deletedWorkerId') return '';
  return `${printable(workers.get(event.value)?.name ?? event.value)}  gone\n`;
}
