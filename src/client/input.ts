/**
 * A run's input from plain data: `admin.scheduleRun({ what, ...jsonInput({ file: 'a.tar' }) })`.
 * Sent as exact text, so that key order survives. Throws a TypeError when the value has no JSON (a cycle, a bigint).
 */
export function jsonInput(value: unknown): { inputJson: string } {
  return { inputJson: JSON.stringify(value) ?? 'null' };
}

/** The value of a desired label, as requests carry it: `{ key: 'memory', value: labelValue(256) }`. */
export function labelValue(value: string | number) {
  return typeof value === 'string'
    ? ({ kind: { case: 'stringValue', value } } as const)
    : ({ kind: { case: 'numberValue', value } } as const);
}
