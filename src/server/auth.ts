/** Who may speak with this server: anybody on this machine, or whoever has the token. */
import { isIPv4 } from 'node:net';
import { type Refusal, refuse } from '../domain/refusal.ts';
import { secretMatcher } from '../lib/secret.ts';

/** null: let in. `authorization` is what came under that name in the metadata or the headers. */
export type Gate = (authorization: string | undefined) => Refusal | null;

const BEARER = /^bearer +(\S+) *$/i;

/** Without a token everybody is let in; the bind address has seen to it that everybody is on this machine. */
export function createGate(token: string | undefined): Gate {
  if (token === undefined) return () => null;
  const isToken = secretMatcher(token);
  return (authorization) => {
    if (authorization === undefined || authorization === '') {
      return refuse('UNAUTHENTICATED', 'this server wants a token: send the metadata "authorization: Bearer <token>"');
    }
    const given = BEARER.exec(authorization)?.[1];
    // Never says what was given: it may be the right secret of another place.
    if (given === undefined) return refuse('UNAUTHENTICATED', 'authorization: must be "Bearer <token>"');
    return isToken(given) ? null : refuse('UNAUTHENTICATED', 'authorization: this is not the token of this server');
  };
}

/** Nobody on another machine can reach it. A name that must be looked up is not: what it means may change. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}
