/** Where the server is. */
import { InvalidArgumentError } from 'commander';

export const ADDRESS_DEFAULT = 'localhost:7070';

const HOST_AND_PORT = /^(?:\[[0-9a-fA-F:.%\w]+\]|[^\s:/[\]]+):\d{1,5}$/;
const SOCKET = /^unix:./;

/** An empty variable of the environment is as good as none. */
export function parseAddress(text: string): string {
  if (text === '') return ADDRESS_DEFAULT;
  if (HOST_AND_PORT.test(text) || SOCKET.test(text)) return text;
  throw new InvalidArgumentError('It must be host:port, like localhost:7070, of the gRPC listener.');
}
