/** Whether what the database says, what the submitter was told and what the workers wrote down are one story. */
import type { Entered, Journals } from './journals.ts';
import type { LogRow, Rows, StepRow } from './rows.ts';

/** As far as the check is concerned. */
interface Expected {
  readonly kind: string;
  readonly requestId: string;
  /** Only a worker of this zone may take it; empty: anybody. */
  readonly zone: string;
}

export interface Evidence {
  readonly planned: readonly Expected[];
  /** The run that each request id was answered with. */
  readonly runIds: ReadonlyMap<string, string>;
  readonly rows: Rows;
  readonly journals: Journals;
  readonly zones: ReadonlyMap<string, string>;
}

export interface Findings {
  /** Runs that were submitted and are not there, or have not ended with success. */
  readonly lost: readonly string[];
  /** Steps of which more than one success counted. */
  readonly doubleAccepted: readonly string[];
  /** Everything else that must not be. */
  readonly violations: readonly string[];
  readonly lines: number;
}

const SUCCEEDED = 'SUCCEEDED';

export function check(evidence: Evidence): Findings {
  return {
    lost: findLost(evidence),
    doubleAccepted: findDoubles(evidence),
    violations: [
      ...checkSubmitted(evidence),
      ...evidence.rows.steps.flatMap((step) => checkStep(step, evidence)),
      ...checkTold(evidence),
      ...checkEntered(evidence),
      ...checkKinds(evidence),
      ...checkLogs(evidence),
    ],
    lines: evidence.rows.logs.reduce((sum, { count }) => sum + count, 0),
  };
}

function findLost({ planned, runIds, rows }: Evidence): string[] {
  const states = new Map(rows.runs.map(({ runId, state }) => [runId, state]));
  return planned.flatMap(({ kind, requestId }) => {
    const runId = runIds.get(requestId);
    if (runId === undefined) return [`${requestId} (${kind}) was never answered`];
    const state = states.get(runId);
    if (state === SUCCEEDED) return [];
    return [`${requestId} (${kind}) is run ${runId}, which ${state === undefined ? 'is not there' : `is ${state}`}`];
  });
}

function checkSubmitted({ planned, runIds, rows }: Evidence): string[] {
  const expected = new Set(planned.map(({ requestId }) => requestId));
  const seen = new Set<string>();
  return rows.runs.flatMap(({ runId, requestId }) => {
    const isRepeated = seen.has(requestId);
    seen.add(requestId);
    if (!expected.has(requestId)) return [`run ${runId} was submitted by nobody (request ${requestId})`];
    if (isRepeated) return [`request ${requestId} made more than one run: ${runId} too`];
    if (runIds.get(requestId) !== runId) return [`run ${runId} is not what ${requestId} was answered with`];
    return [];
  });
}

/** The assignment of each success that counted, by run and step. */
function findDoubles({ rows, journals }: Evidence): string[] {
  const counted = new Map<string, Set<string>>();
  const count = (step: string, assignmentId: string) => {
    counted.set(step, (counted.get(step) ?? new Set()).add(assignmentId));
  };
  for (const { runId, name, state, assignmentId } of rows.steps) {
    if (state === SUCCEEDED && assignmentId !== null) count(`${runId}/${name}`, assignmentId);
  }
  for (const assignmentId of journals.settledSuccesses) {
    for (const { runId, stepName } of journals.entered.get(assignmentId) ?? [])
      count(`${runId}/${stepName}`, assignmentId);
  }
  return [...counted].filter(([, all]) => all.size > 1).map(([step, all]) => `${step}: ${[...all].join(', ')}`);
}

function checkStep({ runId, name, state, assignmentId, worker, output }: StepRow, { journals }: Evidence): string[] {
  const step = `step ${runId}/${name}`;
  if (state !== SUCCEEDED) return [`${step} is ${state}`];
  if (assignmentId === null) return [`${step} succeeded without an assignment`];
  const finished = journals.finished.get(assignmentId) ?? [];
  const [one] = finished;
  if (one === undefined || finished.length > 1) {
    return [`${step}: ${finished.length} journals have the end of assignment ${assignmentId}`];
  }
  const found: string[] = [];
  if (one.worker !== worker) found.push(`${step} was done by ${one.worker}; the database says ${worker}`);
  if (one.output !== output) found.push(`${step} has the output ${output}; ${one.worker} gave ${one.output}`);
  return found;
}

