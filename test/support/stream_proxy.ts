/** A TCP proxy in front of the server that does what networks do: it cuts, it drops packets without a word, it is slow, it gives up what is silent. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface StreamProxy {
  readonly address: string;
  /** Connections made so far. */
  connections(): number;
  /** Every connection there is now is reset. */
  cut(): void;
  /** Of the connections there are now nothing passes any more, and nobody is told. Later ones are well. */
  blackHole(): void;
  /** From now on everything is this much later, in either direction. 0: as quick as it comes. */
  delay(ms: number): void;
  close(): Promise<void>;
}

export interface StreamProxyOptions {
  /** Where to; a function is asked for each connection, and null refuses it. */
  readonly port: number | (() => number | null);
  /** A connection on which nothing passed for this long is cut, as by a balancer. */
  readonly silentMsMax?: number;
}

interface Link {
  readonly sockets: readonly Socket[];
  lost: boolean;
}

export async function startStreamProxy({ port, silentMsMax = 0 }: StreamProxyOptions): Promise<StreamProxy> {
  const links = new Set<Link>();
  let connections = 0;
  let delayMs = 0;

  function open(client: Socket): void {
    connections += 1;
    const target = typeof port === 'function' ? port() : port;
    if (target === null) {
      client.destroy();
      return;
    }
    const server = connect(target, '127.0.0.1');
    const link: Link = { sockets: [client, server], lost: false };
    links.add(link);
    // Either direction counts, as it does for a balancer.
    client.setTimeout(silentMsMax, () => end(link));
    pass(link, client, server);
    pass(link, server, client);
  }

  function pass(link: Link, from: Socket, to: Socket): void {
    const later = inOrder();
    from.setNoDelay(true);
    from.on('error', () => {});
    from.on('data', (data) => {
      later(() => {
        if (!link.lost && !to.destroyed) to.write(data);
      });
    });
    from.on('close', () => {
      later(() => {
        if (!link.lost) end(link);
      });
    });
  }

  /** Does one thing after the other, each as late as the delay says when it comes; at once while there is none. */
  function inOrder(): (act: () => void) => void {
    const waiting: { readonly act: () => void; readonly dueMs: number }[] = [];
    let lastMs = 0;

    // Timers of different lengths do not keep the order, so there is one for the first of them only.
    function arm(): void {
      const [first] = waiting;
      if (first === undefined) return;
      const inMs = Math.max(0, first.dueMs - performance.now());
      setTimeout(() => {
        waiting.shift();
        first.act();
        arm();
      }, inMs).unref();
    }

    return (act) => {
      if (delayMs === 0 && waiting.length === 0) {
        act();
        return;
      }
      lastMs = Math.max(lastMs, performance.now() + delayMs);
      waiting.push({ act, dueMs: lastMs });
      if (waiting.length === 1) arm();
    };
  }

  function end(link: Link): void {
    links.delete(link);
    for (const socket of link.sockets) socket.destroy();
  }

  const listener = createServer(open);
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(listener.address() as AddressInfo).port}`,
    connections: () => connections,
    cut() {
      for (const link of [...links]) end(link);
    },
    blackHole() {
      for (const link of links) link.lost = true;
    },
    delay(ms) {
      delayMs = ms;
    },
    async close() {
      const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
      for (const link of [...links]) end(link);
      await closed;
    },
  };
}
