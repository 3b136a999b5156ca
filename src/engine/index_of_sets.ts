/** Sets by a key, of which none is empty. */

export function addTo<K, T>(index: Map<K, Set<T>>, key: K, item: T): void {
  const set = index.get(key);
  if (set) set.add(item);
  else index.set(key, new Set([item]));
}

export function removeFrom<K, T>(index: Map<K, Set<T>>, key: K, item: T): void {
  const set = index.get(key);
  if (!set) return;
  set.delete(item);
  if (set.size === 0) index.delete(key);
}
