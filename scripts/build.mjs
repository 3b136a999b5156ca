// Compiles beside `dist` and moves over what differs, each file at once: a program that starts meanwhile never reads
// half a module. What the sources no longer have goes, so that a package holds nothing stale.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

const OUT = 'dist';
const fresh = `.build-${process.pid}`;

const filesOf = (folder) =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    : [];

try {
  execFileSync('npx', ['tsc', '-p', 'tsconfig.build.json', '--outDir', fresh], { stdio: 'inherit' });
  // The compiler copies no SQL: the migrations go beside the compiled code that runs them.
  cpSync('src/store/migrations', join(fresh, 'src/store/migrations'), { recursive: true });
  const built = filesOf(fresh);
  for (const file of built) {
    const target = join(OUT, file);
    if (existsSync(target) && readFileSync(target).equals(readFileSync(join(fresh, file)))) continue;
    mkdirSync(dirname(target), { recursive: true });
    renameSync(join(fresh, file), target);
  }
  const kept = new Set(built);
  for (const file of filesOf(OUT)) if (!kept.has(file)) rmSync(join(OUT, file));
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
