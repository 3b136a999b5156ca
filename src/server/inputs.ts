/** What a step is given to work on: the run's input, or outputs of the steps it needs. Text, byte for byte. */
import type { Sql } from 'postgres';
import { joinOutputs } from '../domain/outputs.ts';
import type { Generations, InputSource, Offer } from '../engine/effects.ts';
import { FIRST_GENERATION } from '../engine/generations.ts';
import type { Change } from '../engine/turn.ts';
import { readInputs, readOutputs } from '../store/queries/read_inputs.ts';
import type { PayloadCache } from './payloads.ts';

export interface StepInput {
  readonly inputJson: string;
  /** Empty: the same as `inputJson`. */
  readonly runInputJson: string;
}

export interface StepInputs {
  /** From the cache; null when something it is made of is not there. */
  held(offer: Offer): StepInput | null;
  /** From the store, as far as the cache has not got it. Tries until the store answers; rejects when the plane stops. */
  read(offer: Offer): Promise<StepInput>;
  /** To be called with what was committed, before its effects leave: outputs that other steps take are kept at hand. */
  keepOutputs(changes: readonly Change[]): void;
}

export interface StepInputsOptions {
  readonly reads: Sql;
  readonly payloads: PayloadCache;
  /** Does it again for as long as the store is away. */
  readonly persistently: <T>(read: () => Promise<T>) => Promise<T>;
}

export function createStepInputs({ reads, payloads, persistently }: StepInputsOptions): StepInputs {
  async function readOutputsOf(
    { runId, input }: Offer,
    names: readonly string[],
  ): Promise<ReadonlyMap<string, string>> {
    if (names.length === 0) return new Map();
    const outputs = await readOutputs(reads, runId, names, generationsOf(input));
    for (const [name, output] of outputs) payloads.put(outputKey(runId, name, generationOf(input, name)), output);
    return outputs;
  }

  async function readRunInput(runId: string): Promise<string> {
    const input = (await readInputs(reads, [runId])).get(runId);
    if (input === undefined) throw new Error(`run ${runId} is not stored`);
    payloads.put(runId, input);
    return input;
  }

  async function read(offer: Offer): Promise<StepInput> {
    const { runId, input: source } = offer;
    const held = new Map<string, string>();
    for (const name of sourceNames(offer)) {
      const output = payloads.get(outputKey(runId, name, generationOf(source, name)));
      if (output !== undefined) held.set(name, output);
    }
    const missing = sourceNames(offer).filter((name) => !held.has(name));
    const [runInput, outputs] = await Promise.all([
      payloads.get(runId) ?? readRunInput(runId),
      readOutputsOf(offer, missing),
    ]);
    const input = inputOf(offer, runInput, (name) => held.get(name) ?? outputs.get(name));
    if (input === null) throw new Error(`run ${runId}: outputs that step "${offer.stepName}" takes are not stored`);
    return input;
  }

  return {
    held(offer) {
      const runInput = payloads.get(offer.runId);
      if (runInput === undefined) return null;
      const { runId, input } = offer;
      return inputOf(offer, runInput, (name) => payloads.get(outputKey(runId, name, generationOf(input, name))));
    },
    read: (offer) => persistently(() => read(offer)),
    keepOutputs(changes) {
      for (const change of changes) {
        if ((change.table !== 'steps' && change.table !== 'step_outputs') || change.outputJson === null) continue;
        const { run, index, definition } = change.step;
        const generation = change.table === 'steps' ? FIRST_GENERATION : change.generation;
        const isTaken = (run.workflow?.graph.dependents[index]?.length ?? 0) > 0;
        if (isTaken) payloads.put(outputKey(run.runId, definition.name, generation), change.outputJson);
      }
    },
  };
}

/** Run ids hold no line feed, so that no output is taken for a run's input. */
function outputKey(runId: string, stepName: string, generation: number): string {
  const made = generation === FIRST_GENERATION ? runId : `${runId}#${generation}`;
  return `${made}\n${stepName}`;
}

const ALL_FIRST: Generations = new Map();

function generationsOf(input: InputSource): Generations {
  return (input.from === 'RUN' ? undefined : input.generations) ?? ALL_FIRST;
}

function generationOf(input: InputSource, stepName: string): number {
  return generationsOf(input).get(stepName) ?? FIRST_GENERATION;
}

/** Steps whose outputs it is made of. */
function sourceNames({ input }: Offer): readonly string[] {
  if (input.from === 'RUN') return [];
  return input.from === 'STEP' ? [input.stepName] : input.stepNames;
}

/** null: an output is missing. */
function inputOf(
  offer: Offer,
  runInputJson: string,
  outputOf: (stepName: string) => string | undefined,
): StepInput | null {
  const { input } = offer;
  if (input.from === 'RUN') return { inputJson: runInputJson, runInputJson: '' };
  const outputs = new Map<string, string>();
  for (const name of sourceNames(offer)) {
    const output = outputOf(name);
    if (output === undefined) return null;
    outputs.set(name, output);
  }
  const inputJson =
    input.from === 'STEP' ? (outputs.get(input.stepName) as string) : joinOutputs(input.stepNames, outputs);
  return { inputJson, runInputJson: inputJson === runInputJson ? '' : runInputJson };
}
