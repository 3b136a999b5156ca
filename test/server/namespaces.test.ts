import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { MatchMode } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { unique, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';

const yard = useYard();
const DAY_MS = 24 * 3_600_000;

describe('namespaces', () => {
  it('are made with every setting filled in, and keep what is not set', async () => {
    const name = unique('space');
    const made = await yard.admin.putNamespace({ namespace: { name } });
    expect(made.namespace).toMatchObject({
      name,
      matchMode: MatchMode.LEGACY,
      retention: durationFromMs(30 * DAY_MS),
      defaultScheduleTimeout: durationFromMs(300_000),
    });
    await yard.admin.putNamespace({ namespace: { name, matchMode: MatchMode.STRICT, retention: durationFromMs(0) } });
    const changed = await yard.admin.putNamespace({
      namespace: { name, defaultScheduleTimeout: durationFromMs(1_000) },
    });
    expect(changed.namespace).toMatchObject({
      matchMode: MatchMode.STRICT,
      retention: durationFromMs(0),
      defaultScheduleTimeout: durationFromMs(1_000),
    });
    // What is put can be used at once.
    const here = { 'yardmaster-namespace': name };
    expect((await yard.admin.listRuns({}, here)).runs).toEqual([]);
  });

  it('are listed by name, page by page', async () => {
    for (const name of ['zz-2', 'zz-10', 'zz-1']) await yard.admin.putNamespace({ namespace: { name } });
    const names: string[] = [];
    let pageToken = '';
    do {
      const page = await yard.admin.listNamespaces({ pageSize: 2, pageToken });
      expect(page.namespaces.length).toBeLessThanOrEqual(2);
      names.push(...page.namespaces.map(({ name }) => name));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(names).toEqual([...names].sort());
    expect(names).toContain('default');
    expect(names.slice(-3)).toEqual(['zz-1', 'zz-10', 'zz-2']);
  });

  it('have names that a header can carry', async () => {
    for (const name of ['a b', '-a', 'ä', 'a\n', 'x'.repeat(129)]) {
      const end = await failureOf(yard.admin.putNamespace({ namespace: { name } }));
      expect(end).toMatchObject({ reason: 'INVALID_NAME', fields: [{ field: 'namespace.name' }] });
    }
    expect(await failureOf(yard.admin.putNamespace({}))).toMatchObject({ reason: 'INVALID_FIELD' });
  });
});
