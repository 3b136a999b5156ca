/** Streams between worker processes and the server, over a network that delays, cuts and swallows. */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { status as Status } from '@grpc/grpc-js';
import {
  type ConnectRequest,
  ConnectRequestSchema,
  type ConnectResponse,
  ConnectResponseSchema,
} from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { refusalOf, statusBytes, statusCode } from '../../src/server/errors.ts';
import { type Incoming, readIncoming } from '../../src/server/session/incoming.ts';
import type { Transport } from '../../src/server/session/outgoing.ts';
import type { Session } from '../../src/server/session/session.ts';
import type { OpenStream, StreamEnd } from '../../src/worker/connection.ts';
import type { Chance } from './chance.ts';
import { createPipe, type Pipe } from './pipe.ts';
import type { SimProcess } from './process.ts';
import type { World } from './world.ts';

/** What listens at the server's address. */
interface Listener {
  readonly process: SimProcess;
  accept(transport: Transport, connection: Connection): Session;
}

/** Looks at every message where it leaves and where it arrives. */
interface NetworkWatch {
  opened(connection: Connection): void;
  /** It reached the server, which has not looked at it yet. */
  requestArrives(connection: Connection, request: ConnectRequest): void;
  /** The server lets it out. */
  responseLeaves(connection: Connection, response: ConnectResponse): void;
}

export interface Connection {
  readonly number: number;
  readonly worker: SimProcess;
  /** The process it reached; null while it is on its way. */
  readonly server: SimProcess | null;
  readonly isOver: boolean;
  /** Both sides are told, each in its time: one may open another long before the other knows. */
  cut(): void;
  /** Packets vanish, and nobody is told. */
  halfOpen(direction: 'up' | 'down' | 'both'): void;
  hold(direction: 'up' | 'down' | 'both', forMs: number): void;
  slowReader(gapMs: number, forMs: number): void;
}

export interface Network {
  openStreamFrom(worker: SimProcess): OpenStream;
  listen(listener: Listener | null): void;
  /** Those that are not over, oldest first. */
  connections(): Connection[];
  /** A worker's new connections reach nobody until then. */
  isolate(workerName: string, untilMs: number): void;
  /** From now on nothing is late or lost. */
  calm(): void;
  watch(watch: NetworkWatch): void;
}

const CUT_SEEN_MS_MAX = 20_000;

export function createNetwork(world: World, chance: Chance): Network {
  const open = new Set<SimConnection>();
  const isolatedUntilMs = new Map<string, number>();
  const watches: NetworkWatch[] = [];
  let listener: Listener | null = null;
  let count = 0;
  let isCalm = false;

  const tellAll = (tell: (watch: NetworkWatch) => void) => watches.forEach(tell);

  function openStreamFrom(worker: SimProcess): OpenStream {
    return (client) => {
      count += 1;
      const connection = new SimConnection({
        number: count,
        world,
        worker,
        client,
        chance: chance.fork(),
        isCalm: () => isCalm,
        isIsolated: () => (isolatedUntilMs.get(worker.name) ?? 0) > world.nowMs(),
        listener: () => listener,
        requestArrives: (request) => tellAll((watch) => watch.requestArrives(connection, request)),
        responseLeaves: (response) => tellAll((watch) => watch.responseLeaves(connection, response)),
        onOver: () => open.delete(connection),
      });
      open.add(connection);
      tellAll((watch) => watch.opened(connection));
      connection.dial();
      return connection.clientStream();
    };
  }

  return {
    openStreamFrom,
    listen(next) {
      listener = next;
    },
    connections: () => [...open],
    isolate(workerName, untilMs) {
      isolatedUntilMs.set(workerName, untilMs);
    },
    calm() {
      isCalm = true;
      isolatedUntilMs.clear();
    },
    watch: (watch) => void watches.push(watch),
  };
}

interface ConnectionOptions {
  readonly number: number;
  readonly world: World;
  readonly worker: SimProcess;
  readonly client: Parameters<OpenStream>[0];
  readonly chance: Chance;
  readonly isCalm: () => boolean;
  readonly isIsolated: () => boolean;
  readonly listener: () => Listener | null;
  readonly requestArrives: (request: ConnectRequest) => void;
  readonly responseLeaves: (response: ConnectResponse) => void;
  readonly onOver: () => void;
}

