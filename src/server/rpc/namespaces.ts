/** AdminService: namespaces; and how other rpcs know that theirs exists. */
import { create } from '@bufbuild/protobuf';
import {
  type AdminService,
  type Namespace,
  NamespaceSchema,
  MatchMode as WireMatchMode,
} from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { checkNamespaceName } from '../../domain/namespace.ts';
import type { MatchMode } from '../../domain/tags.ts';
import { compareText } from '../../domain/text.ts';
import type { NamespaceView } from '../../engine/views.ts';
import { duration, durationOrNull } from '../convert/time.ts';
import { accepted, RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { NAME, pageSize, readPageToken, writePageToken } from './paging.ts';
import type { Implementation } from './rpc.ts';

const MATCH_MODES: Readonly<Record<MatchMode, WireMatchMode>> = {
  LEGACY: WireMatchMode.LEGACY,
  STRICT: WireMatchMode.STRICT,
};

export function namespaceRpcs(plane: Plane): Implementation<typeof AdminService> {
  return {
    async putNamespace({ namespace: asked = create(NamespaceSchema) }) {
      const { name } = asked;
      const bad = checkNamespaceName('namespace.name', name);
      if (bad) throw new RefusedError(bad);
      const put = await plane.submit({
        kind: 'put_namespace',
        name,
        matchMode: readMatchMode(asked.matchMode),
        retentionMs: durationOrNull(asked.retention),
        scheduleTimeoutMs: durationOrNull(asked.defaultScheduleTimeout),
      });
      return { namespace: writeNamespace(accepted(put)) };
    },

    async listNamespaces(request) {
      const after = readPageToken(request.pageToken, 'namespaces', NAME) ?? '';
      const size = pageSize(request.pageSize, plane.limits);
      const all = [...accepted(await plane.submit({ kind: 'read_namespaces' }))];
      const found = all.filter(({ name }) => name > after).sort((a, b) => compareText(a.name, b.name));
      const page = found.slice(0, size);
      return {
        namespaces: page.map(writeNamespace),
        nextPageToken: found.length > size ? writePageToken('namespaces', page.at(-1)?.name ?? '') : '',
      };
    },
  };
}

/** null: not set. */
function readMatchMode(mode: WireMatchMode): MatchMode | null {
  return (Object.keys(MATCH_MODES) as MatchMode[]).find((name) => MATCH_MODES[name] === mode) ?? null;
}

function writeNamespace({ name, matchMode, retentionMs, scheduleTimeoutMs }: NamespaceView): Namespace {
  return create(NamespaceSchema, {
    name,
    matchMode: MATCH_MODES[matchMode],
    retention: duration(retentionMs),
    defaultScheduleTimeout: duration(scheduleTimeoutMs),
  });
}

/** Asking in one that does not exist is an error everywhere, also where the answer would only be empty. */
export async function checkNamespace(plane: Plane, namespace: string): Promise<void> {
  accepted(await plane.submit({ kind: 'read_queue_depth', namespace, actions: [''] }));
}
