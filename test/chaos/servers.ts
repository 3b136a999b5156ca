/** Two planes on one database, and the balancer before them: it sends new connections to the one that is ready. */
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { createSubject, type Subject } from './subject.ts';

export interface Servers {
  readonly subjects: readonly Subject[];
  /** The gRPC port of the one that decides, as far as the balancer knows; null until there is one. */
  port(): number | null;
  /** The one that decides, as far as the balancer knows. */
  ready(): Subject | null;
  /** How often the balancer found another one ready than before. */
  takeovers(): number;
  /** Resolves when one is ready; rejects when none is within `msMax`. */
  untilReady(msMax: number): Promise<void>;
  close(): void;
}

export interface ServersOptions {
  readonly databaseUrl: string;
  readonly folder: string;
  /** One ended by itself, having served before. */
  readonly onCrash: (what: string) => void;
}

interface Server {
  readonly subject: Subject;
  grpcPort: number | null;
  httpPort: number | null;
}

const MAIN = new URL('../../dist/src/cli/main.js', import.meta.url).pathname;
const GREETING = /gRPC on [^ ]*:(\d+) and for HTTP on [^ ]*:(\d+);/;
const LOOK_MS = 100;
const ANSWER_MS_MAX = 500;
/** One that could not start, with the database away, say, is started again after this, as any supervisor would. */
const AGAIN_MS = 300;

export function startServers({ databaseUrl, folder, onCrash }: ServersOptions): Servers {
  const servers = [1, 2].map((number) => startServer(`server-${number}`));
  const closed = new AbortController();
  let current: Server | null = null;
  let takeovers = 0;

  function startServer(name: string): Server {
    const server: Server = {
      grpcPort: null,
      httpPort: null,
      subject: createSubject({
        name,
        command: [process.execPath, MAIN, 'serve', '--grpc-port', '0', '--http-port', '0'],
        environment: { DATABASE_URL: databaseUrl, YARDMASTER_LOG_LEVEL: 'info' },
        logFile: join(folder, `${name}.log`),
        onStart: () => {
          server.grpcPort = null;
          server.httpPort = null;
        },
        onLine: (line) => greeted(server, line),
        onEnd: (_subject, how) => ended(server, how),
      }),
    };
    server.subject.start();
    return server;
  }

  function greeted(server: Server, line: string): void {
    const found = GREETING.exec(line);
    if (found === null) return;
    server.grpcPort = Number(found[1]);
    server.httpPort = Number(found[2]);
  }

  function ended(server: Server, how: string): void {
    if (closed.signal.aborted) return;
    if (server.grpcPort !== null) onCrash(`${server.subject.name} ended by itself: ${how}`);
    setTimeout(() => {
      if (!closed.signal.aborted && server.subject.pid === null && !server.subject.busy) server.subject.start();
    }, AGAIN_MS);
  }

  async function look(): Promise<void> {
    // The one in use first: the balancer moves only when it has to.
    const order = [...servers].sort((a, b) => Number(b === current) - Number(a === current));
    for (const server of order) {
      if (server.subject.pid === null || server.httpPort === null) continue;
      if (!(await isReady(server.httpPort))) continue;
      if (current !== null && current !== server) takeovers += 1;
      current = server;
      return;
    }
  }

  async function watch(): Promise<void> {
    while (!closed.signal.aborted) {
      await look();
      await wait(LOOK_MS);
    }
  }

  const watching = watch();
  return {
    subjects: servers.map(({ subject }) => subject),
    port: () => (current === null || current.subject.pid === null ? null : current.grpcPort),
    ready: () => current?.subject ?? null,
    takeovers: () => takeovers,
    async untilReady(msMax) {
      const endMs = performance.now() + msMax;
      while (current === null) {
        if (performance.now() > endMs) throw new Error(`no server was ready within ${msMax} ms; see its log`);
        await Promise.race([watching, wait(LOOK_MS)]);
      }
    },
    close: () => closed.abort(),
  };
}

async function isReady(port: number): Promise<boolean> {
  const signal = AbortSignal.timeout(ANSWER_MS_MAX);
  return fetch(`http://127.0.0.1:${port}/readyz`, { signal }).then(
    async (answer) => {
      await answer.arrayBuffer();
      return answer.ok;
    },
    () => false,
  );
}
