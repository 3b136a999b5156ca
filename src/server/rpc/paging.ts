/** Pages: a size within limits, and a token that says where the next one begins. */
import type { Limits } from '../../domain/limits.ts';
import { refuseField } from '../../domain/refusal.ts';
import { RefusedError } from '../errors.ts';

/** 0 means the default; more than the maximum means the maximum. */
export function pageSize(asked: number, limits: Limits): number {
  return asked === 0 ? limits.pageSizeDefault : Math.min(asked, limits.pageSizeMax);
}

/** Opaque to callers; `list` keeps a token of one list from being read by another. */
export function writePageToken(list: string, after: string): string {
  return Buffer.from(JSON.stringify([list, after])).toString('base64url');
}

/** Places that tokens hold: a run's id, a number that counts up, a name, or a place in the queue. */
export const RUN_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
export const COUNT = /^[0-9]{1,15}$/;
export const NAME = /^[^\u0000]+$/;
export const QUEUE_PLACE = /^[1-4] [0-9]{1,15}$/;

/** So many completions, and by whom. */
export const LEADERBOARD_PLACE = /^[0-9]{1,15} [^\u0000]*$/;

/** Where the page begins, or null for the first one. */
export function readPageToken(token: string, list: string, place: RegExp): string | null {
  if (token === '') return null;
  try {
    const [of, after] = JSON.parse(Buffer.from(token, 'base64url').toString()) as [unknown, unknown];
    if (of === list && typeof after === 'string' && place.test(after)) return after;
  } catch {
    // Not one of ours; the same answer as for another list's token.
  }
  throw new RefusedError(
    refuseField('INVALID_PAGE_TOKEN', 'page_token', `"${token.slice(0, 40)}" is not a token of this list`),
  );
}
