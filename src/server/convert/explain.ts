/** Explanations on the wire. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { StepExplanationSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import {
  type ExplanationSchema,
  type RankSchema,
  StepState as WireStepState,
  Verdict as WireVerdict,
  type WorkerReportSchema,
} from '../../../gen/yardmaster/v1/run_pb.ts';
import type { Explanation, WorkerReport } from '../../domain/explain.ts';
import type { Rank } from '../../domain/rank.ts';
import type { StepState } from '../../domain/step.ts';
import { optionalTime, timestamp } from './time.ts';

export function writeStepExplanation(
  stepName: string,
  state: StepState,
  explanation: Explanation,
): MessageInitShape<typeof StepExplanationSchema> {
  return { stepName, state: WireStepState[state], explanation: writeExplanation(explanation) };
}

export function writeExplanation(explanation: Explanation): MessageInitShape<typeof ExplanationSchema> {
  return {
    verdict: WireVerdict[explanation.verdict],
    summary: explanation.summary,
    counts: explanation.counts.map((count) => ({ ...count })),
    workers: explanation.workers.map(writeReport),
    workersTotal: explanation.workersTotal,
    aheadInDemand: BigInt(explanation.aheadInDemand),
    aheadInNamespace: BigInt(explanation.aheadInNamespace),
    ...optionalTime('scheduleDeadline', explanation.scheduleDeadlineMs),
    asOfTime: timestamp(explanation.asOfMs),
  };
}

function writeReport(report: WorkerReport): MessageInitShape<typeof WorkerReportSchema> {
  return {
    workerId: report.workerId,
    workerName: report.workerName,
    failed: report.failed.map(({ clause, key, has, needs }) => ({ clause, key, has, needs })),
    ...(report.rank === null ? {} : { rank: writeRank(report.rank) }),
  };
}

function writeRank(rank: Rank): MessageInitShape<typeof RankSchema> {
  return {
    sticky: rank.sticky,
    deviceAskedFor: rank.deviceAskedFor,
    highestWeight: BigInt(rank.highestWeight),
    weightSum: BigInt(rank.weightSum),
    tagsCover: rank.tagsCover,
    slotsShareUsed: rank.slotsShareUsed,
    ...optionalTime('lastAssignTime', rank.lastAssignMs),
  };
}
