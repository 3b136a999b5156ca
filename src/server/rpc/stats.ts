/** AdminService: how much there is to do, how fast it goes, and who did how much. */
import type { AdminService } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import type { ActionStats, Stats } from '../../engine/stats.ts';
import { type LeaderboardPlace, readLeaderboard } from '../../store/queries/read_leaderboard.ts';
import { checkText } from '../convert/text.ts';
import { duration } from '../convert/time.ts';
import { accepted, RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { checkNamespace } from './namespaces.ts';
import { LEADERBOARD_PLACE, pageSize, readPageToken, writePageToken } from './paging.ts';
import type { Implementation } from './rpc.ts';

export function statsRpcs(plane: Plane): Implementation<typeof AdminService> {
  return {
    async getStats({ workflow }, { namespace }) {
      const bad = workflow === '' ? null : checkText('workflow', workflow, plane.limits.keyBytesMax);
      if (bad) throw new RefusedError(bad);
      return writeStats(accepted(await plane.submit({ kind: 'read_stats', namespace, workflow })));
    },

    async getLeaderboard(request, { namespace }) {
      await checkNamespace(plane, namespace);
      const size = pageSize(request.pageSize, plane.limits);
      const found = await readLeaderboard(plane.reads, namespace, readPlace(request.pageToken), size + 1);
      const page = found.slice(0, size);
      const last = page.at(-1);
      return {
        entries: page.map(({ nickname, completedCount }) => ({ nickname, completedCount: BigInt(completedCount) })),
        nextPageToken:
          found.length > size && last ? writePageToken(LIST, `${last.completedCount} ${last.nickname}`) : '',
      };
    },
  };
}

const LIST = 'leaderboard';

function readPlace(token: string): LeaderboardPlace | null {
  const place = readPageToken(token, LIST, LEADERBOARD_PLACE);
  if (place === null) return null;
  const end = place.indexOf(' ');
  return { completedCount: Number(place.slice(0, end)), nickname: place.slice(end + 1) };
}

function writeStats({ actions, runsTotal, runsEnded, timeLeftMs }: Stats) {
  return {
    actions: actions.map(writeAction),
    runsTotal: BigInt(runsTotal),
    runsEnded: BigInt(runsEnded),
    ...(timeLeftMs === null ? {} : { estimatedTimeLeft: duration(Math.round(timeLeftMs)) }),
  };
}

function writeAction(stats: ActionStats) {
  const { action, completedPerSecond, workersConnected, slotsFree, oldestPendingMs } = stats;
  return {
    action,
    blocked: BigInt(stats.blocked),
    pending: BigInt(stats.pending),
    running: BigInt(stats.running),
    succeeded: BigInt(stats.succeeded),
    failed: BigInt(stats.failed),
    completedPerSecond,
    workersConnected,
    slotsFree,
    ...(oldestPendingMs === null ? {} : { oldestPendingAge: duration(Math.round(oldestPendingMs)) }),
  };
}
