/** A TCP proxy between a worker and the server, that loses what a network loses. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface StreamProxy {
  readonly address: string;
  /** Where new connections go from now on. */
  aimAt(port: number): void;
  /** Cuts every connection, and refuses new ones. */
  cut(): void;
  /** What the server says does not arrive any more; it is not told. */
  deafen(): void;
  /** Nothing passes any more in either direction, on the connections there are, and nobody is told. */
  freeze(): void;
  /** New connections work again. What was held back is lost. */
  mend(): void;
  close(): Promise<void>;
}

interface Link {
  readonly worker: Socket;
  readonly server: Socket;
}

export async function startProxy(port: number): Promise<StreamProxy> {
  const links = new Set<Link>();
  let target = port;
  let refusing = false;
  const listener = createServer((worker) => {
    if (refusing) {
      worker.destroy();
      return;
    }
    const link: Link = { worker, server: connect(target, '127.0.0.1') };
    links.add(link);
    join(link, () => links.delete(link));
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));

  function cut(): void {
    refusing = true;
    for (const { worker, server } of links) {
      worker.destroy();
      server.destroy();
    }
  }

  return {
    address: `127.0.0.1:${(listener.address() as AddressInfo).port}`,
    aimAt(next) {
      target = next;
    },
    cut,
    deafen() {
      for (const { worker, server } of links) server.unpipe(worker).pause();
    },
    freeze() {
      for (const { worker, server } of links) {
        server.unpipe(worker).pause();
        worker.unpipe(server).pause();
      }
    },
    mend() {
      refusing = false;
    },
    async close() {
      const closed = new Promise((resolve) => listener.close(resolve));
      cut();
      await closed;
    },
  };
}

/** Whichever side ends takes the other with it. */
function join({ worker, server }: Link, closed: () => void): void {
  for (const socket of [worker, server]) {
    socket.setNoDelay(true);
    socket.on('error', () => {});
  }
  worker.pipe(server);
  server.pipe(worker);
  worker.on('close', () => {
    server.destroy();
    closed();
  });
  server.on('close', () => worker.destroy());
}
