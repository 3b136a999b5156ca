/**
 * A TCP proxy in front of PostgreSQL that loses what a network loses: a statement before it arrives, an answer after
 * the commit, one side of a connection, or everything for a while. Connections are named by their application_name.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { connectionOptions } from '../../src/store/database.ts';

export interface DatabaseProxy {
  /** The same database, by way of the proxy. */
  readonly url: string;
  /** Statements the server has carried out so far. */
  answers(): number;
  /** Cuts the named connection at its next statement, which the server never gets. Resolves when it is done. */
  cutBefore(name: string): Promise<void>;
  /** Cuts the named connection once the server has carried out its next statement; the answer is lost. */
  cutAfter(name: string): Promise<void>;
  /** Closes the client's side of the named connections. The server hears nothing of it. */
  abandon(name: string): void;
  /** Nothing passes any more, in either direction, and nobody is told. */
  hold(): void;
  /** What was held back passes now. */
  resume(): void;
  /** As if the server were down: connections are cut, new ones refused. */
  refuse(): Promise<void>;
  accept(): Promise<void>;
  close(): Promise<void>;
}

type Cut = 'BEFORE' | 'AFTER';

interface Trap {
  readonly cut: Cut;
  readonly name: string;
  readonly sprung: () => void;
}

interface Link {
  readonly client: Socket;
  readonly server: Socket;
  name: string;
  /** The statement of the trap has gone to the server. */
  armed: boolean;
}

// ReadyForQuery, outside of a transaction: what the server says once a statement is carried out and committed.
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

export async function startProxy(databaseUrl: string): Promise<DatabaseProxy> {
  const { options } = connectionOptions(databaseUrl);
  const { path, host = 'localhost', port = 5432 } = options;
  const links = new Set<Link>();
  let trap: Trap | null = null;
  let held: (() => void)[] | null = null;
  let answers = 0;
  let server: Server;

  function open(client: Socket): void {
    const upstream = path === undefined ? connect(port, host) : connect(path);
    const link: Link = { client, server: upstream, name: '', armed: false };
    links.add(link);
    client.setNoDelay(true);
    client.on('data', (data) => pass(() => fromClient(link, data)));
    upstream.on('data', (data) => pass(() => fromServer(link, data)));
    client.on('close', () => pass(() => upstream.end()));
    upstream.on('close', () => pass(() => client.end()));
    for (const socket of [client, upstream]) socket.on('error', () => {});
  }

  function pass(forward: () => void): void {
    if (held === null) forward();
    else held.push(forward);
  }

  function fromClient(link: Link, data: Buffer): void {
    if (link.name === '') link.name = nameOf(data);
    if (trap?.name === link.name) {
      if (trap.cut === 'BEFORE') {
        spring(link);
        return;
      }
      link.armed = true;
    }
    if (!link.server.destroyed) link.server.write(data);
  }

  function fromServer(link: Link, data: Buffer): void {
    const ready = data.subarray(-READY.length).equals(READY);
    if (ready) answers += 1;
    if (link.armed && ready) spring(link);
    else if (!link.client.destroyed) link.client.write(data);
  }

  function spring(link: Link): void {
    const sprung = trap?.sprung;
    trap = null;
    cut(link);
    sprung?.();
  }

  function cut(link: Link): void {
    links.delete(link);
    link.client.destroy();
    link.server.destroy();
  }

  const set = (kind: Cut, name: string) =>
    new Promise<void>((sprung) => {
      trap = { cut: kind, name, sprung };
    });

  async function listen(at: number): Promise<number> {
    server = createServer(open);
    await new Promise<void>((resolve) => server.listen(at, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  }

  async function refuse(): Promise<void> {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const link of [...links]) cut(link);
    await closed;
  }

  const listening = await listen(0);
  return {
    url: urlOf(options, listening),
    answers: () => answers,
    cutBefore: (name) => set('BEFORE', name),
    cutAfter: (name) => set('AFTER', name),
    abandon(name) {
      for (const link of [...links].filter((each) => each.name === name)) {
        links.delete(link);
        link.client.removeAllListeners('close').destroy();
      }
    },
    hold() {
      held ??= [];
    },
    resume() {
      const waiting = held ?? [];
      held = null;
      for (const forward of waiting) forward();
    },
    refuse,
    accept: async () => void (await listen(listening)),
    close: refuse,
  };
}

/** From the first packet: name and value of each parameter, each with a NUL behind it. */
function nameOf(startup: Buffer): string {
  const parameters = startup.toString('utf8', 8).split('\0');
  const at = parameters.indexOf('application_name');
  return at === -1 ? 'unnamed' : (parameters[at + 1] ?? 'unnamed');
}

function urlOf(options: ReturnType<typeof connectionOptions>['options'], port: number): string {
  const url = new URL(`postgres://127.0.0.1:${port}/${options.database}`);
  url.username = options.user ?? '';
  url.password = options.password ?? '';
  return url.href;
}
