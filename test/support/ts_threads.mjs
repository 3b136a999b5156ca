// TypeScript in threads too: `--import tsx` alone serves only the main one.
import { register } from 'tsx/esm/api';

register();