class SimConnection implements Connection {
  readonly #options: ConnectionOptions;
  readonly #up: Pipe;
  readonly #down: Pipe;
  server: SimProcess | null = null;
  #session: Session | null = null;
  /** The worker's side has ended it, or been told of its end. */
  #clientOver = false;
  #serverOver = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { world, chance, worker, isCalm } = options;
    const delayMs = isCalm() ? 1 : chance.between(0.2, 20);
    const pipe = (receiver: () => SimProcess | null, onDrained: () => void) =>
      createPipe({ world, chance, delayMs, receiver, onDrained });
    this.#up = pipe(
      () => this.server,
      () => {},
    );
    this.#down = pipe(
      () => worker,
      () => this.server?.enter(() => this.#session?.drained()),
    );
    worker.onDeath(() => this.#peerDied('worker'));
  }

  get number(): number {
    return this.#options.number;
  }

  get worker(): SimProcess {
    return this.#options.worker;
  }

  get isOver(): boolean {
    return this.#clientOver && this.#serverOver;
  }

  /** The first packet finds the server, nobody, or never arrives. */
  dial(): void {
    const { world, chance, isIsolated, listener } = this.#options;
    if (isIsolated()) {
      this.halfOpen('both');
      return;
    }
    const dialMs = chance.between(0.2, 10);
    // Nothing overtakes the first packet.
    this.#up.holdUntil(world.nowMs() + dialMs);
    world.after(dialMs, () => {
      const found = listener();
      if (found === null) {
        this.#serverOver = true;
        this.#tellClient(unavailable('connection refused'), 1);
        return;
      }
      this.server = found.process;
      found.process.onDeath(() => this.#peerDied('server'));
      found.process.enter(() => {
        this.#session = found.accept(this.#transport(), this);
      });
    });
  }

  clientStream(): ReturnType<OpenStream> {
    return {
      write: (request) => {
        if (this.#clientOver) return;
        const bytes = toBinary(ConnectRequestSchema, request);
        this.#up.send(() => this.#receive(readIncoming(bytes)));
      },
      end: () => this.#up.send(() => this.#serverSees()),
      destroy: () => {
        this.#clientOver = true;
        this.#up.send(() => this.#serverSees());
        this.#settleOver();
      },
    };
  }

  #receive(incoming: Incoming): void {
    if (this.#serverOver) return;
    if (incoming.message !== null) this.#options.requestArrives(incoming.message);
    this.#session?.receive(incoming);
  }

  #transport(): Transport {
    return {
      write: (message) => {
        this.#options.responseLeaves(message);
        const bytes = toBinary(ConnectResponseSchema, message);
        return this.#down.send(() => {
          if (!this.#clientOver) this.#options.client.received(fromBinary(ConnectResponseSchema, bytes));
        });
      },
      end: (error) => {
        const end = error === undefined ? endOf(Status.OK, '') : refusedEnd(error);
        this.#serverOver = true;
        this.#down.send(() => this.#clientSees(end));
        this.#settleOver();
      },
    };
  }

  #serverSees(): void {
    if (this.#session === null) return;
    const session = this.#session;
    this.#session = null;
    session.closed();
    if (!this.#serverOver) {
      this.#serverOver = true;
      this.#down.send(() => this.#clientSees(endOf(Status.OK, '')));
    }
    this.#settleOver();
  }

  #clientSees(end: StreamEnd): void {
    if (this.#clientOver) return;
    this.#clientOver = true;
    this.#options.client.ended(end);
    this.#settleOver();
  }

  #settleOver(): void {
    if (this.isOver) this.#options.onOver();
  }

  #tellClient(end: StreamEnd, afterMs: number): void {
    const { world, worker } = this.#options;
    world.after(afterMs, () => worker.enter(() => this.#clientSees(end)));
  }

  #tellServer(afterMs: number): void {
    this.#options.world.after(afterMs, () => this.server?.enter(() => this.#serverSees()));
  }

  cut(): void {
    const { chance } = this.#options;
    this.halfOpen('both');
    const late = () => (chance.happens(0.3) ? chance.between(0, CUT_SEEN_MS_MAX) : chance.between(0, 200));
    this.#tellClient(unavailable('connection lost'), late());
    this.#tellServer(late());
  }

  halfOpen(direction: 'up' | 'down' | 'both'): void {
    if (direction !== 'down') this.#up.blackHole();
    if (direction !== 'up') this.#down.blackHole();
  }

  hold(direction: 'up' | 'down' | 'both', forMs: number): void {
    const untilMs = this.#options.world.nowMs() + forMs;
    if (direction !== 'down') this.#up.holdUntil(untilMs);
    if (direction !== 'up') this.#down.holdUntil(untilMs);
  }

  slowReader(gapMs: number, forMs: number): void {
    this.#down.slowDown(gapMs, this.#options.world.nowMs() + forMs);
  }

  /** The other side's kernel says so; when the whole machine went, nobody does. */
  #peerDied(who: 'worker' | 'server'): void {
    const { chance, isCalm } = this.#options;
    const isSilent = !isCalm() && chance.happens(0.2);
    if (who === 'worker') {
      this.#clientOver = true;
      if (!isSilent) this.#tellServer(chance.between(0.2, 50));
    } else {
      this.#serverOver = true;
      // Packets under way may still arrive, or vanish with the sender.
      if (chance.happens(0.5)) this.#down.blackHole();
      if (!isSilent) this.#tellClient(unavailable('the server has gone'), chance.between(0.2, 50));
    }
    this.#settleOver();
  }
}

function endOf(code: number, message: string, details?: Uint8Array): StreamEnd {
  return { code, codeName: Status[code] ?? String(code), message, details };
}

function unavailable(message: string): StreamEnd {
  return endOf(Status.UNAVAILABLE, message);
}

function refusedEnd(error: unknown): StreamEnd {
  const refusal = refusalOf(error);
  return endOf(statusCode(refusal), refusal.message, statusBytes(refusal));
}
