import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);

/** Each line breaks one law; the linter must say which, and stay silent about the lines that keep them. */
const BREACHES: readonly (readonly [file: string, source: string, complaint: string])[] = [
  [
    'src/domain/a.ts',
    "import { createEngine } from '../engine/engine.ts';\ncreateEngine();\n",
    'The rules import nothing',
  ],
  ['src/domain/b.ts', "import { pino } from 'pino';\npino();\n", 'The rules import nothing'],
  [
    'src/engine/a.ts',
    "import { readFileSync } from 'node:fs';\nreadFileSync('x');\n",
    'The engine imports only the rules',
  ],
  [
    'src/engine/b.ts',
    "import { openDatabase } from '../store/database.ts';\nopenDatabase();\n",
    'The engine imports only the rules',
  ],
  ['src/engine/c.ts', 'export const nowMs = Date.now();\n', 'come from src/lib'],
  ['src/lib/a.ts', "import { suits } from '../domain/feasibility.ts';\nsuits();\n", 'lib knows no runs'],
  ['src/store/a.ts', "import { startPlane } from '../server/plane.ts';\nstartPlane();\n", 'store imports domain'],
  [
    'src/server/a.ts',
    "import { createWorker } from '../worker/index.ts';\ncreateWorker();\n",
    'server imports everything but',
  ],
  ['src/server/b.ts', 'export const token = process.env.TOKEN;\n', 'process.env'],
  ['src/server/c.ts', 'setTimeout(() => {}, 1);\n', 'come from src/lib'],
  ['src/worker/a.ts', "import { startServer } from '../server/server.ts';\nstartServer();\n", 'The SDK imports only'],
  ['src/client/a.ts', "import postgres from 'postgres';\npostgres();\n", 'The client imports only'],
  [
    'src/cli/a.ts',
    "import { createEngine } from '../engine/engine.ts';\ncreateEngine();\n",
    'The command line imports',
  ],
  [
    'examples/one/a.ts',
    "import { createWorker } from '../../src/worker/index.ts';\ncreateWorker();\n",
    'Examples import what',
  ],
  ['src/server/d.ts', "import { serve } from '../cli/serve.ts';\nserve();\n", 'server imports everything but'],
];

const KEEPERS: readonly (readonly [file: string, source: string])[] = [
  ['src/engine/kept.ts', "import { suits } from '../domain/feasibility.ts';\n\nsuits();\n"],
  ['src/server/rpc/kept.ts', "import { createEngine } from '../../engine/engine.ts';\n\ncreateEngine();\n"],
  ['src/lib/kept.ts', 'export const nowMs = Date.now();\n'],
];

describe('the import law', () => {
  const folder = mkdtempSync(join(tmpdir(), 'yardmaster-law-'));

  beforeAll(() => {
    const config = JSON.parse(readFileSync('biome.json', 'utf8'));
    writeFileSync(
      join(folder, 'biome.json'),
      JSON.stringify({ ...config, $schema: undefined, vcs: { enabled: false } }),
    );
    cpSync('lint', join(folder, 'lint'), { recursive: true });
    for (const [file, source] of [...BREACHES, ...KEEPERS]) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), source);
    }
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** What the linter prints about one file; its exit code follows the errors. */
  async function lint(file: string): Promise<{ code: number; output: string }> {
    const args = ['lint', '--colors=off', file];
    try {
      const { stdout, stderr } = await run(resolve('node_modules/.bin/biome'), args, { cwd: folder });
      return { code: 0, output: stdout + stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { code, output: stdout + stderr };
    }
  }

  it.each(BREACHES)('refuses %s', async (file, _source, complaint) => {
    const { code, output } = await lint(file);
    expect(output).toContain(complaint);
    expect(code).toBe(1);
  });

  it.each(KEEPERS)('accepts %s', async (file) => {
    expect(await lint(file)).toMatchObject({ code: 0 });
  });
});
