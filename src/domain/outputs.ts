/** Outputs of several steps as one: what a step with several needs takes, and what a run with several last steps gives. */

/** `{"step name": output, …}`, each output byte for byte as its worker sent it; null for one that is not there. */
export function joinOutputs(stepNames: readonly string[], outputs: ReadonlyMap<string, string>): string {
  return `{${stepNames.map((name) => `${JSON.stringify(name)}:${outputs.get(name) ?? 'null'}`).join(',')}}`;
}
