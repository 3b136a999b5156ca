/** What makes runs equal: the content hash that a request gives, or that of its input. */
import type { ScheduleRunRequest } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { canonicalJson } from '../../domain/equal.ts';
import type { Limits } from '../../domain/limits.ts';
import { type Refusal, refuseField, refuseLimit } from '../../domain/refusal.ts';
import { digest } from '../../lib/random.ts';
import { checkText } from './text.ts';

/** `inputJson` is well formed. Empty: equal runs are not asked for. */
export function readContentHash(
  path: string,
  { dedupe, contentHash, hashExclude }: ScheduleRunRequest,
  inputJson: string,
  limits: Limits,
): string | Refusal {
  if (!dedupe && contentHash === '') {
    if (hashExclude.length === 0) return '';
    return refuseField('INVALID_FIELD', `${path}hash_exclude`, 'is of use only with dedupe or content_hash');
  }
  if (hashExclude.length > limits.hashExcludeKeysMax)
    return refuseLimit(`${path}hash_exclude`, hashExclude.length, limits.hashExcludeKeysMax, 'keys');
  const bad = checkText(`${path}content_hash`, contentHash, limits.valueBytesMax);
  if (bad) return bad;
  return contentHash === '' ? digest(canonicalJson(inputJson, new Set(hashExclude))) : contentHash;
}
