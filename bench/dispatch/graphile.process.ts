/** One graphile-worker runner with its defaults; says when its task was entered. */
import { run } from 'graphile-worker';
import { nowNs, say, settings } from '../support/child.ts';
import { PEER_QUIET, PEER_TASK } from '../support/peer.ts';

const { databaseUrl } = settings<{ databaseUrl: string }>();
await run({
  connectionString: databaseUrl,
  concurrency: 4,
  noHandleSignals: true,
  logger: PEER_QUIET,
  taskList: {
    [PEER_TASK]: () => {
      const enteredNs = nowNs();
      say({ enteredNs });
    },
  },
});
say({ ready: true });
