/** `yardmaster explain`: why a run waits, and what to change. */
import { create } from '@bufbuild/protobuf';
import { Command } from 'commander';
import { type ExplainRunResponse, ExplainRunResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { EXIT } from '../exit.ts';
import { explanationText } from '../show/explain.ts';
import { type Cli, printJson, remote, type Yard } from '../yard.ts';

interface Options {
  readonly step?: string;
  readonly all?: boolean;
}

/** Of each step, unless all are asked for. */
const NEAREST_MAX = 10;
/** As large as the server gives them. */
const PAGE_SIZE = 1_000;

export function explainCommand(cli: Cli): Command {
  return new Command('explain')
    .description('say why a run waits, or why it is where it is: verdict, place in the queue, the nearest workers')
    .argument('<id>', 'id of the run')
    .option('--step <name>', 'name of the step; otherwise every step that has not ended')
    .option('--all', `all workers; otherwise the ${NEAREST_MAX} nearest`)
    .action((runId: string, { step: stepName = '', all = false }: Options, self: Command) =>
      remote(cli, self, async (yard) => {
        const found = all ? await explainAll(yard, runId, stepName) : await explainNearest(yard, runId, stepName);
        if (yard.json) printJson(yard, ExplainRunResponseSchema, found);
        else print(yard, found);
        return EXIT.OK;
      }),
    );
}

function explainNearest({ admin, call }: Yard, runId: string, stepName: string): Promise<ExplainRunResponse> {
  return admin.explainRun({ runId, stepName, pageSize: NEAREST_MAX }, call);
}

/** As if all pages were one. What a step is like is as of its first page. */
async function explainAll({ admin, call }: Yard, runId: string, stepName: string): Promise<ExplainRunResponse> {
  const whole = create(ExplainRunResponseSchema);
  let pageToken = '';
  do {
    const page = await admin.explainRun({ runId, stepName, pageSize: PAGE_SIZE, pageToken }, call);
    addPage(whole, page);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return whole;
}

/** A worker whose place has changed in between may be on two pages: it is shown once. */
function addPage(whole: ExplainRunResponse, page: ExplainRunResponse): void {
  for (const step of page.steps) {
    const known = whole.steps.find(({ stepName }) => stepName === step.stepName);
    if (known?.explanation === undefined) {
      whole.steps.push(step);
      continue;
    }
    const { workers } = known.explanation;
    const ids = new Set(workers.map(({ workerId }) => workerId));
    workers.push(...(step.explanation?.workers ?? []).filter(({ workerId }) => !ids.has(workerId)));
  }
}

function print({ io }: Yard, { steps, nextPageToken }: ExplainRunResponse): void {
  const look = { nowMs: io.clock.nowMs(), colours: io.colours };
  io.stdout(steps.map((step) => explanationText(step, look)).join('\n'));
  if (nextPageToken !== '') io.stderr('There are more workers: see --all.\n');
}
