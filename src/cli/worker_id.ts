/** Workers as people name them. */
import { Code } from '@connectrpc/connect';
import { errorReason } from '../client/index.ts';
import type { Yard } from './yard.ts';

/** How ids look; a name may look so too. */
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The id of the worker with this name or id. */
export async function workerIdOf({ admin, call }: Pick<Yard, 'admin' | 'call'>, idOrName: string): Promise<string> {
  if (ID.test(idOrName)) {
    try {
      return (await admin.getWorker({ workerId: idOrName }, call)).worker?.workerId ?? '';
    } catch (error) {
      if (errorReason(error).code !== Code.NotFound) throw error;
    }
  }
  return (await admin.getWorker({ name: idOrName }, call)).worker?.workerId ?? '';
}
