/** What the HTTP listener lets a client take: node bounds little of it, and for HTTP/2 next to nothing. */

export interface HttpLimits {
  /** Open connections; more are closed as they come. */
  readonly socketsMax: number;
  /** A new connection must have said by then which protocol it speaks. */
  readonly firstBytesMs: number;
  /** All headers of a request, names and values. */
  readonly headerBytesMax: number;
  /** Its headers must have come by then … */
  readonly headersMs: number;
  /** … and all of it by then, streams from the client included. */
  readonly requestMs: number;
  /** A connection without a request is closed after this. */
  readonly idleMs: number;
  /** HTTP/2: an answer under way keeps its connection, as long as the peer answers a ping within this. */
  readonly pingMs: number;
  /** HTTP/2: requests at once on one connection. */
  readonly streamsPerConnectionMax: number;
}

export const DEFAULT_HTTP_LIMITS: HttpLimits = {
  socketsMax: 1_000,
  firstBytesMs: 10_000,
  headerBytesMax: 16 * 1024,
  headersMs: 10_000,
  requestMs: 30_000,
  idleMs: 60_000,
  pingMs: 10_000,
  streamsPerConnectionMax: 128,
};
