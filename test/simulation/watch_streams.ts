/** Watches what the server lets out: nothing before its commit, and no acknowledgement of what was not settled. */
import type { ConnectRequest, ConnectResponse } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { short } from './ids.ts';
import type { Connection, Network } from './network.ts';
import type { Scene } from './scene.ts';
import type { CommitWatch } from './watch_commits.ts';

type Message = ConnectRequest['message'];

interface StreamFacts {
  /** By sequence number, as they arrived. */
  readonly facts: Map<number, Message>;
  readonly refused: Set<number>;
  acknowledged: number;
  workerId: string;
}

export function watchStreams(scene: Scene, network: Network, commits: CommitWatch): void {
  const { world, store } = scene;
  const streams = new Map<Connection, StreamFacts>();

  function factsOf(connection: Connection): StreamFacts {
    const known = streams.get(connection);
    if (known !== undefined) return known;
    const fresh: StreamFacts = { facts: new Map(), refused: new Set(), acknowledged: 0, workerId: '' };
    streams.set(connection, fresh);
    return fresh;
  }

  function responseLeaves(connection: Connection, response: ConnectResponse): void {
    const stream = factsOf(connection);
    const { message } = response;
    const acknowledged = Number(response.acknowledged);
    noteResponse(scene, connection, response);
    if (message.case === 'refused') stream.refused.add(Number(message.value.sequence));
    if (message.case === 'welcome') checkWelcome(stream, message.value);
    if (message.case === 'runStep') checkOffer(connection, stream, message.value.assignmentId);
    if (message.case === 'cancelStep') checkCancel(message.value.assignmentId);
    if (message.case === 'labelsUpserted') checkLabels(stream, Number(message.value.labelsRevision));
    for (let sequence = stream.acknowledged + 1; sequence <= acknowledged; sequence++) checkSettled(stream, sequence);
    stream.acknowledged = Math.max(stream.acknowledged, acknowledged);
  }

  function checkWelcome(stream: StreamFacts, welcome: { workerId: string; labelsRevision: bigint }) {
    stream.workerId = welcome.workerId;
    const row = store.workers.get(welcome.workerId);
    const isStoredNow = row !== undefined && row.labels_revision >= Number(welcome.labelsRevision);
    if (!isStoredNow && (row !== undefined || !commits.hasStored(welcome.workerId))) {
      world.broken(`a worker was welcome before it was committed`);
    }
  }

  function checkOffer(connection: Connection, stream: StreamFacts, assignmentId: string): void {
    if (!commits.assigned.has(assignmentId)) world.broken(`${short(assignmentId)} was pushed before its commit`);
    if (commits.workerIdOf(assignmentId) !== stream.workerId) {
      world.broken(`${short(assignmentId)} was pushed to ${connection.worker.name}, whose it is not`);
    }
  }

  function checkCancel(assignmentId: string): void {
    const isCancelled = [...store.runs.values()].some(
      (row) => row.assignment_id === assignmentId && row.cancel_reason !== null,
    );
    if (isCancelled || commits.ended.has(assignmentId)) return;
    // A success may have overtaken the cancel in one batch; then there is nothing to contradict.
    if (commits.accepted.has(assignmentId)) return;
    world.broken(`cancel of ${short(assignmentId)} was pushed before its commit`);
  }

  function checkLabels(stream: StreamFacts, revision: number): void {
    const row = store.workers.get(stream.workerId);
    if (row !== undefined && row.labels_revision >= revision) return;
    if (row !== undefined) world.broken(`labels of ${row.name} were acknowledged before their commit`);
  }

  function checkSettled(stream: StreamFacts, sequence: number): void {
    if (stream.refused.has(sequence)) return;
    const fact = stream.facts.get(sequence);
    const problem = fact === undefined ? 'it never arrived' : unsettled(fact);
    if (problem !== null) world.broken(`${sequence} (${fact?.case}) is acknowledged: ${problem}`);
  }

  /** Why this fact, neither refused nor true in the store, may not be acknowledged; null: it may. */
  function unsettled(fact: Message): string | null {
    switch (fact.case) {
      case 'stepAccepted':
        return commits.accepted.has(fact.value.assignmentId) ? null : 'no acceptance is committed';
      case 'stepSucceeded': {
        const { assignmentId } = fact.value;
        const runId = scene.journal.of(assignmentId)?.runId ?? '';
        const row = store.runs.get(runId);
        const isTrue = row?.step_state === 'SUCCEEDED' && row.assignment_id === assignmentId;
        return isTrue ? null : `its run is ${row?.step_state} by ${short(row?.assignment_id ?? '')}`;
      }
      case 'stepFailed':
      case 'stepReturned':
      case 'stepCancelled':
        return commits.ended.has(fact.value.assignmentId) ? null : 'no end of the attempt is committed';
      case 'stepLogged': {
        const { assignmentId, firstLineNumber, lines } = fact.value;
        const stored = store.logs.get(assignmentId);
        const missing = lines.findIndex((_, index) => !stored?.has(Number(firstLineNumber) + index));
        return missing < 0 ? null : 'its lines are not stored';
      }
      default:
        return null;
    }
  }

  network.watch({
    opened() {},
    requestArrives(connection, request) {
      noteRequest(scene, connection, request);
      if (request.sequence > 0n) factsOf(connection).facts.set(Number(request.sequence), request.message);
    },
    responseLeaves,
  });
}

function noteRequest({ world }: Scene, connection: Connection, { sequence, message }: ConnectRequest): void {
  const value = message.value as { assignmentId?: string; resume?: { heldAssignmentIds: string[] } } | undefined;
  const about = value?.assignmentId === undefined ? '' : ` ${short(value.assignmentId)}`;
  const resumes = value?.resume ? ` resumes, holds ${value.resume.heldAssignmentIds.map(short).join(' ')}` : '';
  world.note(
    'server',
    `← ${connection.worker.name}/${connection.number} ${sequence} ${message.case}${about}${resumes}`,
  );
}

function noteResponse({ world }: Scene, connection: Connection, { acknowledged, message }: ConnectResponse): void {
  const value = message.value as { assignmentId?: string; sequence?: bigint; reason?: unknown } | undefined;
  const about = value?.assignmentId === undefined ? '' : ` ${short(value.assignmentId)}`;
  const refused = message.case === 'refused' ? ` ${value?.sequence} ${String(value?.reason)}` : '';
  world.note(
    'server',
    `→ ${connection.worker.name}/${connection.number} ${message.case ?? ''}${about}${refused} (settled ${acknowledged})`,
  );
}
