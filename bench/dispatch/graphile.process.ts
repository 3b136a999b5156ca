/** One graphile-worker runner with its defaults; says when its task was entered. */
import { Logger, run } from 'graphile-worker';

await run({
  connectionString: process.env.BENCH_DATABASE_URL ?? '',
  concurrency: 4,
  noHandleSignals: true,
  logger: new Logger(() => () => {}),
  taskList: {
    bench: () => {
      const enteredNs = process.hrtime.bigint();
      process.send?.({ enteredNs: String(enteredNs) });
    },
  },
});
process.on('SIGTERM', () => process.exit(0));
process.send?.('ready');
