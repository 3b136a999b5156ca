/** Explanations for people: what to change is to be seen in one look. */
import type { StepExplanation } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import {
  type Explanation,
  type FailedClause,
  type Rank,
  StepStateSchema,
  VerdictSchema,
  type WorkerReport,
} from '../../../gen/yardmaster/v1/run_pb.ts';
import { nameOf } from '../parse/names.ts';
import { coloured } from './colour.ts';
import type { Look } from './run.ts';
import { facts, table } from './table.ts';
import { age, between, brief, printable } from './text.ts';

const VALUE_CHARACTERS_MAX = 40;

export function explanationText({ stepName, state, explanation }: StepExplanation, look: Look): string {
  if (explanation === undefined) return '';
  const about = facts(
    [
      ['step', printable(stepName)],
      ['state', coloured(nameOf(StepStateSchema, state), look.colours)],
      ['verdict', nameOf(VerdictSchema, explanation.verdict)],
      ['why', printable(explanation.summary)],
      ['time left', between(explanation.asOfTime, explanation.scheduleDeadline)],
      ['goes after', placeText(explanation)],
      ['workers', countsText(explanation)],
    ],
    look.colours,
  );
  return [about, ...workersText(explanation.workers, look)].join('\n');
}

/** Empty: nothing goes first. */
function placeText({ aheadInDemand, aheadInNamespace }: Explanation): string {
  if (aheadInNamespace === 0n) return '';
  return `${aheadInDemand} that ask for the same, ${aheadInNamespace} in the namespace`;
}

function countsText({ workersTotal, counts }: Explanation): string {
  if (workersTotal === 0) return '';
  const failing = counts.map(({ clause, workersFailing }) => `${printable(clause)} ${workersFailing}`);
  return [String(workersTotal), ...(failing.length > 0 ? [`of which fail ${failing.join(', ')}`] : [])].join(', ');
}

function workersText(workers: readonly WorkerReport[], look: Look): string[] {
  const fitting = workers.filter(({ failed }) => failed.length === 0);
  const missing = workers.filter(({ failed }) => failed.length > 0);
  const parts: string[] = [];
  if (fitting.length > 0) {
    const head = ['WORKER', 'STICKY', 'BEST WEIGHT', 'WEIGHTS', 'TAGS COVER', 'SLOTS USED', 'LAST ASSIGNED'];
    parts.push(
      table(
        head,
        fitting.map((report) => rankRow(report, look)),
        look.colours,
      ),
    );
  }
  if (missing.length > 0) {
    const rows = missing.flatMap(({ workerName, failed }) =>
      // The name once: what follows below it is of the same worker.
      failed.map((clause, index) => [index === 0 ? printable(workerName) : '', ...clauseCells(clause)]),
    );
    parts.push(table(['WORKER', 'FAILS', 'HAS', 'NEEDS'], rows, look.colours));
  }
  return parts;
}

function clauseCells({ clause, key, has, needs }: FailedClause): string[] {
  return [
    brief([clause, key].filter((part) => part !== '').join(' '), VALUE_CHARACTERS_MAX),
    brief(has, VALUE_CHARACTERS_MAX),
    brief(needs, VALUE_CHARACTERS_MAX),
  ];
}

const PERCENT = 100;

function rankRow({ workerName, rank }: WorkerReport, look: Look): string[] {
  return [printable(workerName), ...(rank === undefined ? [] : rankCells(rank, look))];
}

function rankCells(rank: Rank, look: Look): string[] {
  return [
    yesOrNo(rank.sticky),
    String(rank.highestWeight),
    String(rank.weightSum),
    yesOrNo(rank.tagsCover),
    `${Math.round(rank.slotsShareUsed * PERCENT)} %`,
    rank.lastAssignTime === undefined ? 'never' : `${age(rank.lastAssignTime, look.nowMs)} ago`,
  ];
}

function yesOrNo(is: boolean): string {
  return is ? 'yes' : 'no';
}
