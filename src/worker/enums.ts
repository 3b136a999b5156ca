/** The name of a value of a generated enum; a value of a newer contract is shown as its number. */
export function nameOf(values: Readonly<Record<string, number>>, value: number): string {
  const entry = Object.entries(values).find(([, number]) => number === value);
  return entry?.[0] ?? String(value);
}
