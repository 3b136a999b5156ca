/** Columns of rows as the text of PostgreSQL arrays: what a batch is sent as. */

const SPECIAL = /["\\]/;
const EACH_SPECIAL = /["\\]/g;

/**
 * One value of every row, in order: `{…}` as array_in reads it. Null where a row has no such key. Texts are quoted; all
 * else (numbers, booleans, ids) has no character that means anything in an array. When every value is null it is empty,
 * since unnest fills the shorter of its arrays up with nulls.
 */
export function arrayText(rows: readonly object[], key: string, isText: boolean): string {
  let elements = '';
  let known = false;
  for (const row of rows) {
    const value = (row as Readonly<Record<string, unknown>>)[key];
    if (elements !== '') elements += ',';
    if (value === null || value === undefined) elements += 'NULL';
    else {
      known = true;
      elements += isText ? quoted(value as string) : String(value);
    }
  }
  return known ? `{${elements}}` : '{}';
}

function quoted(text: string): string {
  return SPECIAL.test(text) ? `"${text.replace(EACH_SPECIAL, '\\$&')}"` : `"${text}"`;
}
