/** Who may speak with this server: anybody on this machine, or whoever has the token. */
import { isIPv4 } from 'node:net';
import { type Refusal, refuse } from '../domain/refusal.ts';
import { secretMatcher } from '../lib/secret.ts';

/** Without a token there is none: the bind address sees to it that only this machine speaks with us. null: let in. `authorization` is what came under that name in the metadata or the headers. */
export type Gate = (authorization: string | undefined) => Refusal | null;

/**
 * For HTTP without a token. A page in a browser on this machine may have its own name resolved to the loopback address;
 * it can then send what it likes, but only under that name. `host` is what the request calls this server.
 */
export function checkHost(host: string | undefined): Refusal | null {
  if (host === undefined || isLoopback(host.replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1'))) return null;
  return refuse(
    'FOREIGN_HOST',
    `without a token this server answers only requests for localhost, not for "${host}": set YARDMASTER_TOKEN`,
  );
}

const BEARER = /^bearer +(\S+) *$/i;

export function createGate(token: string): Gate {
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