/** What a worker was told about its success is so. */
function checkTold({ rows, journals }: Evidence): string[] {
  const successes = new Set(
    rows.steps.flatMap(({ state, assignmentId }) => (state === SUCCEEDED ? [assignmentId] : [])),
  );
  const settled = [...journals.settledSuccesses].filter((assignmentId) => !successes.has(assignmentId));
  const refused = [...journals.refusedSuccesses].filter((assignmentId) => successes.has(assignmentId));
  return [
    ...settled.map((assignmentId) => `the success of ${assignmentId} was acknowledged, and is none in the database`),
    ...refused.map((assignmentId) => `the success of ${assignmentId} was refused, and is one in the database`),
  ];
}

/** No assignment was executed more than once, and none that the database does not know. */
function checkEntered({ rows, journals }: Evidence): string[] {
  const known = new Set<string | null>([
    ...rows.steps.map(({ assignmentId }) => assignmentId),
    ...rows.attempts.map(({ assignmentId }) => assignmentId),
  ]);
  return [...journals.entered].flatMap(([assignmentId, entered]) => {
    if (entered.length > 1)
      return [`assignment ${assignmentId} was entered ${entered.length} times: ${workersOf(entered)}`];
    return known.has(assignmentId) ? [] : [`assignment ${assignmentId} was entered, and the database has none such`];
  });
}

const workersOf = (entered: readonly Entered[]) => entered.map(({ worker }) => worker).join(', ');

/** What each kind of run promises besides. */
function checkKinds({ planned, rows, journals, runIds, zones }: Evidence): string[] {
  const steps = byRun(rows.steps);
  const entered = byRun([...journals.entered.values()].flat());
  return planned.flatMap(({ kind, requestId, zone }) => {
    const runId = runIds.get(requestId) ?? '';
    const ofRun = [...(steps.get(runId) ?? [])].sort((a, b) => a.place - b.place);
    const workers = new Set(ofRun.map(({ worker }) => worker));
    const found: string[] = [];
    if (kind === 'sticky' && workers.size > 1)
      found.push(`the sticky run ${runId} was done by ${[...workers].join(', ')}`);
    if (kind === 'sticky' || kind === 'chain') found.push(...checkChain(runId, ofRun));
    for (const { worker } of zone === '' ? [] : (entered.get(runId) ?? [])) {
      if (zones.get(worker) !== zone) found.push(`run ${runId} asks for ${zone}, and ${worker} is not there`);
    }
    return found;
  });
}

function byRun<T extends { readonly runId: string }>(items: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(item.runId);
    if (group === undefined) groups.set(item.runId, [item]);
    else group.push(item);
  }
  return groups;
}

/** Each step was given what the one before it gave. */
function checkChain(runId: string, steps: readonly StepRow[]): string[] {
  return steps.flatMap(({ name, output }, at) => {
    const before = steps[at - 1]?.assignmentId ?? null;
    const { from } = JSON.parse(output ?? '{}') as { from?: string | null };
    return from === before ? [] : [`step ${runId}/${name} was given the output of ${from} instead of ${before}`];
  });
}

/** What was said is there without a gap; of an assignment that counts, all of it: a success waits for its lines. */
function checkLogs({ rows, journals }: Evidence): string[] {
  const logs = new Map(rows.logs.map((row) => [row.assignmentId, row]));
  const missing = rows.steps.flatMap(({ assignmentId }) => {
    const [finished] = journals.finished.get(assignmentId ?? '') ?? [];
    const lines = finished === undefined ? 0 : finished.lines - saidOf(logs.get(assignmentId ?? ''));
    return lines === 0 ? [] : [`of the ${finished?.lines} lines of assignment ${assignmentId} ${lines} are missing`];
  });
  return [...rows.logs.flatMap(checkContiguous), ...missing];
}

/** A line is stored, or the log itself says that it was dropped. */
function saidOf(row: LogRow | undefined): number {
  return row === undefined ? 0 : row.count - row.notices + row.dropped;
}

function checkContiguous({ assignmentId, count, first, last, strange, notices, cutBytes }: LogRow): string[] {
  const found: string[] = [];
  if (cutBytes === 0 && (first !== 1 || last !== count)) {
    found.push(`the ${count} lines of assignment ${assignmentId} are numbered ${first} to ${last}`);
  }
  if (notices === 0 && strange > 0) found.push(`${strange} lines of assignment ${assignmentId} are not what was said`);
  return found;
}
