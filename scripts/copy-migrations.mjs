// The compiler copies no SQL: the migrations go beside the compiled code that runs them.
import { cpSync } from 'node:fs';

cpSync('src/store/migrations', 'dist/src/store/migrations', { recursive: true });
