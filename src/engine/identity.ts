/** Which worker a hello means: a given id, a name, or a default worker that is free. */
import { isRefusal, type Refusal, refuse, refuseField } from '../domain/refusal.ts';
import { sameTags } from '../domain/tags.ts';
import { checkWorkerName } from '../domain/worker.ts';
import type { OpenSession } from './commands.ts';
import { type EngineState, nameKey, type WorkerRecord } from './state.ts';
import type { Turn } from './turn.ts';
import { addWorker, findWorker, shownTags, unknownNamespace } from './workers.ts';

export function identify(state: EngineState, turn: Turn, hello: OpenSession): WorkerRecord | Refusal {
  if (!state.namespaces.has(hello.namespace)) return unknownNamespace(hello.namespace);
  if (hello.workerId !== '') return byId(state, turn, hello);
  if (hello.name !== '') return byName(state, turn, hello);
  if (hello.tags.length > 0) {
    return refuseField('TAGS_WITHOUT_IDENTITY', 'hello.tags', 'tags need a worker_id or a name to belong to');
  }
  return formerDefault(state, hello) ?? freeDefault(state, turn, hello);
}

function byId(state: EngineState, turn: Turn, hello: OpenSession): WorkerRecord | Refusal {
  const worker = findWorker(state, hello.namespace, hello.workerId);
  if (isRefusal(worker)) return worker;
  if (hello.name !== '' && hello.name !== worker.name) {
    return refuseField(
      'ID_AND_NAME_DISAGREE',
      'hello.name',
      `"${hello.name}" is not worker_id "${hello.workerId}", whose name is "${worker.name}"`,
    );
  }
  // A default worker's id is lent: its former process, late, must not throw out the one that has it now.
  if (
    worker.defaultWorker &&
    hello.resume !== null &&
    hello.resume.sessionHash !== worker.sessionHash &&
    !isFree(state, worker)
  ) {
    return freeDefault(state, turn, hello);
  }
  return checkTags(worker, hello) ?? worker;
}

function byName(state: EngineState, turn: Turn, hello: OpenSession): WorkerRecord | Refusal {
  const known = state.workersByName.get(nameKey(hello.namespace, hello.name));
  if (known !== undefined) return checkTags(known, hello) ?? known;
  const badName = checkWorkerName('hello.name', hello.name);
  if (badName) return badName;
  const { namespace, name, tags, nickname } = hello;
  return addWorker(state, turn, { namespace, name, tags, nickname, defaultWorker: false });
}

function checkTags(worker: WorkerRecord, hello: OpenSession): Refusal | null {
  if (hello.tags.length === 0 || sameTags(hello.tags, worker.tagList)) return null;
  return refuse(
    'TAGS_DIFFER',
    `hello.tags: worker "${worker.name}" is registered with the tags ${shownTags(worker.tagList)}, the hello says ${shownTags(hello.tags)}`,
    { registered: worker.tagList.join(','), hello: hello.tags.join(',') },
  );
}

function formerDefault(state: EngineState, hello: OpenSession): WorkerRecord | null {
  if (hello.resume === null) return null;
  const { sessionHash } = hello.resume;
  for (const worker of state.workers.values()) {
    if (worker.defaultWorker && worker.namespace === hello.namespace && worker.sessionHash === sessionHash)
      return worker;
  }
  return null;
}

/** No session, nothing assigned or pinned, and its grace over or goodbye said: then its secret is gone too. */
function isFree(state: EngineState, worker: WorkerRecord): boolean {
  const { connection, sessionHash, assignments, workerId } = worker;
  return connection === null && sessionHash === null && assignments.size === 0 && !state.pinnedRuns.has(workerId);
}

function freeDefault(state: EngineState, turn: Turn, hello: OpenSession): WorkerRecord {
  const { namespace, nickname } = hello;
  let number = 1;
  for (;;) {
    const name = `default-${number}`;
    const worker = state.workersByName.get(nameKey(namespace, name));
    if (worker === undefined)
      return addWorker(state, turn, { namespace, name, tags: [], nickname, defaultWorker: true });
    if (worker.defaultWorker && isFree(state, worker)) return worker;
    number += 1;
  }
}
