/** Who wants to hear of what, by key. Costs nothing while nobody does. */

export interface Topics<T> {
  readonly isEmpty: boolean;
  has(key: string): boolean;
  /** Until the function it returns is called. */
  add(key: string, sink: (event: T) => void): () => void;
  publish(key: string, event: T): void;
}

export function createTopics<T>(): Topics<T> {
  const topics = new Map<string, Set<(event: T) => void>>();
  return {
    get isEmpty() {
      return topics.size === 0;
    },
    has: (key) => topics.has(key),
    add(key, sink) {
      const sinks = topics.get(key) ?? new Set();
      // One function may be given twice, for two watches.
      const own = (event: T) => sink(event);
      topics.set(key, sinks.add(own));
      return () => {
        sinks.delete(own);
        if (sinks.size === 0 && topics.get(key) === sinks) topics.delete(key);
      };
    },
    publish(key, event) {
      // A copy: a sink may leave while it is told.
      for (const sink of [...(topics.get(key) ?? [])]) sink(event);
    },
  };
}
