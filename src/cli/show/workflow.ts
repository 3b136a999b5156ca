/** Workflows for people. */
import { StickySchema, type Workflow } from '../../../gen/yardmaster/v1/run_pb.ts';
import { nameOf } from '../parse/names.ts';
import type { Look } from './run.ts';
import { facts, table } from './table.ts';
import { age, brief, printable } from './text.ts';

const LIST_CHARACTERS_MAX = 40;

export function workflowsTable(workflows: readonly Workflow[], look: Look): string {
  const rows = workflows.map(({ name, version, sticky, steps, createTime }) => [
    printable(name),
    String(version),
    nameOf(StickySchema, sticky),
    brief(steps.map((step) => step.name || step.action).join(' '), LIST_CHARACTERS_MAX),
    age(createTime, look.nowMs),
  ]);
  return table(['WORKFLOW', 'VERSION', 'STICKY', 'STEPS', 'AGE'], rows, look.colours);
}

export function workflowText({ name, version, sticky, steps, createTime }: Workflow, look: Look): string {
  const about = facts(
    [
      ['workflow', printable(name)],
      ['version', String(version)],
      ['sticky', nameOf(StickySchema, sticky)],
      ['put', `${age(createTime, look.nowMs)} ago`],
    ],
    look.colours,
  );
  const rows = steps.map((step) => [
    printable(step.name || step.action),
    printable(step.action),
    brief(step.needs.join(' '), LIST_CHARACTERS_MAX),
    brief(step.runsOn.join(' '), LIST_CHARACTERS_MAX),
  ]);
  return `${about}\n${table(['STEP', 'ACTION', 'NEEDS', 'RUNS ON'], rows, look.colours)}`;
}
