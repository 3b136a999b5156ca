/** How the rows of a batch travel to PostgreSQL: as parameters, in one of three forms. */
import { arrayText } from './array_text.ts';
import type { Column, SqlType } from './columns.ts';

export type Parameter = string | number | boolean | null;

/** Each gives, of the rows of a part, a table `r`. The fewer they are, the more it counts what a statement costs by itself. */
export interface Form {
  readonly name: string;
  sql(columns: readonly Column[], firstParameter: number): string;
  parameters(columns: readonly Column[], rows: readonly object[]): Parameter[];
}

/** The only row of each part, as its values: the planner dissolves the table into them. */
const ONE: Form = {
  name: 'one',
  sql(columns, first) {
    const values = columns.map(([, type, key], index) => `$${first + index}::${parameterType(type)} AS "${key}"`);
    return `(SELECT ${values.join(', ')}) AS r`;
  },
  parameters: (columns, [row]) => columns.map(([, , key]) => (row as Readonly<Record<string, Parameter>>)[key] ?? null),
};

/** An array a column, and its elements one by one. To find one of a text takes a walk from the start of its array. */
export const FEW: Form = {
  name: 'few',
  sql(columns, first) {
    const values = columns.map(
      ([, type, key], index) => `($${first + 1 + index}::${parameterType(type)}[])[i] AS "${key}"`,
    );
    return `(SELECT ${values.join(', ')} FROM generate_series(1, $${first}::integer) AS places(i)) AS r`;
  },
  parameters: (columns, rows) => [rows.length, ...arraysOf(columns, rows)],
};

/** Each array of unnest is a table of its own: 0.2 ms for the columns of a new run, and nothing where there are many. */
const MANY: Form = {
  name: 'many',
  sql(columns, first) {
    const arrays = columns.map(([, type], index) => `$${first + index}::${parameterType(type)}[]`);
    return `unnest(${arrays.join(', ')}) AS r(${columns.map(([, , key]) => `"${key}"`).join(', ')})`;
  },
  parameters: arraysOf,
};

/** Measured: as JSON a row took PostgreSQL half as much again in every number of rows. A column that is null in all of them is free. */
function arraysOf(columns: readonly Column[], rows: readonly object[]): string[] {
  return columns.map(([, type, key]) => arrayText(rows, key, type === 'text'));
}

const FEW_ROWS_MAX = 128;

/**
 * That of a whole batch, by the largest of its parts: PostgreSQL and the client keep every different statement for as
 * long as they are connected, and with a form for each part there would be thousands.
 */
export function formOf(parts: readonly (readonly object[])[]): Form {
  const most = Math.max(0, ...parts.map(({ length }) => length));
  if (most <= 1) return ONE;
  return most <= FEW_ROWS_MAX ? FEW : MANY;
}

function parameterType(type: SqlType): string {
  return type === 'time' ? 'float8' : type;
}
