/** Requests on their way in: who may ask, which are rpcs, which are pages, and how long one may take to arrive. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import { Code, ConnectError } from '@connectrpc/connect';
import type { UniversalHandler, UniversalServerRequest } from '@connectrpc/connect/protocol';
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node';
import type { Refusal } from '../../domain/refusal.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorFacts } from '../../store/transient.ts';
import { checkHost, type Gate } from '../auth.ts';
import type { Notes } from '../grpc/adapter.ts';
import { withReason } from './reasons.ts';
import { connectError } from './rpcs.ts';

export type Request = IncomingMessage | Http2ServerRequest;
export type Response = ServerResponse | Http2ServerResponse;

/** Answers a GET of its path. */
export interface Page {
  /** Without the token too. */
  readonly open: boolean;
  answer(): Promise<Answer> | Answer;
}

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface RequestOptions {
  readonly rpcs: ReadonlyMap<string, UniversalHandler>;
  readonly pages: ReadonlyMap<string, Page>;
  /** null: there is no token. */
  readonly gate: Gate | null;
  readonly notes: Notes;
  readonly clock: Clock;
  readonly requestMs: number;
}

export function createRequestListener({ rpcs, pages, gate, notes, clock, requestMs }: RequestOptions) {
  return (request: Request, response: Response): void => {
    // A peer that goes away is no news; without a listener it would be the end of the process.
    request.on('error', () => {});
    response.on('error', () => {});
    if ('stream' in request) limitArrival(request, clock, requestMs);
    respond(request, response).catch((error: unknown) => {
      if (!isGone(error)) notes.log.error({ ...errorFacts(error), path: pathOf(request) }, 'request failed');
      if (response.headersSent) response.destroy();
      else answer(response, text(400, 'this request cannot be answered'));
    });
  };

  async function respond(request: Request, response: Response): Promise<void> {
    const path = pathOf(request);
    const rpc = rpcs.get(path);
    const page = pages.get(path);
    const refusal = page?.open ? null : admit(request);
    if (refusal) notes.meters.refused(refusal.refused, 'call');
    if (rpc !== undefined) await call(rpc, request, response, refusal);
    else if (refusal) answer(response, denied(refusal));
    else if (page === undefined) answer(response, text(404, `nothing is at ${path.slice(0, PATH_SHOWN_MAX)}`));
    else if (request.method !== 'GET' && request.method !== 'HEAD')
      answer(response, { ...text(405, 'only GET'), headers: { allow: 'GET, HEAD' } });
    else answer(response, await page.answer());
  }

  function admit(request: Request): Refusal | null {
    if (gate !== null) return gate(request.headers.authorization);
    return checkHost('authority' in request ? request.authority : request.headers.host);
  }
}

async function call(
  rpc: UniversalHandler,
  request: Request,
  response: Response,
  refusal: Refusal | null,
): Promise<void> {
  // Connect has no type for either kind of request at once, but takes both.
  const asked = universalRequestFromNodeRequest(
    request as IncomingMessage,
    response as ServerResponse,
    undefined,
    undefined,
  );
  const answered = await rpc(refusal === null ? asked : refused(asked, refusal));
  await universalResponseToNodeResponse(await withReason(answered), response as ServerResponse);
}

/** Each protocol writes errors its own way; one that comes out of the body is written so, and nothing of it is read. */
function refused(request: UniversalServerRequest, refusal: Refusal): UniversalServerRequest {
  // biome-ignore lint/correctness/useYield: it ends before there is anything to yield.
  async function* body(): AsyncGenerator<Uint8Array> {
    throw connectError(refusal);
  }
  return { ...request, body: body() };
}

/** Nobody may keep a request open by sending it slowly, or never to its end. For HTTP/1 node sees to it. */
function limitArrival(request: Http2ServerRequest, clock: Clock, requestMs: number): void {
  const late = clock.after(requestMs, () => request.stream.close(constants.NGHTTP2_CANCEL));
  for (const over of ['end', 'close']) request.once(over, () => late.clear());
}

function isGone(error: unknown): boolean {
  const gone: readonly Code[] = [Code.Aborted, Code.Canceled];
  return error instanceof ConnectError && gone.includes(error.code);
}

const PATH_SHOWN_MAX = 100;

function pathOf(request: Request): string {
  return (request.url ?? '').split('?', 1)[0] ?? '';
}

export function text(status: number, body: string): Answer {
  return { status, contentType: 'text/plain; charset=utf-8', body: `${body}\n` };
}

function denied(refusal: Refusal): Answer {
  if (refusal.refused !== 'UNAUTHENTICATED') return text(403, refusal.message);
  return { ...text(401, refusal.message), headers: { 'www-authenticate': 'Bearer' } };
}

function answer(response: Response, { status, contentType, body, headers = {} }: Answer): void {
  const all = {
    'content-type': contentType,
    'content-length': String(Buffer.byteLength(body)),
    'cache-control': 'no-store',
    ...headers,
  };
  // Two classes with the same method, and no common type.
  (response as ServerResponse).writeHead(status, all);
  (response as ServerResponse).end(body);
}
