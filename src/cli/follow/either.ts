/** Two sources as one: what comes first is yielded first, each in its own order. */

type Source<T> = AsyncGenerator<T, unknown, undefined>;

/**
 * Ends when both have ended. When one fails, or the reader leaves, `abort` must end the other: a source that waits
 * cannot be left in another way.
 */
export async function* either<A, B>(a: Source<A>, b: Source<B>, abort: () => void): AsyncGenerator<A | B, void> {
  const waiting = new Map<Source<A | B>, Promise<Come<A | B>>>();
  for (const source of [a, b]) waiting.set(source, comeFrom<A | B>(source));
  try {
    while (waiting.size > 0) {
      const { source, result } = await Promise.race(waiting.values());
      if (result.done) waiting.delete(source);
      else {
        waiting.set(source, comeFrom(source));
        yield result.value;
      }
    }
  } finally {
    abort();
    await Promise.allSettled(waiting.values());
  }
}

interface Come<T> {
  readonly source: Source<T>;
  readonly result: IteratorResult<T, unknown>;
}

async function comeFrom<T>(source: Source<T>): Promise<Come<T>> {
  return { source, result: await source.next() };
}
