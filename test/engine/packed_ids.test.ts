import fc from 'fast-check';
import { expect, it } from 'vitest';
import { packDigest, packId, unpackDigest, unpackId } from '../../src/engine/packed_ids.ts';
import { digest, systemIds } from '../../src/lib/random.ts';

/** As anybody may call a run: what is almost a UUID, and what looks like a packed one. */
const id = fc
  .oneof(
    fc.uuid(),
    fc.uuid().map((uuid) => uuid.toUpperCase()),
    fc.string(),
    fc.string({ minLength: 15, maxLength: 17 }),
  )
  .filter((text) => !text.includes('\u0000'));

it('gives back every id as it was', () => {
  fc.assert(fc.property(id, (text) => unpackId(packId(text)) === text));
  for (const text of ['', '-'.repeat(36), `${'0'.repeat(36)}`, '00000000-0000-0000-0000-00000000000ß']) {
    expect(unpackId(packId(text))).toBe(text);
  }
});

it('keeps different ids apart', () => {
  fc.assert(fc.property(id, id, (a, b) => (packId(a) === packId(b)) === (a === b)));
  const packed = packId('61626364-6566-6768-696a-6b6c6d6e6f70');
  expect(packed).toBe('abcdefghijklmnop');
  expect(packId('abcdefghijklmnop')).not.toBe(packed);
});

it('holds a UUID in sixteen characters, and a digest in thirty-two', () => {
  expect(packId(systemIds().orderedId())).toHaveLength(16);
  const text = digest('anything');
  expect(packDigest(text)).toHaveLength(32);
  expect(unpackDigest(packDigest(text))).toBe(text);
  for (const other of ['', 'a'.repeat(32), 'G'.repeat(64)]) expect(unpackDigest(packDigest(other))).toBe(other);
});
