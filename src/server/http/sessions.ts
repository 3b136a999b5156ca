/** HTTP/2 connections: node lets them live for ever, idle or dead, unless told otherwise. */
import type { Http2Server, ServerHttp2Session } from 'node:http2';
import type { Clock } from '../../lib/clock.ts';
import type { HttpLimits } from './limits.ts';

/** Ends what is idle, and what does not answer while an answer is under way. Returns those that are open. */
export function watchSessions(server: Http2Server, clock: Clock, limits: HttpLimits): ReadonlySet<ServerHttp2Session> {
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    let streams = 0;
    session.on('stream', (stream) => {
      streams += 1;
      stream.once('close', () => {
        streams -= 1;
      });
    });
    session.on('error', () => {});
    session.on('close', () => sessions.delete(session));
    session.setTimeout(limits.idleMs);
    session.on('timeout', () => {
      if (streams === 0) end(session, clock, limits.pingMs);
      else if (!session.destroyed) ping(session, clock, limits);
    });
  });
  return sessions;
}

/** Says goodbye, lets answers under way finish, and after `graceMs` cuts. */
export function end(session: ServerHttp2Session, clock: Clock, graceMs: number): void {
  if (session.destroyed) return;
  session.close();
  const cut = clock.after(graceMs, () => session.destroy());
  session.once('close', () => cut.clear());
}

function ping(session: ServerHttp2Session, clock: Clock, { idleMs, pingMs }: HttpLimits): void {
  const dead = clock.after(pingMs, () => session.destroy());
  session.once('close', () => dead.clear());
  session.ping(() => {
    dead.clear();
    if (!session.destroyed) session.setTimeout(idleMs);
  });
}
