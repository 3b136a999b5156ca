/** A pooler of the smallest kind, with the one property that matters: in transaction mode it takes a session back after each transaction. */
import { once } from 'node:events';
import net from 'node:net';
import { connectionOptions } from '../../src/store/database.ts';

export interface PoolerOptions {
  /** The server, at a Unix socket and without a password. */
  url: string;
  mode: 'transaction' | 'session';
  /** Which idle session is lent next. */
  order: 'latest-first' | 'oldest-first';
  sessions: number;
}

interface Session {
  socket: net.Socket;
  client: net.Socket | undefined;
}

const READY = 'Z';
const TERMINATE = 'X';
const IDLE = 'I'.charCodeAt(0);

export async function startPooler({
  url,
  mode,
  order,
  sessions,
}: PoolerOptions): Promise<{ url: string; close(): void }> {
  const idle: Session[] = [];
  const waiting: ((session: Session) => void)[] = [];
  const sockets = new Set<net.Socket>();
  const release = (session: Session) => {
    session.client = undefined;
    const next = waiting.shift();
    if (next) next(session);
    else idle.push(session);
  };
  const lend = (): Promise<Session> => {
    const session = order === 'latest-first' ? idle.pop() : idle.shift();
    return session ? Promise.resolve(session) : new Promise((resolve) => waiting.push(resolve));
  };

  for (let count = 0; count < sessions; count += 1) {
    const session = await openSession(url, (ended) => {
      if (mode === 'transaction') release(ended);
    });
    sockets.add(session.socket);
    release(session);
  }

  const server = net.createServer((client) => {
    sockets.add(client);
    client.on('error', () => {});
    let session: Session | undefined;
    let turn = Promise.resolve();
    client.once('data', () => {
      // The startup message: everybody is let in. Then each message finds its session, in order.
      client.write(Buffer.concat([message('R', [0, 0, 0, 0]), message(READY, [IDLE])]));
      client.on(
        'data',
        messages((type, bytes) => {
          if (type === TERMINATE) return;
          turn = turn.then(async () => {
            if (session?.client !== client) session = await lend();
            session.client = client;
            session.socket.write(bytes);
          });
        }),
      );
    });
    client.on('close', () => {
      if (session?.client === client) release(session);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { url: `postgres://anybody@127.0.0.1:${port}/any`, close };
}

async function openSession(url: string, onIdle: (session: Session) => void): Promise<Session> {
  const { path = '', user = '', database = '' } = connectionOptions(url).options;
  const socket = net.connect(path);
  const session: Session = { socket, client: undefined };
  const parameters = Buffer.from(`user\0${user}\0database\0${database}\0\0`);
  const head = Buffer.alloc(8);
  head.writeInt32BE(parameters.length + 8, 0);
  head.writeInt32BE(196_608, 4); // protocol 3.0
  socket.on('error', () => {});
  socket.write(Buffer.concat([head, parameters]));
  await new Promise<void>((resolve) => {
    socket.on(
      'data',
      messages((type, bytes) => {
        session.client?.write(bytes);
        if (type !== READY) return;
        resolve();
        if (session.client && bytes.at(-1) === IDLE) onIdle(session);
      }),
    );
  });
  return session;
}

function message(type: string, body: number[]): Buffer {
  return Buffer.from([type.charCodeAt(0), 0, 0, 0, body.length + 4, ...body]);
}

/** Cuts a stream into PostgreSQL's messages: a type, four bytes of length (which count themselves), a body. */
function messages(take: (type: string, bytes: Buffer) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
      const end = rest.readInt32BE(1) + 1;
      const bytes = rest.subarray(0, end);
      rest = rest.subarray(end);
      take(String.fromCharCode(Number(bytes[0])), bytes);
    }
  };
}
