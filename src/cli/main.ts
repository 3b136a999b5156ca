#!/usr/bin/env node
/** The command line: `npx yardmaster`. */
import { EXIT } from './exit.ts';
import { processIo } from './io.ts';
import { runCli } from './program.ts';

// A reader that leaves, as `head` does, has had enough; a full disk is another matter.
process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => process.exit(code === 'EPIPE' ? EXIT.OK : EXIT.FAILED));
// Nobody is left to be told.
process.stderr.on('error', () => {});

const exitCode = await runCli(process.argv.slice(2), processIo());
// What was written to a pipe has to arrive before the end.
process.stdout.write('', () => process.stderr.write('', () => process.exit(exitCode)));
