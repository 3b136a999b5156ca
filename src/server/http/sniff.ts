/** One port for HTTP/1.1 and HTTP/2 without TLS: the first bytes of a connection tell which it is. */
import type { Socket } from 'node:net';
import type { Clock } from '../../lib/clock.ts';

/** What every HTTP/2 client that knows beforehand sends first (RFC 9113, 3.4). No HTTP/1 request begins like it. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export type HttpVersion = 'HTTP/1' | 'HTTP/2';

/** What these first bytes are; null: too few to tell. */
function versionOf(bytes: Buffer): HttpVersion | null {
  const length = Math.min(bytes.length, PREFACE.length);
  if (!bytes.subarray(0, length).equals(PREFACE.subarray(0, length))) return 'HTTP/1';
  return length === PREFACE.length ? 'HTTP/2' : null;
}

/** Calls `then` with the socket as new: nothing of it has been read. One that stays silent for too long is closed. */
export function sniff(socket: Socket, clock: Clock, firstBytesMs: number, then: (version: HttpVersion) => void): void {
  const seen: Buffer[] = [];
  const deadline = clock.after(firstBytesMs, () => socket.destroy());

  // Reading by hand keeps the socket from flowing: a flowing one would lose what comes before its server listens to it.
  function look(): void {
    for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null)
      seen.push(chunk);
    const bytes = Buffer.concat(seen);
    const version = versionOf(bytes);
    if (version === null) return;
    stop();
    socket.unshift(bytes);
    then(version);
  }

  function stop(): void {
    deadline.clear();
    socket.off('readable', look);
    socket.off('error', ignore);
    socket.off('end', hangUp);
    socket.off('close', stop);
  }

  const hangUp = () => void socket.destroy();
  const ignore = () => {};
  socket.on('readable', look);
  socket.on('error', ignore);
  socket.on('end', hangUp);
  socket.on('close', stop);
}
