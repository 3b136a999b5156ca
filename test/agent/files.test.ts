import { appendFile, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseLabel } from '../../src/cli/agent/label.ts';
import { LabelsFile } from '../../src/cli/agent/labels_file.ts';
import { ProgressFile, parseProgress } from '../../src/cli/agent/progress_file.ts';
import { StepFiles } from '../../src/cli/agent/step_files.ts';
import type { LabelPatch, Progress } from '../../src/worker/index.ts';

let folder = '';
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'yardmaster-files-'));
});
afterAll(() => rm(folder, { recursive: true }));

function newPath(): string {
  count += 1;
  return join(folder, `file-${count}`);
}

describe('a label', () => {
  it.each([
    ['memory=512', { memory: 512 }],
    ['share=-0.5e1', { share: -5 }],
    ['model=llama 3', { model: 'llama 3' }],
    ['version="12"', { version: '12' }],
    ['build=007', { build: '007' }],
    ['query=a=b', { query: 'a=b' }],
    ['model=', { model: null }],
    ['model=""', { model: '' }],
    [' model = llama ', { model: 'llama' }],
  ])('%s', (text, label) => expect(parseLabel(text)).toEqual(label));

  it.each(['memory', '=512', 'version="12'])('%s is refused', (text) => expect(() => parseLabel(text)).toThrow());
});

describe('a line of progress', () => {
  it.each<[string, Progress]>([
    ['0.5 training epoch 3', { fraction: 0.5, text: 'training epoch 3' }],
    ['1', { fraction: 1 }],
    ['.25\tquarter', { fraction: 0.25, text: 'quarter' }],
    ['42% loading', { fraction: 0.42, text: 'loading' }],
    ['3 files left', { text: '3 files left' }],
    ['0.5x speed', { text: '0.5x speed' }],
    ['loading', { text: 'loading' }],
    ['{"fraction":0.5,"text":"epoch 3","phase":"train"}', { fraction: 0.5, text: 'epoch 3', phase: 'train' }],
    ['{"fraction":"half"}', {}],
    ['{braces', { text: '{braces' }],
  ])('%s', (line, progress) => expect(parseProgress(line)).toEqual(progress));
});

describe('the progress file', () => {
  it('tells its newest line, appended, written anew, or put in its place', async () => {
    const path = newPath();
    const told: Progress[] = [];
    const file = new ProgressFile(path, (progress) => told.push(progress));
    await file.look(false);
    await writeFile(path, '0.1 one\n0.2 two\n0.3 thr');
    await file.look(false);
    expect(told).toEqual([{ fraction: 0.2, text: 'two' }]);
    await appendFile(path, 'ee\n');
    await file.look(false);
    await file.look(false);
    expect(told.slice(1)).toEqual([{ fraction: 0.3, text: 'three' }]);
    await writeFile(path, '0.4 four');
    await file.look(false);
    expect(told).toHaveLength(2);
    // Unchanged since the last look: whoever wrote it has written all of it.
    await file.look(false);
    expect(told.slice(2)).toEqual([{ fraction: 0.4, text: 'four' }]);
    await writeFile(`${path}.new`, '0.5 five\n');
    await rename(`${path}.new`, path);
    await file.look(false);
    await file.look(true);
    expect(told.slice(3)).toEqual([{ fraction: 0.5, text: 'five' }]);
    await writeFile(path, 'last words');
    await file.look(true);
    expect(told.slice(4)).toEqual([{ text: 'last words' }]);
  });

  it('of any size costs its last 64 KiB', async () => {
    const path = newPath();
    const told: Progress[] = [];
    await writeFile(path, `${'0.1 early\n'.repeat(100_000)}0.9 late\n`);
    await new ProgressFile(path, (progress) => told.push(progress)).look(true);
    expect(told).toEqual([{ fraction: 0.9, text: 'late' }]);
  });
});

describe('the labels file', () => {
  it('tells what is new in it, removes with key=, and complains once about what is no label', async () => {
    const path = newPath();
    const told: LabelPatch[] = [];
    const complaints: string[] = [];
    const file = new LabelsFile(path, {
      upsert: async (patch) => {
        told.push(patch);
        if ('bad' in patch) throw new Error('bad is refused');
      },
      complain: (text) => complaints.push(text),
    });
    await writeFile(path, 'model=llama\nmemory=1\nnonsense\nmemory=2\n');
    await file.look(false);
    await appendFile(path, 'model=\n');
    await file.look(false);
    await writeFile(path, 'memory=2\nbad=1\n');
    await file.look(true);
    await file.answered();
    expect(told).toEqual([{ model: 'llama', memory: 2 }, { model: null }, { bad: 1 }]);
    expect(complaints).toEqual([expect.stringContaining('"nonsense"'), expect.stringContaining('bad is refused')]);
  });
});

describe('the folder of a step', () => {
  it('is private, and gone afterwards', async () => {
    const files = await StepFiles.create('{}');
    expect((await stat(dirname(files.input))).mode & 0o777).toBe(0o700);
    await files.remove();
    await expect(stat(dirname(files.input))).rejects.toThrow('ENOENT');
  });

  it.each([
    ['{ "a" : 1e400 }\n', '{ "a" : 1e400 }\n'],
    [' \n', undefined],
    ['', undefined],
  ])('gives back the output %j as it is', async (text, output) => {
    const files = await StepFiles.create('{}');
    await writeFile(files.output, text);
    expect(await files.readOutput()).toBe(output);
    await rm(files.output);
    expect(await files.readOutput()).toBeUndefined();
    await files.remove();
  });

  it.each([
    [Buffer.from('done'), /not JSON/],
    [Buffer.from([0x22, 0xff, 0x22]), /not even UTF-8/],
  ])('refuses an output that is none', async (bytes, message) => {
    const files = await StepFiles.create('{}');
    await writeFile(files.output, bytes);
    await expect(files.readOutput()).rejects.toThrow(message);
    await files.remove();
  });
});
