/** `npm run quickstart`: the plane, three workers and a little story of runs, in one terminal. `--once` ends after it. */
import { createAdminClient } from '../../client/index.ts';
import { configFromEnvironment } from '../../server/config.ts';
import { startServer } from '../../server/server.ts';
import { FLEET, startFleet } from './fleet.ts';
import { STORY } from './story.ts';
import { tell } from './tell.ts';

const once = process.argv.includes('--once');

async function main(): Promise<number> {
  const config = configFromEnvironment();
  const server = await startServer({ ...config, logLevel: 'warn' });
  const address = `${server.host}:${server.grpcPort}`;
  const fleet = await startFleet(address, config.token);
  const admin = createAdminClient({ address, token: config.token });
  const stop = async () => {
    await fleet.stop();
    admin.close();
    await server.stop();
  };
  try {
    introduce(address, server.database);
    let surprises = 0;
    for (const [index, chapter] of STORY.entries()) {
      if (!(await tell(index + 1, chapter, admin, fleet))) surprises += 1;
    }
    console.log(surprises === 0 ? 'Everything went as told.\n' : `${surprises} went otherwise than told.\n`);
    if (!once && surprises === 0) await stayUp(address, `http://${server.host}:${server.httpPort}`, config.token);
    return surprises === 0 ? 0 : 1;
  } finally {
    await stop();
  }
}

function introduce(address: string, database: string): void {
  console.log(`\nYardmaster on ${address}\n  ${database}\n\nWorkers, each a process with one stream:`);
  for (const { name, tags, labels } of FLEET) {
    const shown = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    console.log(`  ${name.padEnd(16)} tags ${tags.join(', ').padEnd(14)} labels ${shown.join(', ')}`);
  }
  console.log('');
}

/** Until Ctrl-C or SIGTERM. */
async function stayUp(address: string, url: string, token: string | undefined): Promise<void> {
  const authorization = token === undefined ? '' : ' -H "authorization: Bearer $YARDMASTER_TOKEN" --reflect-header "*"';
  const request = `'{"step": {"action": "train"}, "runsOn": ["gpu"], "input": {"file": "s3://a.tar"}}'`;
  console.log(
    `It stays up; Ctrl-C ends it. Connect a worker of your own to ${address} (README.md shows one), or submit:\n`,
  );
  console.log(
    `  npx buf curl --http2-prior-knowledge${authorization} -d ${request} ${url}/yardmaster.v1.AdminService/ScheduleRun\n`,
  );
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`The quickstart could not go on: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
