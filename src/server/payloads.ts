/** Inputs of runs that were submitted lately: an assignment then leaves without asking the store for its payload. */

/** Held at most, in UTF-16 units: about as many bytes for most JSON. */
const PAYLOADS_LENGTH_MAX = 64 * 1024 * 1024;

export interface PayloadCache {
  put(runId: string, inputJson: string): void;
  get(runId: string): string | undefined;
  drop(runId: string): void;
}

export function createPayloadCache(lengthMax = PAYLOADS_LENGTH_MAX): PayloadCache {
  // A Map keeps the order of insertion, so its first key is the oldest.
  const payloads = new Map<string, string>();
  let length = 0;

  function drop(runId: string): void {
    const payload = payloads.get(runId);
    if (payload === undefined) return;
    length -= payload.length;
    payloads.delete(runId);
  }

  return {
    get: (runId) => payloads.get(runId),
    drop,
    put(runId, inputJson) {
      drop(runId);
      payloads.set(runId, inputJson);
      length += inputJson.length;
      while (length > lengthMax) drop(payloads.keys().next().value as string);
    },
  };
}
