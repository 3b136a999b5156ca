/** Payloads that came in lately, by a key: an assignment then leaves without asking the store for its input. */

/** Held at most, in UTF-16 units: about as many bytes for most JSON. */
const PAYLOADS_LENGTH_MAX = 64 * 1024 * 1024;

export interface PayloadCache {
  put(key: string, payload: string): void;
  get(key: string): string | undefined;
  drop(key: string): void;
}

export function createPayloadCache(lengthMax = PAYLOADS_LENGTH_MAX): PayloadCache {
  // A Map keeps the order of insertion, so its first key is the oldest.
  const payloads = new Map<string, string>();
  let length = 0;

  function drop(key: string): void {
    const payload = payloads.get(key);
    if (payload === undefined) return;
    length -= payload.length;
    payloads.delete(key);
  }

  return {
    get: (key) => payloads.get(key),
    drop,
    put(key, payload) {
      drop(key);
      payloads.set(key, payload);
      length += payload.length;
      while (length > lengthMax) drop(payloads.keys().next().value as string);
    },
  };
}
