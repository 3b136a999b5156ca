/** The runs: a few kinds, each submitted under a request id until somebody says what became of it. */
import { setTimeout as wait } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import type { ScheduleRunRequestSchema } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { Comparator, type StepDefinitionSchema, Sticky } from '../../gen/yardmaster/v1/run_pb.ts';
import { type AdminClient, createAdminClient, jsonInput } from '../../src/client/index.ts';
import type { Chance } from '../simulation/chance.ts';
import type { StreamProxy } from '../support/stream_proxy.ts';
import { ZONES } from './workers.ts';

const KINDS = ['single', 'labelled', 'chain', 'sticky', 'retried', 'talkative'] as const;
type Kind = (typeof KINDS)[number];

type RunInit = MessageInitShape<typeof ScheduleRunRequestSchema>;
type StepInit = MessageInitShape<typeof StepDefinitionSchema>;

export interface Planned {
  readonly kind: Kind;
  readonly requestId: string;
  /** Only a worker with this label may take it; empty: anybody. */
  readonly zone: string;
  readonly request: RunInit;
}

export interface Load {
  /** The run that each request id was answered with. */
  readonly runIds: ReadonlyMap<string, string>;
  /** Calls that were repeated, by the code of the error. */
  readonly repeats: ReadonlyMap<string, number>;
  readonly violations: readonly string[];
}

const HOUR = { seconds: 3_600n };
const PATIENT = { scheduleTimeout: HOUR, retry: { maxWorkerLosses: -1 } } satisfies Partial<StepInit>;
const RETRIED = { scheduleTimeout: HOUR, retry: { maxAttempts: 2, maxWorkerLosses: -1 } } satisfies Partial<StepInit>;
const CHAIN = ['first', 'second', 'third'] as const;

/** Of a hundred runs. */
const SHARES: Readonly<Record<Kind, number>> = {
  single: 30,
  labelled: 20,
  chain: 15,
  sticky: 10,
  retried: 15,
  talkative: 10,
};
const WORK_MS_MAX = 150;
const LONG_WORK_MS_MAX = 3_000;
const LONG_SHARE = 0.05;
const LINES_MAX = 400;
/** More than a stream carries in a second. */
const MANY_LINES = 3_000;
const MANY_SHARE = 0.02;

export async function putWorkflows(admin: AdminClient): Promise<void> {
  const steps = CHAIN.map((name, at) => ({
    ...PATIENT,
    name,
    action: 'work',
    needs: at === 0 ? [] : [CHAIN[at - 1] as string],
  }));
  await stubbornly(() => admin.putWorkflow({ name: 'chain', steps }), 'start');
  await stubbornly(() => admin.putWorkflow({ name: 'sticky', steps, sticky: Sticky.HARD }), 'start');
}

/** The same for the same chance. */
export function planRuns(count: number, chance: Chance): Planned[] {
  const deck = KINDS.flatMap((kind) => Array.from({ length: SHARES[kind] }, () => kind));
  return Array.from({ length: count }, (_, index) => {
    // Each kind is there, however few they are.
    const kind = index < KINDS.length ? (KINDS[index] as Kind) : chance.pick(deck);
    const zone = kind === 'labelled' ? chance.pick(ZONES) : '';
    const requestId = `chaos-${index}`;
    return { kind, requestId, zone, request: { ...whatOf(kind, zone), ...inputOf(kind, chance), requestId } };
  });
}

function whatOf(kind: Kind, zone: string): RunInit {
  if (kind === 'chain' || kind === 'sticky') return { what: { case: 'workflow', value: kind } };
  if (kind === 'retried') return { what: { case: 'step', value: { ...RETRIED, action: 'fail_first' } } };
  const desiredLabels = zone === '' ? [] : [{ key: 'zone', comparator: Comparator.EQUAL, value: textValue(zone) }];
  return { what: { case: 'step', value: { ...PATIENT, action: 'work', desiredLabels } } };
}

function textValue(text: string) {
  return { kind: { case: 'stringValue' as const, value: text } };
}

function inputOf(kind: Kind, chance: Chance): { inputJson: string } {
  const workMs = chance.whole(1, chance.happens(LONG_SHARE) ? LONG_WORK_MS_MAX : WORK_MS_MAX);
  const many = chance.happens(MANY_SHARE) ? MANY_LINES : chance.whole(2, LINES_MAX);
  return jsonInput({ workMs, lines: kind === 'talkative' ? many : 1 });
}

const DEADLINE_MS = 4_000;
/** Calls under way at a time. */
const CALLERS = 48;

export function createClients(proxies: readonly StreamProxy[]): AdminClient[] {
  return proxies.map(({ address }) => createAdminClient({ address, deadlineMs: DEADLINE_MS }));
}

interface SubmitOptions {
  readonly clients: readonly AdminClient[];
  /** The last one is submitted after this. */
  readonly overMs: number;
  readonly signal: AbortSignal;
}

/** Submits them evenly, as far as they are answered; resolves when every one is answered, or the signal aborts. */
export async function submitRuns(planned: readonly Planned[], options: SubmitOptions): Promise<Load> {
  const { clients, overMs, signal } = options;
  const runIds = new Map<string, string>();
  const repeats = new Map<string, number>();
  const violations: string[] = [];

  async function submit({ requestId, request }: Planned): Promise<void> {
    for (let tries = 0; !signal.aborted; tries++) {
      const client = clients[tries % clients.length] as AdminClient;
      try {
        const { run } = await client.scheduleRun(request, { signal });
        runIds.set(requestId, run?.runId ?? '');
        return;
      } catch (error) {
        const { code, message } = ConnectError.from(error);
        repeats.set(Code[code], (repeats.get(Code[code]) ?? 0) + 1);
        if (!isUnknown(code) && !signal.aborted) violations.push(`${requestId} was refused: ${message}`);
        if (!isUnknown(code)) return;
        await pauseAfter(tries);
      }
    }
  }

  const beganMs = performance.now();
  const left = planned.entries();

  async function caller(): Promise<void> {
    for (const [index, plan] of left) {
      const dueMs = beganMs + (overMs * index) / planned.length;
      const earlyMs = dueMs - performance.now();
      if (earlyMs > 1) await wait(earlyMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      await submit(plan);
    }
  }

  await Promise.all(Array.from({ length: CALLERS }, caller));
  return { runIds, repeats, violations };
}

/** Outcome unknown: to be repeated under the same request id. */
function isUnknown(code: Code): boolean {
  return code === Code.Unavailable || code === Code.DeadlineExceeded;
}

const AGAIN_MS = 100;
const AGAIN_MS_MAX = 2_000;

function pauseAfter(tries: number): Promise<void> {
  return wait(Math.min(AGAIN_MS_MAX, AGAIN_MS * 2 ** tries));
}

const TRIES_MAX = 20;

/** As a client should: what is not known to have happened is asked again. */
export async function stubbornly<T>(call: () => Promise<T>, what: string): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await call();
    } catch (error) {
      if (!isUnknown(ConnectError.from(error).code)) throw error;
      if (tries >= TRIES_MAX)
        throw new Error(`${what}: no answer after ${tries} tries: ${ConnectError.from(error).message}`, {
          cause: error,
        });
      await pauseAfter(tries);
    }
  }
}
