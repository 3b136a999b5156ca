/** Which request ids may have been used before: right from the first moment, and without asking once it is known. */
import type { Sql } from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRequestBook } from '../../src/server/requests.ts';
import { openTestStore, type TestPlane, type TestStore, WAIT } from '../support/store.ts';

let store: TestStore;
let plane: TestPlane;
beforeAll(async () => {
  store = await openTestStore();
  plane = await store.plane();
});
afterAll(() => store.close());

/** A client that counts what it is asked. */
function countingSql(): { sql: Sql; asked(): number } {
  let asked = 0;
  const sql = new Proxy(store.sql, {
    apply(target, self, args) {
      asked += 1;
      return Reflect.apply(target, self, args);
    },
  });
  return { sql: sql as unknown as Sql, asked: () => asked };
}

it('what was used is found, and what is new is not asked for', async () => {
  await plane.run({ requestId: 'used', requestDigest: 'd' });
  const { sql, asked } = countingSql();
  const book = createRequestBook(sql, store.log);
  let fresh = 0;
  const costOfNew = async () => {
    const before = asked();
    fresh += 1;
    await book.find('default', [`new-${fresh}`]);
    return asked() - before;
  };
  expect((await book.find('default', ['used'])).get('used')).toMatchObject({ requestDigest: 'd' });
  await expect.poll(costOfNew, WAIT).toBe(0);
  expect((await book.find('default', ['used'])).get('used')).toMatchObject({ requestDigest: 'd' });
  expect((await book.find('another', ['used'])).size).toBe(0);
});

it('an id whose run is on its way to the store while the ids are read is not taken for new', async () => {
  const { sql, asked } = countingSql();
  const book = createRequestBook(sql, store.log);
  // In the same turn: the book has not begun to read, and the run is not stored yet.
  const first = book.find('default', ['under-way']);
  expect((await first).size).toBe(0);
  let fresh = 0;
  await expect
    .poll(async () => {
      const before = asked();
      fresh += 1;
      await book.find('default', [`other-${fresh}`]);
      return asked() - before;
    }, WAIT)
    .toBe(0);
  await plane.run({ requestId: 'under-way', requestDigest: 'd' });
  expect((await book.find('default', ['under-way'])).get('under-way')).toMatchObject({ requestDigest: 'd' });
});
