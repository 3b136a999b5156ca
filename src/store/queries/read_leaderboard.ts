import type { Sql } from 'postgres';

export interface LeaderboardPlace {
  readonly completedCount: number;
  readonly nickname: string;
}

/** Most completions first, then by nickname; those after `after`. */
export async function readLeaderboard(
  sql: Sql,
  namespace: string,
  after: LeaderboardPlace | null,
  limit: number,
): Promise<LeaderboardPlace[]> {
  const rest =
    after === null
      ? sql``
      : sql`AND (completed_count < ${after.completedCount}
          OR (completed_count = ${after.completedCount} AND nickname COLLATE "C" > ${after.nickname}))`;
  const rows = await sql<{ nickname: string; completed_count: number }[]>`
    SELECT nickname, completed_count::float8 AS completed_count FROM leaderboard
    WHERE namespace = ${namespace} ${rest} ORDER BY leaderboard.completed_count DESC, nickname COLLATE "C" LIMIT ${limit}`;
  return rows.map((row) => ({ nickname: row.nickname, completedCount: row.completed_count }));
}
