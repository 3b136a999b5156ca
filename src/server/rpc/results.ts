/** AdminService: what equal runs came to is forgotten. */
import type { AdminService } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { purgeResults } from '../../store/queries/purge_results.ts';
import { checkText } from '../convert/text.ts';
import { accepted, RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { checkNamespace } from './namespaces.ts';
import type { Implementation } from './rpc.ts';

export function resultRpcs(plane: Plane): Implementation<typeof AdminService> {
  return {
    async purgeResults({ contentHash }, { namespace }) {
      const bad = checkText('content_hash', contentHash, plane.limits.valueBytesMax);
      if (bad) throw new RefusedError(bad);
      // A read is answered once everything decided before it is stored: every success of before this call is there.
      await checkNamespace(plane, namespace);
      // The many go first and beside the journal, in pages. The command then takes what came meanwhile, and memory's.
      const forgotten = await purgeResults(plane.reads, namespace, contentHash === '' ? null : contentHash);
      accepted(await plane.submit({ kind: 'purge_results', namespace, contentHash }));
      return { forgottenCount: BigInt(forgotten) };
    },
  };
}
