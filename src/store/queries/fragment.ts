import type { Sql } from 'postgres';

/** Something to write statements with: a client, or a part of it. */
export type Fragment = Sql;
