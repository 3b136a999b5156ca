/** Namespaces, as rpcs that read the store have to know them. */
import { accepted } from '../errors.ts';
import type { Plane } from '../plane.ts';

/** Asking in one that does not exist is an error everywhere, also where the answer would only be empty. */
export async function checkNamespace(plane: Plane, namespace: string): Promise<void> {
  accepted(await plane.submit({ kind: 'read_queue_depth', namespace, actions: [''] }));
}
